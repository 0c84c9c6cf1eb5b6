"""What ``summary.json`` holds, in one format for every kind of answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from medloom.evaluation.family import Choice, Facts
from medloom.evaluation.metrics import Metric, interval_facts, meanings
from medloom.evaluation.parts import Part
from medloom.targets import Target

__all__ = ["PATIENTS", "summary_of"]

PATIENTS = "patients"
"""What intervals are over where it is known whose every image is."""

_OF_PATIENTS = ("patients", "patients_with_foreground", "per_patient")


def summary_of(
    target: Target,
    choice: Choice,
    table: pd.DataFrame,
    summarise: Callable[[pd.DataFrame], Facts],
    metrics: Mapping[str, Metric],
    headlines: Sequence[str],
    resamples: int,
    over: str,
    part: Part = "test",
) -> Facts:
    """Return everything that ``summary.json`` holds, as plain JSON types.

    Args:
        target: What is predicted.
        choice: The operating point by which the table was made.
        table: The per-case table; a part for each value of ``split``.
        summarise: Takes every metric from the cases of one split.
        metrics: What metrics there are, and what they mean.
        headlines: Names of those that a report begins with.
        resamples: Resamples for the 95 % intervals; 0 gives no intervals.
        over: What was drawn: ``patients`` or, where it is not known whose all of them are, ``images``; then no metric
            or count is of patients.
        part: What is measured: test, with validation beside it where there is such a part, or validation alone.

    Returns:
        ``part``, ``target``, ``operating_point``, ``point_text``, ``rule``, ``calibration`` (``fitted``, None without
        one, and its ``text``), ``quality`` (likewise), ``notes``, ``interval``, ``headlines``, ``meanings``, and
        ``test`` and ``validation`` as far as they are measured.
    """
    splits = table["split"].to_numpy()
    parts = [split for split in ("validation", "test") if split == part or (splits == split).any()]
    found = {
        "part": part,
        "target": target.plain(),
        "operating_point": dict(choice.point),
        "point_text": choice.text,
        "rule": choice.rule,
        **choice.facts,
        "calibration": choice.calibrated.plain(),
        "quality": choice.rated.plain(),
        "notes": [*choice.notes, *choice.calibrated.notes],
        "interval": interval_facts(resamples, over),
        "headlines": list(headlines),
        **{split: summarise(table[splits == split]) for split in parts},
        "meanings": meanings(metrics),
    }
    return found if over == PATIENTS else {**_of_images(found), "interval": interval_facts(resamples, over)}


def _of_images(value: Any) -> Any:  # noqa: ANN401 - anything JSON can hold
    """The same without what only means something of patients: nothing is called one that is not known to be one."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if not str(key).startswith("patient_")}
        return {key: None if key in _OF_PATIENTS else _of_images(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_of_images(item) for item in value if not str(item).startswith("patient_")]
    return value
