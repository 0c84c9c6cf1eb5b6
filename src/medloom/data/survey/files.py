"""Paths in their parts."""

from __future__ import annotations

from typing import NamedTuple, Self

from medloom.data.survey.names import extension

__all__ = ["File", "Folders"]

Folders = tuple[str, ...]


class File(NamedTuple):
    """A path in its parts: folders from the outside in, name, and suffix as it is written."""

    path: str
    folders: Folders
    stem: str
    suffix: str

    @classmethod
    def of(cls, path: str) -> Self:
        """Take a path apart."""
        *folders, name = path.split("/")
        suffix = extension(name)
        return cls(path, tuple(folders), name[: len(name) - len(suffix)], suffix)
