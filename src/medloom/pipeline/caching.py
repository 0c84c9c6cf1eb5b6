"""What the cache holds that can be made again, how large it is, when it was used, and how to remove it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medloom.errors import MedloomError
from medloom.files import read_json, remove_abandoned, size_of
from medloom.locks import alone
from medloom.pipeline.inventory import utc
from medloom.pipeline.places import downloads_dir, phantom_key, phantoms_dir, stores_dir
from medloom.pipeline.runs import Run

__all__ = ["Cached", "cached", "prune"]

_STORE, _PHANTOM, _DOWNLOAD = "pixel store", "phantom images", "download"
_BUILDING = ".building."
_REMOVING = ".medloom-removed-"


@dataclass(frozen=True)
class Cached:
    """One thing in the cache.

    Args:
        kind: ``pixel store``, ``phantom images`` or ``download``.
        name: Its key, or the name of the data set.
        path: Where it is.
        bytes: How large it is.
        used: When it was last used, seconds since 1970.
        busy: Whether a process is using it.
        runs: Names of the runs that were made with it, of those that were looked at.
    """

    kind: str
    name: str
    path: Path
    bytes: int
    used: float
    busy: bool
    runs: tuple[str, ...]

    @property
    def days(self) -> float:
        """Days since it was last used."""
        return (time.time() - self.used) / 86400

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "path": str(self.path), "used": utc(self.used), "runs": list(self.runs)}


def cached(runs: Path) -> list[Cached]:
    """Return what the cache of this machine holds, the largest first.

    Args:
        runs: Folder that holds the runs that are looked at for who needs a pixel store.
    """
    needed = _needed(runs)
    found = [_entry(kind, name, path, needed.get(name, ())) for kind, name, path in _places()]
    return sorted(found, key=lambda one: (-one.bytes, one.name))


def prune(entries: Sequence[Cached], *, progress: Callable[[int, int], None] | None = None) -> list[Cached]:
    """Remove things from the cache, and what processes that were killed left there.

    Args:
        entries: Of ``cached``.
        progress: Called with entries done and entries in all.

    Returns:
        Those that were removed: one that a process is using stays.
    """
    remove_abandoned(_BUILDING, stores_dir())
    removed = []
    for number, entry in enumerate(entries, start=1):
        if _remove(entry):
            removed.append(entry)
        if progress:
            progress(number, len(entries))
    return removed


def _places() -> Iterator[tuple[str, str, Path]]:
    for index in stores_dir().glob("*/index.json"):
        yield _STORE, index.parent.name, index.parent
    for said in phantoms_dir().glob("*/phantom.json"):
        yield _PHANTOM, said.parent.name, said.parent
    for marker in downloads_dir().glob("*--*.json"):
        with suppress(OSError, ValueError, KeyError):
            path = downloads_dir() / str(read_json(marker)["folder"])
            if path.is_dir():
                yield _DOWNLOAD, marker.stem.replace("--", "/"), path


def _needed(runs: Path) -> dict[str, tuple[str, ...]]:
    """Which runs, or folds of them, were made with each pixel store and each set of phantom images."""
    needed: dict[str, dict[str, None]] = {}
    for path in sorted([*runs.glob("*/prepare.json"), *runs.glob("*/fold-*/prepare.json")]):
        with suppress(OSError, ValueError, KeyError, TypeError, MedloomError):
            facts = read_json(path)
            keys = [facts["store"]["key"]]
            keys += [phantom_key(Run.open(path.parent).recipe.data.phantom)] if facts["phantom"] else []
            for key in keys:
                needed.setdefault(key, {})[path.relative_to(runs).parts[0]] = None
    return {key: tuple(names) for key, names in needed.items()}


def _entry(kind: str, name: str, path: Path, runs: tuple[str, ...]) -> Cached:
    with alone(path) as held:
        return Cached(kind, name, path, size_of(path), path.stat().st_mtime, not held, runs)


def _remove(entry: Cached) -> bool:
    """Take a thing out of the way at once, so that nobody finds half of it, then remove it."""
    aside = entry.path.with_name(f"{_REMOVING}{entry.path.name}")
    try:
        with alone(entry.path) as held:
            if not held:
                return False
            entry.path.rename(aside)
            shutil.rmtree(aside)
    except FileNotFoundError:  # another process was faster
        return False
    if entry.kind == _DOWNLOAD:
        (downloads_dir() / f"{entry.name.replace('/', '--')}.json").unlink(missing_ok=True)
    return True
