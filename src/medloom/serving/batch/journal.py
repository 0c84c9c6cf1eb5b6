"""What is finished, a line for each piece: appended, and now and then flushed to the disk with the files it speaks of.

A process that is killed leaves at most its last line torn, which is dropped by the next one. A power cut may leave
lines on the disk whose files are not. So a line says from time to time up to where all is safe, and another one in
which start of the machine the lines after it were written: in a later one those that are not safe are dropped.

Of each input that was finished before 16 bytes are held in memory.
"""

from __future__ import annotations

import json
import os
import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from medloom.errors import DataError
from medloom.files import disk_full, flush_files, is_disk_full
from medloom.inference.writers import FileResult, Writer
from medloom.serving.batch.names import digest_of
from medloom.serving.batch.work import Done, Input
from medloom.targets import Target

__all__ = ["Journal", "Told", "identity"]

_SYNCED_S = 1.0
_IDS, _SAFE, _START = b'{"ids":["', b'{"safe":', b'{"start":"'
_BOOT = Path("/proc/sys/kernel/random/boot_id")
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
        self._lock = threading.Lock()
        self._flusher = ThreadPoolExecutor(1, "flush")
        self._flushed: Future[None] | None = None
        self._reader: BufferedReader = path.open("rb")
        try:
            self._start, self._is_begun, self._is_safe = _start_of_machine(), False, True
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
        self._flusher.shutdown()
        self._reader.close()
        os.close(self._number)

    def __len__(self) -> int:
        """How many inputs were finished before."""
        return len(self._known)

    def find(self, digest: int) -> int | None:
        """Return where an input lies that was finished before, the last time; None if it was not."""
        at = bisect_right(self._known, digest) - 1
        return self._places[at] if at >= 0 and self._known[at] == digest else None

    def append(self, piece: Sequence[Done], writer: Writer, target: Target) -> list[int]:
        """Add what was finished and return where each input of it lies.

        Raises:
            DiskFullError: If there is no room; the journal is as it was.
        """
        if not self._is_begun:
            self._write({"start": self._start})
            os.fsync(self._number)
            self._is_begun = True
        self._is_safe = False
        ids = [f"{identity(done.input):016x}" for done in piece]
        told = [[_told(result, writer, target) for result in done.results] for done in piece]
        start = self._write({"ids": ids, "inputs": told})
        self._flush_soon()
        return [start << _PLACES | place for place in range(len(piece))]

    def sync(self) -> None:
        """Flush it to the disk, with what it speaks of.

        Raises:
            OSError: If that cannot be; also if it could not be before.
        """
        if self._flushed is not None:
            self._flushed.result()
        if not self._is_safe:
            self._flush(os.fstat(self._number).st_size)
            os.fsync(self._number)
            self._is_safe = True

    def _flush_soon(self) -> None:
        """Flush in a thread of its own, when the last time is over and done with."""
        if self._flushed is not None and self._flushed.done():
            self._flushed.result()
            self._flushed = None
        if self._flushed is None and time.monotonic() - self._synced_s > _SYNCED_S:
            self._flushed = self._flusher.submit(self._flush, os.fstat(self._number).st_size)

    def _flush(self, size: int) -> None:
        """Flush what was written so far, and then say that it is safe."""
        flush_files(self._path.parent)
        self._write({"safe": size})
        self._synced_s = time.monotonic()

    def results(self, place: int) -> list[Told]:
        """Return what came of the input that lies there."""
        start, number = place >> _PLACES, place & ((1 << _PLACES) - 1)
        if self._line[0] != start:
            self._reader.seek(start)
            self._line = (start, json.loads(self._reader.readline())["inputs"])
        return [Told(row, tuple(found), tuple(warnings)) for row, found, warnings in self._line[1][number]]

    def _write(self, value: dict[str, Any]) -> int:
        """Append a line, and return where it begins."""
        line = json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            start = os.fstat(self._number).st_size
            try:
                written = os.write(self._number, line)
                while written < len(line):
                    written += os.write(self._number, line[written:])
            except OSError as error:
                os.ftruncate(self._number, start)
                if is_disk_full(error):
                    raise disk_full(self._path, len(line), error) from error
                raise
            return start

    def _read_ids(self) -> tuple[array[int], array[int]]:
        """The digests of what is there, sorted, and where each lies; what is torn or not safe at the end is cut off."""
        known, places, whole, safe, then = array("Q"), array("Q"), 0, 0, ""
        for line in self._reader:
            if not line.endswith(b"}\n"):
                break
            if line.startswith(_IDS):
                for number, one in enumerate(_ids_of(line)):
                    known.append(int(one, 16))
                    places.append(whole << _PLACES | number)
            elif line.startswith(_SAFE):
                safe = max(safe, int(json.loads(line)["safe"]))
            elif line.startswith(_START):
                then = str(json.loads(line)["start"])
            else:
                break
            whole += len(line)
        same = then != "" and then == self._start
        if self._reader.read(1) and (same or not then):
            raise DataError(f"{self._path.name} is damaged in its midst; --overwrite begins anew")
        end = whole if same else safe
        self._is_safe = safe == end or not places or places[-1] >> _PLACES < safe
        if os.fstat(self._number).st_size > end:
            os.ftruncate(self._number, end)
        kept = int(np.searchsorted(np.frombuffer(places, np.uint64), end << _PLACES)) if places else 0
        order = np.argsort(np.frombuffer(known, np.uint64)[:kept], kind="stable") if kept else np.arange(0)
        return _taken(known, order), _taken(places, order)


def _start_of_machine() -> str:
    """What is another text after each start of the machine; empty where it does not say."""
    with suppress(OSError):
        return _BOOT.read_text("ascii").strip()
    return ""


def _told(result: FileResult, writer: Writer, target: Target) -> tuple[dict[str, Any], Sequence[str], Sequence[str]]:
    row = {name: value for name, value in writer.row(result, target).items() if value not in ("", None)}
    return row, result.found, list(result.warnings)


def _ids_of(line: bytes) -> list[bytes]:
    return line[len(_IDS) : line.index(b'"]', len(_IDS))].split(b'","')


def _taken(values: array[int], order: np.ndarray[Any, np.dtype[np.int64]]) -> array[int]:
    if not len(order):
        return array("Q")
    return array("Q", np.frombuffer(values, np.uint64)[order].tobytes())
