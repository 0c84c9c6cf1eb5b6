"""One command at a time writes into a run directory, and one that fails leaves a run that was there as it was.

Who writes is said in a file of the directory, which is locked: the lock ends with the process, however that ends.
Before a command writes into a run, its files are linked aside; if the command fails before the training has moved on,
they come back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medloom.errors import UserError
from medloom.files import TemporaryFolder, members_of
from medloom.locks import holder_of, holding, is_held

__all__ = ["OURS", "writer_of", "writing"]

OURS = ".medloom-"
"""What names of files begin with that are there only while a command is at work."""

_RECORD = f"{OURS}writer.json"
_ASIDE = f"{OURS}before-"

_OF_TRAINING = ("checkpoints", "metrics.jsonl", "progress")
"""What a training keeps good by itself, and never takes back."""

_TOLD = ("tracking.json", "system.jsonl")
"""What trackers were told, which cannot be taken back."""


@contextlib.contextmanager
def writing(folder: Path, command: str) -> Iterator[None]:
    """Be the only command that writes into a run directory; make it if it is missing.

    If the block raises, or the command is stopped, the files of a run that was there are as they were, unless it has
    trained on. A folder that was made is removed if nothing came into it.

    Args:
        folder: The run directory.
        command: What the others are told is at work there.

    Raises:
        UserError: At once, if another process writes there; the message says which, and nothing is changed.
    """
    if _is_part_of_ours(folder):
        yield
        return
    made = _make(folder)
    try:
        with holding(folder / _RECORD, _record(command)) as held:
            if not held:
                raise _busy(folder, holder_of(folder / _RECORD))
            _refuse_others_nearby(folder)
            with _undone_on_failure(folder):
                yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # there is something in it now
                path.rmdir()


def writer_of(folder: Path) -> dict[str, Any] | None:
    """Return what the command says that writes into a run directory or a member of it; None if none does."""
    records = (holder_of(near / _RECORD) for near in (folder, *members_of(folder)))
    return next((record for record in records if record is not None), None)


def _is_part_of_ours(folder: Path) -> bool:
    """Whether this process was started for a fold by the command that writes into the run."""
    above = holder_of(folder.absolute().parent / _RECORD)
    return above is not None and (above.get("process"), above.get("host")) == (os.getppid(), socket.gethostname())


def _record(command: str) -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return {"command": command, "process": os.getpid(), "host": socket.gethostname(), "since": since}


def _refuse_others_nearby(folder: Path) -> None:
    """Raise if someone writes into the run that this is a fold of, or into a fold of this one."""
    for near in (folder.absolute().parent, *members_of(folder)):
        record = holder_of(near / _RECORD)
        if record is not None:
            raise _busy(near, record)
    if is_held(folder):
        raise UserError(f"{folder} is still written by a fold of a command that has ended; it ends in a moment")


def _busy(folder: Path, record: dict[str, Any] | None) -> UserError:
    said = record or {}
    who = (
        f"`medloom {said['command']}`, process {said['process']} on {said['host']}, since {said['since']}"
        if {"command", "process", "host", "since"} <= said.keys()
        else "another process"
    )
    return UserError(f"{folder} is being written by {who}; nothing was changed. Wait for its end, or take another run")


def _make(folder: Path) -> list[Path]:
    """Make a folder and return those that were missing, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


@contextlib.contextmanager
def _undone_on_failure(folder: Path) -> Iterator[None]:
    if not (folder / "recipe.yaml").is_file():  # what is found out about a new run stays, for who looks for the fault
        yield
        return
    aside = TemporaryFolder(_ASIDE, folder)
    try:
        for name in _names(folder):
            _link(folder / name, aside.path / name)
        trained = _training_state(folder)
        try:
            yield
        except BaseException:  # someone who stops the command wants the run as it was too
            if _training_state(folder) == trained:
                _bring_back(folder, aside.path)
            raise
    finally:
        aside.remove()


def _names(folder: Path) -> list[Path]:
    """Every file of a run, apart from what is there for a while, or a training keeps good by itself."""
    files = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        name
        for name in files
        if not any(part in (*_OF_TRAINING, *_TOLD) or part.startswith(OURS) for part in name.parts)
    ]


def _training_state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Which checkpoints are there; each that is written is a new file."""
    files = (path for path in folder.rglob("checkpoints/*") if path.is_file() and not path.name.startswith(OURS))
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def _link(path: Path, aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, aside)  # files of a run are replaced and never written into, so a link keeps what was there
    except OSError:  # a file system without links
        shutil.copy2(path, aside)


def _bring_back(folder: Path, aside: Path) -> None:
    """Take back what was changed and what was removed; remove what is new."""
    before = set(_names(aside))
    for name in _names(folder):
        if name not in before:
            (folder / name).unlink()
            with contextlib.suppress(OSError):  # other files are in it
                (folder / name).parent.rmdir()
    for name in before:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).replace(folder / name)
