"""Which runs there are, how far they have come and how large they are; and how to delete one."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from medloom.errors import UserError
from medloom.files import remove_abandoned, size_of
from medloom.pipeline.finished import FINISHED
from medloom.pipeline.names import OF_A_RUN, RUNS
from medloom.pipeline.runs import find_run
from medloom.pipeline.writing import OURS, writer_of, writing

__all__ = ["Deleted", "RunFacts", "delete_run", "list_runs", "run_facts", "utc"]

_STATES = (
    (FINISHED, "finished"),
    ("model.tar.gz", "packaged"),
    ("evaluation/summary.json", "measured"),
    ("checkpoints", "trained in part"),
    ("prepare.json", "prepared"),
    ("fold-*/prepare.json", "folds prepared"),
)
"""The furthest state first: what is there, and what that means."""

_SURE = ("prepare.json", "run.json", "fold-*/prepare.json")
"""What only a run has; a recipe.yaml may be someone's own."""


def _here_and_in_members(*names: str) -> tuple[str, ...]:
    """Patterns of files of a run, of its folds and of its seeds."""
    return tuple(f"{place}{name}" for name in names for place in ("", "fold-*/", "seed-*/"))


_PARTS = (
    ("checkpoints", _here_and_in_members("checkpoints")),
    ("bundle", ("model.tar.gz",)),
    ("graph", _here_and_in_members("model.onnx")),
    ("evaluation", _here_and_in_members("evaluation")),
    ("pages and pictures", ("*.html", *_here_and_in_members("data_report", "progress"))),
)


@dataclass(frozen=True)
class RunFacts:
    """What can be said of a run from its files.

    Args:
        name: Of its folder.
        folder: Where it is.
        state: How far it has come, or which command is at work.
        busy: Whether a command is at work on it.
        bytes: Of everything in it.
        changed: When something in it was last written, seconds since 1970.
    """

    name: str
    folder: Path
    state: str
    busy: bool
    bytes: int
    changed: float

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "folder": str(self.folder), "changed": utc(self.changed)}


@dataclass(frozen=True)
class Deleted:
    """What became of a run that was deleted.

    Args:
        folder: Where it was.
        bytes: How many were freed.
        left: Files and folders in it that Medloom did not write, which are still there.
    """

    folder: Path
    bytes: int
    left: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"folder": str(self.folder), "bytes": self.bytes, "left": list(self.left)}


def utc(seconds: float) -> str:
    """Return a time in seconds since 1970 for reading, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def list_runs(runs: Path = RUNS) -> list[RunFacts]:
    """Return what can be said of each run in a folder, by name."""
    return [_facts(path.parent) for path in sorted(runs.glob("*/recipe.yaml"))]


def run_facts(name: str | Path, runs: Path = RUNS) -> tuple[RunFacts, dict[str, int]]:
    """Return what can be said of one run, and the bytes of its parts.

    Raises:
        UserError: If there is no such run.
    """
    facts = _facts(find_run(name, runs))
    parts = {part: sum(size_of(path) for one in names for path in facts.folder.glob(one)) for part, names in _PARTS}
    return facts, {**parts, "other": facts.bytes - sum(parts.values())}


def delete_run(name: str | Path, runs: Path = RUNS) -> Deleted:
    """Delete a run; what Medloom did not write stays, and nothing that a link leads to is touched.

    Args:
        name: Name of the run, or its folder.
        runs: Folder that holds the runs.

    Raises:
        UserError: If there is no such run, it is a link, or a command is at work on it; nothing is deleted.
    """
    folder = find_run(name, runs)
    if folder.is_symlink():
        raise UserError(f"{folder} is a link to another folder; nothing was deleted. Name that folder, or unlink it")
    with writing(folder, "runs delete"):
        size, (ours, others) = size_of(folder), _sorted_out(folder)
        if others and not any(path for one in _SURE for path in folder.glob(one)):
            raise UserError(f"{folder} has a recipe.yaml and nothing else of a run; nothing was deleted")
        for path in ours:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    remove_abandoned(OURS, folder)
    if others:
        return Deleted(folder, size - size_of(folder), tuple(others))
    folder.rmdir()
    return Deleted(folder, size, ())


def _sorted_out(folder: Path) -> tuple[list[Path], list[str]]:
    """What Medloom wrote, the recipe last, for without it there is no run; and the names of the rest."""
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(OURS)]
    ours = [path for path in paths if any(fnmatchcase(path.name, one) for one in OF_A_RUN)]
    others = [path.name for path in paths if path not in ours]
    return sorted(ours, key=lambda path: path.name == "recipe.yaml"), others


def _facts(folder: Path) -> RunFacts:
    writer = writer_of(folder)
    reached = (state for name, state in _STATES if any(folder.glob(name)))
    state = next(reached, "begun") if writer is None else f"being written by medloom {writer.get('command', '')}"
    times = [path.lstat().st_mtime for path in folder.rglob("*") if not path.name.startswith(OURS)]
    return RunFacts(folder.name, folder, state.strip(), writer is not None, size_of(folder), max(times))
