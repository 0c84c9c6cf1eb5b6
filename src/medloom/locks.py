"""Locks between processes on files and folders; each ends with its process, however that ends.

On a file system without locks everyone may hold one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["alone", "holder_of", "holding", "is_held", "share", "sole"]


@contextmanager
def sole(folder: Path, waits: Callable[[], object] | None = None) -> Iterator[None]:
    """Work in a folder as the only process that asks for it so; wait for another one to end.

    Args:
        folder: It must be there.
        waits: Called if another process is at work there.
    """
    number = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            if not _locks(number, fcntl.LOCK_EX):
                if waits:
                    waits()
                fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


@contextmanager
def holding(path: Path, record: object) -> Iterator[bool]:
    """Hold a file that says who is at work; it goes with the block, and its lock with the process.

    What a killed process left is taken over.

    Args:
        path: The file; its folder must be there.
        record: What it says, as JSON.

    Yields:
        Whether it is held; if not, another process holds it and nothing was changed.
    """
    number = _hold(path)
    if number is None:
        yield False
        return
    try:
        os.ftruncate(number, 0)
        os.write(number, json.dumps(record).encode())
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(number)


def share(path: Path) -> int:
    """Open a file or folder that several processes may use at a time, so that ``alone`` tells that it is in use.

    Returns:
        The number of what is open, for ``os.close`` when it is no longer needed.

    Raises:
        FileNotFoundError: If it is not there, or is just being removed.
    """
    number = os.open(path, os.O_RDONLY)
    if _locks(number, fcntl.LOCK_SH):
        return number
    os.close(number)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold a file or folder as the only process.

    Yields:
        Whether it is held; if not, another process, or another part of this one, uses it.
    """
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield _locks(number, fcntl.LOCK_EX)
    finally:
        os.close(number)


def is_held(path: Path) -> bool:
    """Return whether a process holds a file, or works in a folder as the only one."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _locks(number, fcntl.LOCK_SH)
    finally:
        os.close(number)


def holder_of(path: Path) -> dict[str, Any] | None:
    """Return what the process says that holds a file.

    Returns:
        None if nobody holds it; an empty mapping if it says nothing that can be read.
    """
    if not is_held(path):
        return None
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # it is only just being written, or has gone
        return {}
    return said if isinstance(said, dict) else {}


def _locks(number: int, kind: int) -> bool:
    """Lock what is open, unless another process has it; without a word where there are no locks."""
    try:
        fcntl.flock(number, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nobody can tell
        return True
    return True


def _hold(path: Path) -> int | None:
    """Make a file and lock it; None if another process has it."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        if not _locks(number, fcntl.LOCK_EX):
            os.close(number)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(number), path.lstat()):
                return number
        os.close(number)  # whoever held it has removed it in between
