"""The output folder of a batch: what it was begun with, who is at work in it, and whether it is finished."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medloom.errors import UserError
from medloom.files import read_json, write_json
from medloom.inference.writers import TABLE
from medloom.locks import alone
from medloom.registry import FORMS
from medloom.serving.batch.tables import PARQUET

__all__ = ["EVALUATION", "JOURNAL", "MANIFEST", "Manifest", "now", "opened_folder"]

MANIFEST, JOURNAL, EVALUATION = "batch.json", "journal.jsonl", "evaluation"
_FORMAT = 2
_OURS = (MANIFEST, JOURNAL, TABLE, PARQUET, EVALUATION, "masks", "overlays", "uncertainty", *FORMS)


@dataclass
class Manifest:
    """What ``batch.json`` says.

    Args:
        of: The bundle, the versions and the options that decide what an answer is; plain JSON types.
        finished: Whether every input is done and the table written.
        inputs: A digest of all inputs in their order; empty before it is finished.
        result: Counts, and what is to be said of them.
        times: When it was begun and finished, seconds of work, and how many times it was gone on with.
    """

    of: dict[str, Any]
    finished: bool = False
    inputs: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    times: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it."""
        write_json(folder / MANIFEST, {"format": _FORMAT, **vars(self)})

    def worked(self, seconds: float) -> None:
        """Add the time of one run."""
        self.times["seconds"] = round(self.times["seconds"] + seconds, 3)
        self.times["runs"] += 1

    def ended(self, seconds: float) -> None:
        """Add the time of one run, which did all that there is."""
        self.times["finished"] = now()
        self.worked(seconds)


@contextmanager
def opened_folder(folder: Path, of: Mapping[str, Any], *, overwrite: bool) -> Iterator[Manifest]:
    """Open an output folder, new or of the same batch, as the only process.

    Args:
        folder: Made if it is missing.
        of: What the batch is of; see ``Manifest``.
        overwrite: Whether another batch in it is removed.

    Raises:
        UserError: If it is of another batch, holds something else, or another process is at work in it.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"-o {folder} is a file; expected a folder, or one that is not there yet")
    before = _before(folder)
    if before is None and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"-o {folder} is not empty and is no output of medloom batch; name another folder")
    if before is not None and overwrite:
        with _alone(folder):
            _remove(folder)
        before = None
    if before is not None:
        _compare(folder, before.of, of)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        found = before or Manifest(dict(of), times={"begun": now(), "seconds": 0.0, "runs": 0})
        if before is None:
            found.write(folder)
        yield found


def now() -> str:
    """Return the time of day and date, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with alone(folder) as held:
        if not held:
            raise UserError(f"another process is at work in {folder}; wait for it, or name another folder")
        yield


def _before(folder: Path) -> Manifest | None:
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        plain = read_json(path)
        if plain.pop("format") != _FORMAT:
            raise ValueError
        return Manifest(**plain)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged or of another version of medloom; name another folder") from error


def _compare(folder: Path, before: Mapping[str, Any], of: Mapping[str, Any]) -> None:
    others = [key for key in sorted({*before, *of}) if before.get(key) != of.get(key)]
    if others:
        said = ", ".join(f"{key.replace('_', ' ')} {before.get(key)!r}, now {of.get(key)!r}" for key in others)
        raise UserError(
            f"-o {folder} was begun with other settings: {said}. Give the same again, name another folder, or remove "
            "what is there with --overwrite"
        )


def _remove(folder: Path) -> None:
    """Remove what a batch writes, the manifest last, and nothing else."""
    for name in reversed(_OURS):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError):
                path.unlink()
