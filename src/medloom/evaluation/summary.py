"""What ``summary.json`` holds, in one format for every kind of answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from medloom.evaluation.family import Choice, Facts
from medloom.evaluation.metrics import Metric, interval_facts, meanings
from medloom.evaluation.parts import Part
from medloom.targets import Target

__all__ = ["summary_of"]


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
        over: What was drawn: ``patients`` or ``images``.
        part: What is measured: test, with validation beside it where there is such a part, or validation alone.

    Returns:
        ``part``, ``target``, ``operating_point``, ``point_text``, ``rule``, ``notes``, ``interval``, ``headlines``,
        ``meanings``, and ``test`` and ``validation`` as far as they are measured.
    """
    splits = table["split"].to_numpy()
    parts = [split for split in ("validation", "test") if split == part or (splits == split).any()]
    return {
        "part": part,
        "target": target.plain(),
        "operating_point": dict(choice.point),
        "point_text": choice.text,
        "rule": choice.rule,
        **choice.facts,
        "notes": list(choice.notes),
        "interval": interval_facts(resamples, over),
        "headlines": list(headlines),
        **{split: summarise(table[splits == split]) for split in parts},
        "meanings": meanings(metrics),
    }
