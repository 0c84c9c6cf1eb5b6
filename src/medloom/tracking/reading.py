"""What of a run directory trackers may know: no absolute path, no name of a patient, nothing of a single image.

Samples and patients are in files of a run that are never read here: the catalogue, the tables of cases, the lists of
problems. Pages and pictures name nobody, but show images; ``tracking.pictures: false`` keeps them.
"""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from medloom.files import members_of, read_json, write_json
from medloom.recipe.changes import flat
from medloom.registry import METRICS
from medloom.tracking.api import Point, Record, State

__all__ = ["SYSTEM", "TRACKING", "is_begun", "read_record"]

TRACKING = "tracking.json"
"""Who the run is to trackers, and what those were sent that cannot be asked."""

SYSTEM = "system.jsonl"
"""The machine's use while the run was worked on, a line each time."""

_METRICS = "metrics.jsonl"
_PAGES = ("data_report.html", "report.html", "validation_report.html")
_FACTS = ("evaluation/summary.json", "evaluation/validation/summary.json", "training.json", "forecast.json")
_PICTURES = "progress/epoch_*.png"

_NOT_SENT = ("data.path", "data.origin.", "tracking.", "tune.", "description")
_LONGEST = 5_000
_NAME = re.compile(r"[^/\w.\- :]")
_ABSOLUTE = re.compile(r"(?:file://|~|[A-Za-z]:[\\/]|[\\/])")
_UID = re.compile(r"\d+(\.\d+){4,}")


def is_begun(folder: Path) -> bool:
    """Whether a run, or one of its members, has begun to train: before that there is nothing to track."""
    return any((place / _METRICS).is_file() for place in (folder, *members_of(folder)))


def read_record(folder: Path, state: State | None = None, *, parent: str | None = None) -> Record:
    """Read what trackers may know of a run that has begun to train.

    Args:
        folder: The run directory. Who it is to trackers is written into it the first time.
        state: How it stands; by default what its files say: ``finished`` or ``stopped``.
        parent: The id of the run that this is a fold of.
    """
    recipe: Mapping[str, Any] = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))
    identity, training = _identity(folder), _facts(folder / "training.json")
    bundle = folder / "model.tar.gz"
    return Record(
        id=identity["id"],
        name=folder.absolute().name,
        parent=parent,
        began_ms=identity["began_ms"],
        state=state or ("finished" if training.get("finished", bool(training)) else "stopped"),
        params=_params(recipe),
        tags=_tags(folder, recipe),
        points=list(_points(folder, recipe, training, identity["began_ms"])),
        files=_files(folder, pictures=recipe.get("tracking", {}).get("pictures", True)),
        bundle=bundle if bundle.is_file() else None,
        model=str(recipe["name"]),
    )


def _identity(folder: Path) -> dict[str, Any]:
    known = _facts(folder / TRACKING)
    if "id" not in known:
        known = {"id": uuid.uuid4().hex, "began_ms": round(time.time() * 1000)}
        write_json(folder / TRACKING, known)
    return known


def _facts(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file that may be being written."""
    text = path.read_text("utf-8") if path.is_file() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _params(recipe: Mapping[str, Any]) -> dict[str, str]:
    sent = {key: value for key, value in flat(recipe).items() if not key.startswith(_NOT_SENT)}
    return {_name(key): _text(value) for key, value in sent.items()}


def _name(text: str) -> str:
    """A name that every tracker takes."""
    return _NAME.sub("_", text).strip("/")


def _text(value: object) -> str:
    clean = _portable(value)
    text = clean if isinstance(clean, str) else json.dumps(clean, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _portable(value: object) -> object:
    """A value without the folders of this machine and without what says whose the images are."""
    if isinstance(value, Mapping):
        return {key: _portable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(one) for one in value]
    if not isinstance(value, str):
        return value
    if _UID.fullmatch(value):
        return "(a UID)"
    return re.split(r"[\\/]", value.rstrip("\\/"))[-1] if _ABSOLUTE.match(value) else value


def _tags(folder: Path, recipe: Mapping[str, Any]) -> dict[str, str]:
    environment = _facts(folder / "run.json").get("environment", {})
    git = environment.get("git") or {}
    packages = {f"package.{name}": version for name, version in environment.get("packages", {}).items()}
    found = {
        "recipe": recipe["name"],
        "kind": recipe.get("target", {}).get("kind"),
        "phantom": _facts(folder / "prepare.json").get("phantom"),
        **{key: environment.get(key) for key in ("medloom", "python", "system", "cores")},
        **{f"git.{key}": value for key, value in git.items()},
        **packages,
        **{key: _facts(folder / "training.json").get(key) for key in ("device", "precision", "parameters")},
    }
    return {key: _text(value) for key, value in found.items() if value is not None}


def _points(folder: Path, recipe: Mapping[str, Any], training: Mapping[str, Any], began_ms: int) -> Iterator[Point]:
    """Metrics of the epochs, the best so far, what was measured, and the machine's use."""
    lines = list(_lines(folder / _METRICS))
    yield from _epochs(lines, began_ms)
    yield from _best(lines, str(recipe.get("train", {}).get("monitor", "")), began_ms)
    yield from _measured(folder, training)
    for step, line in enumerate(_lines(folder / SYSTEM)):
        when = line.pop("when_ms")
        yield from (Point(_name(key), value, step, when) for key, value in line.items())


def _epochs(lines: list[dict[str, Any]], began_ms: int) -> Iterator[Point]:
    when = float(began_ms)
    for line in lines:
        when += 1000 * (line.get("seconds") or 0.0)
        numbers = {key: value for key, value in line.items() if key != "epoch" and _is_number(value)}
        yield from (Point(_name(key), value, line["epoch"], round(when)) for key, value in numbers.items())


def _best(lines: list[dict[str, Any]], monitor: str, began_ms: int) -> Iterator[Point]:
    """The metric that picks the best epoch, each time that it is better than before."""
    metric = METRICS.get(monitor)
    if metric is None:
        return
    best, sign = -math.inf, 1 if metric.larger_is_better else -1
    for point in _epochs(lines, began_ms):
        if point.name == _name(metric.column or monitor) and sign * point.value > best:
            best = sign * point.value
            yield Point(f"best/{point.name}", point.value, point.step, point.when_ms)


def _measured(folder: Path, training: Mapping[str, Any]) -> Iterator[Point]:
    """Metrics of each part with the ends of their intervals, at the step of the best epoch."""
    step = training.get("best_epoch") or 0
    for path in (folder / "evaluation/summary.json", folder / "evaluation/validation/summary.json"):
        summary = _facts(path)
        when = round(path.stat().st_mtime * 1000) if summary else 0
        for part in ("validation", "test", "held_out"):
            for name, metric in summary.get(part, {}).get("metrics", {}).items():
                values = {"": metric.get("value"), ".low": metric.get("low"), ".high": metric.get("high")}
                for end, value in values.items():
                    if _is_number(value):
                        yield Point(_name(f"{part}/{name}{end}"), value, step, when)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _files(folder: Path, *, pictures: bool) -> dict[str, Path]:
    names = [*_FACTS, *(_PAGES if pictures else ())]
    found = {name: folder / name for name in names if (folder / name).is_file()}
    shown = sorted(folder.glob(_PICTURES)) if pictures else []
    return found | {path.relative_to(folder).as_posix(): path for path in shown}
