"""With what a run was measured, how often its test set was opened, and whether its metrics are those of its model.

A summary says which weights, which runtime and which settings its metrics are of. What is packaged and shown is
compared with that, so that nobody reads the metrics of another model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.errors import UserError
from medloom.evaluation.parts import Part, read_summary
from medloom.files import read_json, sha256_bytes, sha256_file, write_json
from medloom.pipeline.runs import Run
from medloom.recipe.changes import flat
from medloom.reports.openings import TEST_OPENINGS

__all__ = [
    "BEST_WEIGHTS",
    "Measured",
    "current_summary",
    "drawn_over",
    "measured_with",
    "newest_measured",
    "note_opening",
    "openings_of",
]

BEST_WEIGHTS = Path("checkpoints") / "best.safetensors"
"""As ``training.checkpoint.BEST``, which would bring torch."""

_WITHOUT_EFFECT = ("batch_size", "bootstrap")
"""Keys of ``evaluate`` that change neither an answer nor a metric, only intervals and speed."""

_LATER = {"calibration": "none"}
"""Keys of ``evaluate`` that earlier versions did not have, with what they did: a run that they measured is as it was
measured."""

_EARLIER = {"precision": "fp32"}
"""The same beside ``evaluate``."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a run.

    Args:
        part: Of which part the metrics are.
        summary: As in ``summary.json``; empty if nothing was measured.
        changed: What is not as it was measured, such as ``checkpoint``; empty if the metrics are of what is there.
    """

    part: Part
    summary: Mapping[str, Any]
    changed: tuple[str, ...] = ()


def measured_with(run: Run) -> dict[str, Any]:
    """Return what the metrics of a run depend on, as plain JSON types.

    Args:
        run: A trained run.
    """
    plain = run.plain()
    given = plain["evaluate"].items()
    settings = {key: value for key, value in given if key not in _WITHOUT_EFFECT and _LATER.get(key) != value}
    return {
        "checkpoint": sha256_file(run.folder / BEST_WEIGHTS),
        "runtime": plain["package"]["runtime"],
        "precision": plain["package"]["precision"],
        "evaluate": settings,
    }


def drawn_over(run: Run) -> str:
    """Return what intervals are over; a run that was prepared by an earlier version does not say who is known."""
    source = run.facts("prepare.json", "prepare").get("patient_source", {})
    return "patients" if source.get("status") == "known" else "images"


def note_opening(run: Run) -> None:
    """Write down that the test set is opened, before it is: by which weights, which recipe and which settings."""
    recipe = sha256_bytes(json.dumps(run.plain_result(), sort_keys=True).encode())
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_json(
        run.folder / TEST_OPENINGS,
        {"openings": [*openings_of(run), {"when": when, "recipe": recipe, **measured_with(run)}]},
    )


def openings_of(run: Run) -> list[dict[str, Any]]:
    """Return what is written down each time that the test set of a run was opened; of folds, that of any.

    An earlier version of Medloom measured without writing it down; that counts as one.
    """
    path = run.folder / TEST_OPENINGS
    if path.is_file():
        facts = read_json(path)
        return [one for fold in facts["folds"] for one in fold] if "folds" in facts else list(facts["openings"])
    return [{"when": None}] if read_summary(run.folder) else []


def newest_measured(run: Run) -> Measured:
    """Return the metrics of a run that are of its model as it is: of test, else of validation, else what there is."""
    found = [Measured(part, summary, _changed(run, summary)) for part, summary in _summaries(run) if summary]
    return next((one for one in found if not one.changed), found[0] if found else Measured("test", {}))


def current_summary(run: Run) -> Mapping[str, Any]:
    """Return the metrics of a run's model as it is.

    Raises:
        UserError: If it was not measured, or changed since.
    """
    found = newest_measured(run)
    if not found.summary:
        raise UserError(f"{run.folder} was not measured yet; run `medloom evaluate` first")
    if found.changed:
        raise UserError(
            f"{run.folder} is not as it was measured: {', '.join(found.changed)} changed since; run `medloom evaluate` "
            "again, so that the metrics in the bundle are those of its model"
        )
    return found.summary


def _summaries(run: Run) -> list[tuple[Part, Mapping[str, Any]]]:
    parts: tuple[Part, ...] = ("test", "validation")
    return [(part, read_summary(run.folder, part)) for part in parts]


def _changed(run: Run, summary: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between a model and what a summary says was measured; of folds each has its own."""
    if "folds" in summary or not (run.folder / BEST_WEIGHTS).is_file():
        return ()
    before, now = flat({**_EARLIER, **summary.get("measured_with", {})}), flat(measured_with(run))
    return tuple(key for key in sorted({*before, *now}) if before.get(key) != now.get(key))
