"""Where a round's files are: what an object store can do as well, no more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Protocol

from medloom.errors import DiskFullError
from medloom.files import disk_full, is_disk_full

__all__ = ["FolderStore", "Store"]

_PART = ".part-"
"""What the names begin with of files that are being written; they are in no listing."""


class Store(Protocol):
    """Files by key: text with slashes. A file never changes once it is there."""

    def put(self, key: str, data: bytes) -> bool:
        """Write a file, whole or not at all, unless there is one; return whether it was written."""
        ...

    def get(self, key: str) -> bytes:
        """Return a file.

        Raises:
            KeyError: If there is none.
        """
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, which ends in a slash, sorted."""
        ...

    def delete(self, prefix: str) -> None:
        """Delete every file whose key begins with a prefix, which ends in a slash."""
        ...


class FolderStore:
    """A folder, on a disk that all workers see and that has hard links.

    Files are whole for every process as soon as they can be seen. They are not flushed to the disk: after a power cut
    a round is done again, and what is damaged is refused by its checksum.

    Args:
        folder: It is made when the first file is written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     store = FolderStore(Path(folder))
        ...     store.put("a/b", b"one"), store.put("a/b", b"two"), store.get("a/b"), store.list("a/")
        (True, False, b'one', ['a/b'])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, data: bytes) -> bool:
        """Write a file, whole or not at all, unless there is one; return whether it was written.

        Raises:
            DiskFullError: If there is no room for it.
        """
        path = self._path(key)
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with _room_for(path, data):
            number, name = mkstemp(prefix=_PART, dir=path.parent)
            try:
                os.close(number)
                Path(name).write_bytes(data)
                os.link(name, path)  # fails where a file is, which renaming does not
            except FileExistsError:
                return False
            finally:
                Path(name).unlink(missing_ok=True)
        return True

    def get(self, key: str) -> bytes:
        """Return a file.

        Raises:
            KeyError: If there is none.
        """
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise KeyError(key) from None

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, which ends in a slash, sorted."""
        found = []
        for folder, _, names in os.walk(self._path(prefix)):
            found += [Path(folder, name) for name in names if not name.startswith(_PART)]
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def delete(self, prefix: str) -> None:
        """Delete every file whose key begins with a prefix, which ends in a slash."""
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    def _path(self, key: str) -> Path:
        if any(part in ("", ".", "..") for part in key.removesuffix("/").split("/")):
            raise ValueError(f"not a key of a store: {key!r}")
        return self.folder / key


@contextmanager
def _room_for(path: Path, data: bytes) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskFullError) or not is_disk_full(error):
            raise
        raise disk_full(path, len(data), error) from error
