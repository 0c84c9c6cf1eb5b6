"""What is finished, a line for each piece: appended, and flushed to the disk now and then.

A process that is killed leaves at most its last line torn, which is dropped by the next one. Of each input that was
finished before 16 bytes are held in memory.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from medloom.errors import DataError
from medloom.files import disk_full, is_disk_full
from medloom.inference.writers import FileResult, Writer
from medloom.serving.batch.names import digest_of
from medloom.serving.batch.work import Done, Input
from medloom.targets import Target

__all__ = ["Journal", "Told", "identity"]

_SYNCED_S = 1.0
_IDS = b'{"ids":["'
_PLACES = 12
"""Bits for the place of an input in its piece; the rest of a number says where the piece begins."""


def identity(one: Input) -> int:
    """Return what changes when an input is another one, its file or metadata change, or its files get other names."""
    metadata = json.dumps(dict(one.metadata), sort_keys=True, default=str)
    return digest_of("\0".join((one.entry.name, one.stamp, one.name, metadata)))


@dataclass(frozen=True)
class Told:
    """A result as the journal tells it: what a table and a summary need.

    Args:
        row: Cells by column; empty ones are left out.
        found: What was found.
        warnings: How the input is unlike those of the training.
    """

    row: dict[str, Any]
    found: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def file(self) -> str:
        """Name of the image."""
        return str(self.row.get("file", ""))

    @property
    def error(self) -> str:
        """Why there is no prediction."""
        return str(self.row.get("error", ""))

    @property
    def code(self) -> str:
        """The same in one word."""
        return str(self.row.get("code", ""))

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return dict(self.row)


class Journal:
    """The finished inputs of a batch. A context manager.

    Args:
        path: The file; made if it is missing.

    Raises:
        DataError: If it is damaged other than at its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._synced_s = time.monotonic()
        self._reader: BufferedReader = path.open("rb")
        try:
            self._known, self._places = self._read_ids()
        except BaseException:
            self.close()
            raise
        self._line: tuple[int, list[Any]] = (-1, [])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
        os.close(self._number)

    def __len__(self) -> int:
        """How many inputs were finished before."""
        return len(self._known)

    def find(self, digest: int) -> int | None:
        """Return where an input lies that was finished before; None if it was not."""
        at = bisect_left(self._known, digest)
        return self._places[at] if at < len(self._known) and self._known[at] == digest else None

    def append(self, piece: Sequence[Done], writer: Writer, target: Target) -> list[int]:
        """Add what was finished and return where each input of it lies.

        Raises:
            DiskFullError: If there is no room; the journal is as it was.
        """
        start = os.fstat(self._number).st_size
        ids = [f"{identity(done.input):016x}" for done in piece]
        told = [[_told(result, writer, target) for result in done.results] for done in piece]
        line = json.dumps({"ids": ids, "inputs": told}, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._write(line, start)
        if time.monotonic() - self._synced_s > _SYNCED_S:
            self.sync()
        return [start << _PLACES | place for place in range(len(piece))]

    def sync(self) -> None:
        """Flush it to the disk."""
        os.fsync(self._number)
        self._synced_s = time.monotonic()

    def results(self, place: int) -> list[Told]:
        """Return what came of the input that lies there."""
        start, number = place >> _PLACES, place & ((1 << _PLACES) - 1)
        if self._line[0] != start:
            self._reader.seek(start)
            self._line = (start, json.loads(self._reader.readline())["inputs"])
        return [Told(row, tuple(found), tuple(warnings)) for row, found, warnings in self._line[1][number]]

    def _write(self, line: bytes, start: int) -> None:
        try:
            written = os.write(self._number, line)
            while written < len(line):
                written += os.write(self._number, line[written:])
        except OSError as error:
            os.ftruncate(self._number, start)
            if is_disk_full(error):
                raise disk_full(self._path, len(line), error) from error
            raise

    def _read_ids(self) -> tuple[array[int], array[int]]:
        """The digests of what is there, sorted, and where each lies; a torn end is cut off."""
        known, places, start = array("Q"), array("Q"), 0
        for line in self._reader:
            ids = _ids_of(line)
            if ids is None:
                break
            for number, one in enumerate(ids):
                known.append(int(one, 16))
                places.append(start << _PLACES | number)
            start += len(line)
        if self._reader.read(1):
            raise DataError(f"{self._path.name} is damaged in its midst; --overwrite begins anew")
        if os.fstat(self._number).st_size > start:
            os.ftruncate(self._number, start)
        order = np.argsort(np.frombuffer(known, np.uint64), kind="stable") if known else np.arange(0)
        return _taken(known, order), _taken(places, order)


def _told(result: FileResult, writer: Writer, target: Target) -> tuple[dict[str, Any], Sequence[str], Sequence[str]]:
    row = {name: value for name, value in writer.row(result, target).items() if value not in ("", None)}
    return row, result.found, list(result.warnings)


def _ids_of(line: bytes) -> list[bytes] | None:
    """The digests of a line; None of one that is torn."""
    if not line.startswith(_IDS) or not line.endswith(b"]}\n"):
        return None
    return line[len(_IDS) : line.index(b'"]', len(_IDS))].split(b'","')


def _taken(values: array[int], order: np.ndarray[Any, np.dtype[np.int64]]) -> array[int]:
    if not values:
        return values
    return array("Q", np.frombuffer(values, np.uint64)[order].tobytes())
