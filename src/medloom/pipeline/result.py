"""What a whole run gives, and what several trainings say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["PageResult", "RunResult"]


@dataclass(frozen=True)
class RunResult:
    """A run from images to a bundle, or to where it was stopped.

    Args:
        folder: The run directory.
        prepared: Facts of the preparation, as in ``prepare.json``.
        training: Facts of the training, as in ``training.json``; empty if it has not begun.
        summary: What was measured, as in ``evaluation/summary.json``; empty if the run was stopped before.
        bundle: The bundle; None if the run was stopped before.
        pages: The pages for people.
        set_aside: One line for each input that was set aside. They may hold names of patients: keep them nowhere.
        stopped: Why the run was stopped before its end; None if it was not. The same call goes on from there.
    """

    folder: Path
    prepared: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    bundle: Path | None = None
    pages: tuple[Path, ...] = ()
    set_aside: tuple[str, ...] = ()
    stopped: str | None = None

    @property
    def phantom(self) -> bool:
        """Whether the images were phantoms, so that the metrics say nothing about people."""
        return bool(self.prepared.get("phantom"))

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, without what may name patients."""
        return {
            "run": str(self.folder),
            "phantom": self.phantom,
            "bundle": None if self.bundle is None else str(self.bundle),
            "pages": [str(page) for page in self.pages],
            "prepared": self.prepared,
            "training": self.training,
            "summary": self.summary,
        }


@dataclass(frozen=True)
class PageResult:
    """What several trainings say together: facts, and a page that shows them.

    Args:
        folder: Their directory.
        facts: As in the JSON file beside the page; empty if the work was stopped before.
        page: The report; None if the work was stopped before.
        stopped: Why it was stopped before its end; the same call goes on.
    """

    folder_key: ClassVar[str] = "folder"
    """What the directory is called in ``plain``."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    page: Path | None = None
    stopped: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            self.folder_key: str(self.folder),
            "page": None if self.page is None else str(self.page),
            **self.facts,
        }
