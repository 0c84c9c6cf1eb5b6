"""Where files come from: a folder or a zip archive, behind one small protocol."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol, Self

from medloom.data.archive import DEFAULT_LIMITS, Limits, ZipReader
from medloom.imaging import FILE_BUDGET
from medloom.wording import counted

__all__ = ["MOST_BYTES", "FolderSource", "Source", "ZipSource", "is_litter", "is_zip", "unread_files"]

MOST_BYTES = FILE_BUDGET.max_bytes + 1
"""Of a file that are read; of one that is too large to decode, enough for the decoder to say so."""

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
_JUNK_FOLDERS = frozenset({"__MACOSX", "$RECYCLE.BIN", "System Volume Information"})
_JUNK_FILES = frozenset({"Thumbs.db", "desktop.ini"})

_RUN = 2**16
"""Names of a folder that are sorted at a time; a larger folder's are kept packed, a byte a letter and one a name."""

_PACKED = 256
"""Names that are packed and unpacked together."""


class Source(Protocol):
    """Files by name; can be sent to other processes."""

    location: str
    """What the user named."""

    def names(self) -> list[str]:
        """Return the relative POSIX paths of all files, sorted; hidden files and system litter are left out."""

    def walk(self) -> Iterator[str]:
        """Yield the same names in the same order as they are found, so that the first is there before the last."""

    def stamp(self, name: str) -> str:
        """Return something cheap that changes when the file changes."""

    def read(self, name: str) -> bytes:
        """Return a file's content; DataError or OSError if that cannot be."""

    def head(self, name: str, most: int) -> bytes:
        """Return at most so many of a file's first bytes; DataError or OSError if that cannot be."""

    def expect(self, names: Sequence[str], most: int = MOST_BYTES) -> None:
        """Be told what is read next, in this order; where each file takes a while to come, they come together.

        Args:
            names: The files.
            most: How many of their first bytes.
        """

    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class FolderSource:
    """The files below a folder; links to folders and files are followed, loops are not.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._root = folder

    def names(self) -> list[str]:
        """Return the relative POSIX paths of all files, sorted."""
        return list(self.walk())

    def walk(self) -> Iterator[str]:
        """Yield the names in the same order, folder by folder; of a folder all names are read before its first."""
        return self._below("", set())

    def _below(self, folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
        state = (self._root / folder).stat()
        if (state.st_dev, state.st_ino) in seen:
            return
        seen.add((state.st_dev, state.st_ino))
        for name in _in_order(self._inside(folder)):
            if name.endswith("/"):
                yield from self._below(f"{folder}{name}", seen)
            else:
                yield f"{folder}{name}"

    def _inside(self, folder: str) -> Iterator[str]:
        """Names in a folder; those of folders end with a slash, so that paths come in the order of their text."""
        with os.scandir(self._root / folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    if name not in _JUNK_FOLDERS:
                        yield f"{name}/"
                elif entry.is_file() and name not in _JUNK_FILES:  # no pipe or device, which would block a reader
                    yield name

    def stamp(self, name: str) -> str:
        """Return size and time of the last change."""
        state = os.stat(f"{self.location}/{name}")  # noqa: PTH116 - a Path for each file takes longer than the call
        return f"{state.st_size}:{state.st_mtime_ns}"

    def read(self, name: str) -> bytes:
        """Return a file's content; of a file that is too large to decode, enough for the decoder to say so."""
        return self.head(name, MOST_BYTES)

    def head(self, name: str, most: int) -> bytes:
        """Return at most so many of a file's first bytes."""
        handle = os.open(f"{self.location}/{name}", os.O_RDONLY)
        try:
            return os.read(handle, min(os.fstat(handle).st_size, most))
        finally:
            os.close(handle)

    def expect(self, names: Sequence[str], most: int = MOST_BYTES) -> None:
        """Do nothing: no file is far away."""

    def close(self) -> None:
        """Do nothing; no file stays open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ZipSource:
    """The files of a zip archive, read in place: nothing is unpacked to the disk.

    Args:
        archive: Its path, or its bytes.
        limits: What it may hold at most.

    Raises:
        DataError: If the archive is unsafe or damaged.
    """

    def __init__(self, archive: Path | bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self.location = "" if isinstance(archive, bytes) else str(archive)
        self._reader = ZipReader(archive, limits)

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(name for name in self._reader.names() if not is_litter(name))

    def walk(self) -> Iterator[str]:
        """Yield the names of all files, sorted."""
        yield from self.names()

    def stamp(self, name: str) -> str:
        """Return size and CRC as the archive states them."""
        return self._reader.stamp(name)

    def read(self, name: str) -> bytes:
        """Return a file's content, its size and CRC checked."""
        return self._reader.read(name)

    def head(self, name: str, most: int) -> bytes:
        """Return at most so many of a file's first bytes; they are compared with no checksum."""
        return self._reader.head(name, most)

    def expect(self, names: Sequence[str], most: int = MOST_BYTES) -> None:
        """Do nothing: no file is far away."""

    def close(self) -> None:
        """Close the archive."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unread_files(names: Collection[str]) -> list[str]:
    """Return a sentence about archives among the files of a source, and one about pairs of files; nobody reads them."""
    found, lower = list[str](), {name.lower() for name in names}
    archives = sum(name.endswith(_ARCHIVES) for name in lower)
    pairs = sum(
        name.endswith(".hdr") and not lower.isdisjoint({f"{name[:-4]}.img", f"{name[:-4]}.img.gz"}) for name in lower
    )
    if archives:
        found.append(
            f"{counted(archives, 'archive lies', 'archives lie')} among the files and {_be(archives)} not opened, such "
            "as a zip in a zip: unpack what belongs to the data, or name a zip by itself."
        )
    if pairs:
        found.append(
            f"{counted(pairs, 'NIfTI or Analyze pair', 'NIfTI or Analyze pairs')} of a .hdr and an .img file "
            f"{_be(pairs)} not read: convert each to one .nii.gz file, such as with nibabel."
        )
    return found


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _in_order(names: Iterator[str]) -> Iterator[str]:
    """Yield names sorted; of very many no more than some are there as Python's texts at a time."""
    run = sorted(islice(names, _RUN))
    if len(run) < _RUN:
        return iter(run)
    runs = [_packed(run)]
    while run := sorted(islice(names, _RUN)):
        runs.append(_packed(run))
    return heapq.merge(*map(_unpacked, runs))


def _packed(names: Sequence[str]) -> list[bytes]:
    return [os.fsencode("\0".join(names[at : at + _PACKED])) for at in range(0, len(names), _PACKED)]


def _unpacked(packed: Iterable[bytes]) -> Iterator[str]:
    for names in packed:
        yield from os.fsdecode(names).split("\0")


def is_litter(name: str) -> bool:
    """Whether a path is a hidden file or left by an operating system, and never data."""
    *folders, file = name.split("/")
    if file in _JUNK_FILES or file.startswith(".") or _JUNK_FOLDERS.intersection(folders):
        return True
    return any(folder.startswith(".") for folder in folders)
