"""Files that are either whole or not there (write beside, fsync, rename), and folders that go with their process.

What is only there for a while is locked by the process that needs it. The lock ends with the process, however that
ends, so the next process in the same place can tell what was left behind, and removes it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import hashlib
import itertools
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medloom.errors import DiskFullError, MedloomError

__all__ = [
    "TemporaryFolder",
    "cache_dir",
    "disk_full",
    "flush_files",
    "is_disk_full",
    "members_of",
    "read_json",
    "remove_abandoned",
    "replacing",
    "sha256_bytes",
    "sha256_file",
    "size_of",
    "sync_folder",
    "write_bytes",
    "write_json",
    "write_soon",
    "write_text",
]


_PART_PREFIX = ".medloom-"
_PART_NAME = 40
"""Characters of a file's name in that of its part: all of a long one, and more, may be too long for the file system."""


_NUMBERS = itertools.count()

_MEMBERS = ("fold-*", "seed-*")
"""Run directories inside one: a training for each fold, or for each seed."""


def members_of(run: Path) -> list[Path]:
    """Return the run directories of the folds or the seeds inside a run directory; none of a run of one training."""
    return sorted(path for one in _MEMBERS for path in run.glob(one))


def cache_dir() -> Path:
    """Return the folder for what can be made again: ``$MEDLOOM_CACHE``, else the user's cache folder."""
    given = os.environ.get("MEDLOOM_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medloom"


class TemporaryFolder:
    """A folder of mode 0700 for what must not outlive the process that needs it.

    Making one removes those with the same prefix in the same place whose processes were killed.

    Args:
        prefix: What its name begins with, and those of its kind alone.
        parent: Where it lies; the system's place for temporary files by default.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        remove_abandoned(prefix, parent)
        self._lock: int | None = None
        while self._lock is None:  # another process that cleans up may come between the two and take it for abandoned
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            self._lock = _lock(self.path)

    def remove(self) -> None:
        """Remove it with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_abandoned(prefix: str, parent: Path | None = None) -> None:
    """Remove files and folders that processes of this user left behind when they were killed.

    Args:
        prefix: What their names begin with.
        parent: Where they lie; the system's place for temporary files by default.
    """
    with suppress(OSError), os.scandir(parent or tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with suppress(OSError):  # it is in use, or another process was faster
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(path: Path) -> None:
    status = path.lstat()
    ours = status.st_uid == os.geteuid() and (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode))
    lock = _lock(path, needed=True) if ours else None
    if lock is not None:
        try:
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(lock)


def _lock(path: Path, *, needed: bool = False) -> int | None:
    """Lock a file or folder of ours until the number that is returned is closed.

    Returns:
        None if another process has it or has just removed it, or if it cannot be locked there but ``needed`` to be.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(number), path.lstat()):
            return number
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # a file system without locks: it cannot be taken for abandoned there
        if not needed:
            return number
    os.close(number)
    return None


@functools.cache
def _tidy(folder: Path) -> None:
    """Remove once, before this process first writes there, what killed ones had begun to write."""
    remove_abandoned(_PART_PREFIX, folder)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SAID = re.compile(r"no space left|quota exceeded|file too large|\d+ requested and \d+ written", re.IGNORECASE)
"""What libraries say of it that keep the number to themselves."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what it came from, is that there was no room on a disk."""
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL):
        return True
    if not isinstance(error, MedloomError) and _FULL_SAID.search(str(error)):
        return True
    above = error.__cause__ or error.__context__
    return above is not None and is_disk_full(above)


def disk_full(path: Path, needed: int, error: BaseException) -> DiskFullError:
    """Return the error for a file that there is no room for.

    Args:
        path: The file.
        needed: Bytes that it needs, as far as is known.
        error: What writing raised.
    """
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "no space left on the device"
    return DiskFullError(str(path), needed, shutil.disk_usage(path.parent).free, reason)


@contextmanager
def replacing(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends well.

    The file is flushed to the disk before it is renamed, and the folder after, so that after a crash
    ``path`` holds either the old content or the new one. If the block raises, ``path`` is untouched.

    Args:
        path: Where the file is written. Its folder is made if it is missing.
        size: Bytes that it needs, where that is known.

    Yields:
        A path in the same folder, to be written by the caller.

    Raises:
        DiskFullError: If there is no room for it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _tidy(path.parent.absolute())
        beside, lock = _new_part(path)
    except OSError as error:
        if is_disk_full(error) and path.parent.is_dir():
            raise disk_full(path, size, error) from error
        raise
    try:
        yield beside
        beside.chmod(0o644)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except Exception as error:
        if isinstance(error, DiskFullError) or not is_disk_full(error):
            raise
        needed = max(size, beside.stat().st_size)
        os.truncate(beside, 0)  # so that what it took is counted as free
        raise disk_full(path, needed, error) from error
    finally:
        beside.unlink(missing_ok=True)
        os.close(lock)


def _new_part(path: Path) -> tuple[Path, int]:
    """An empty file of mode 0600 beside a path, and its lock."""
    prefix = _prefix_of(path)
    while True:
        number, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
        os.close(number)
        lock = _lock(Path(name))
        if lock is not None:
            return Path(name), lock


def _prefix_of(path: Path) -> str:
    return f"{_PART_PREFIX}{path.name[:_PART_NAME]}."


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with replacing(path, len(data)) as beside:
        beside.write_bytes(data)


def write_soon(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``: whole or not at all for every process, but on the disk only after ``flush_files``.

    For many small files, of which each would wait for the disk by itself.

    Args:
        path: Where the file is written. Its folder is made if it is missing.
        data: All of it.

    Raises:
        DiskFullError: If there is no room for it.
    """
    folder = path.parent
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder.absolute())
        beside, number = _held_part(path)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(number, left) :]
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        finally:
            os.close(number)
    except OSError as error:
        if is_disk_full(error) and folder.is_dir():
            raise disk_full(path, len(data), error) from error
        raise


def _held_part(path: Path) -> tuple[Path, int]:
    """An empty file beside a path, open for writing, and locked where files can be."""
    while True:
        beside = path.parent / f"{_prefix_of(path)}{next(_NUMBERS)}-{os.getpid()}.part"
        with suppress(FileExistsError):
            number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            if _holds(number):
                return beside, number
            os.close(number)
            beside.unlink(missing_ok=True)


def _holds(number: int) -> bool:
    """Lock a new file where files can be; whether no other process is about to tidy it away."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return os.fstat(number).st_nlink > 0


def flush_files(folder: Path) -> None:
    """Flush the file system of a folder to the disk, with everything that was written to it, names included."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):  # it is Linux's own
            os.sync()
        elif libc.syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write ``value`` to ``path`` atomically, as indented JSON. NaN and infinity are refused.

    Raises:
        ValueError: If ``value`` holds a number that JSON cannot.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - anything JSON can hold
    """Read a JSON file."""
    return json.loads(path.read_text("utf-8"))


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading it in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of every file below a folder. Links are not followed; hard links count once."""
    sizes = {}
    for folder, _, files in os.walk(path) if path.is_dir() else [(path.parent, (), (path.name,))]:
        for name in files:
            with suppress(OSError):  # it has just gone
                status = (Path(folder) / name).lstat()
                sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())
