"""The last rows of numbers, kept by one process, or by several together in a file that each of them maps."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Recent"]

Floats32 = NDArray[np.float32]

_SEEN = struct.Struct("=q")


class Recent:
    """The last rows of numbers, in the order in which they came.

    Args:
        size: How many are kept.
        width: Numbers of each.
        path: A file for several processes; it is made if it is not there. None for memory of this process alone.

    Example:
        >>> recent = Recent(2, 1)
        >>> for number in (1, 2, 3):
        ...     recent.add(np.array([number], np.float32))
        >>> recent.read()
        (array([[2.],
               [3.]], dtype=float32), 3)
    """

    def __init__(self, size: int, width: int, path: Path | None = None) -> None:
        self._size, self._width = size, width
        length = _SEEN.size + 4 * size * width
        self._lock, self._closed = threading.Lock(), False
        self._file = -1 if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if path is not None:
            os.truncate(self._file, length)
        self._memory = mmap.mmap(self._file, length)

    def add(self, row: Floats32) -> None:
        """Take a row ``(width,)``; the oldest one goes. After ``close`` nothing is taken.

        Raises:
            ValueError: If it has another number of values.
        """
        if row.shape != (self._width,):
            raise ValueError(f"a row of shape {row.shape}; expected ({self._width},)")
        with self._alone() as is_open:
            if is_open:
                (seen,) = _SEEN.unpack_from(self._memory)
                at = _SEEN.size + 4 * self._width * (seen % self._size)
                self._memory[at : at + 4 * self._width] = row.astype(np.float32).tobytes()
                _SEEN.pack_into(self._memory, 0, seen + 1)

    def read(self) -> tuple[Floats32, int]:
        """Return the rows that there are, the oldest first, and how many there ever were."""
        with self._alone() as is_open:
            data = self._memory[:] if is_open else bytes(_SEEN.size)
        (seen,) = _SEEN.unpack_from(data)
        rows = np.frombuffer(data, np.float32, offset=_SEEN.size).reshape(-1, self._width)
        return (rows[:seen] if seen <= self._size else np.roll(rows, -(seen % self._size), axis=0)), seen

    def close(self) -> None:
        """Let go of the file, which other processes may go on with."""
        with self._alone() as is_open:
            if is_open:
                self._closed = True
                self._memory.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keep other threads and processes out, and say whether it is open; who is killed in here lets the next in."""
        with self._lock:
            shared = self._file >= 0
            if shared:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield not self._closed
            finally:
                if shared:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
