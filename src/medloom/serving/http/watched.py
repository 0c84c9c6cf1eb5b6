"""What small files hold, such as tokens and certificates, read again when they change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from medloom.errors import UserError

__all__ = ["Watched"]

_log = logging.getLogger(__name__)

_Value = TypeVar("_Value")
_Stamp = tuple[int, int, int] | None


class Watched(Generic[_Value]):
    """What files hold now. While they cannot be read, what they held before, so that a slip locks nobody out.

    The files are looked at when the value is asked for, once a second at most.

    Args:
        paths: The files.
        read: Reads them; raises a ``UserError`` if what they hold is not sound.
        clock: Seconds that only grow.

    Raises:
        UserError: From ``read``, the first time.
    """

    def __init__(
        self, paths: Sequence[Path], read: Callable[[], _Value], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._clock = clock
        self._stamps = self._look()
        self._value = read()
        self._next_look_s = clock() + 1.0

    def get(self) -> _Value:
        """Return what the files hold."""
        now_s = self._clock()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + 1.0
            self._renew()
        return self._value

    def _renew(self) -> None:
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        names = " and ".join(path.name for path in self._paths)
        try:
            self._value = self._read()
        except UserError as error:
            _log.error("a change of %s is not used, what was read before still counts: %s", names, error)
        else:
            _log.warning("a change of %s was read and counts from now on", names)

    def _look(self) -> tuple[_Stamp, ...]:
        """Return what changes with the files; before they are read, so that a change meanwhile is seen next time."""
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
