"""How likely decisions are to be right, beside whether they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from medloom.evaluation.labels.measured import Measured
from medloom.evaluation.quality import EXPECTED, Rated, fit_quality, review_facts
from medloom.inference.answers import KINDS, Point

__all__ = ["certainty_of", "learned", "review_of", "with_expected"]

Certainty = list[tuple[float, ...]]
"""How sure the answer to each case is."""


def learned(table: pd.DataFrame, labels: Measured, point: Point) -> tuple[Certainty, Rated]:
    """Learn on the validation cases how likely a decision is to be right.

    Args:
        table: The per-case table, with its decisions.
        labels: What is predicted.
        point: The operating point by which they were made.

    Returns:
        How sure each answer of the table is, and what was learned; nothing for numbers.
    """
    kind, certainty = KINDS[labels.target.kind], certainty_of(table, labels, point)
    places = np.flatnonzero(table["split"] == "validation")
    achieved = labels.achieved(table.iloc[places])
    if achieved is None or not kind.certain_by:
        return certainty, Rated()
    numbers = np.array([certainty[place] for place in places], float)
    return certainty, fit_quality(kind.expects, kind.certain_by, numbers, achieved)


def certainty_of(table: pd.DataFrame, labels: Measured, point: Point) -> Certainty:
    """Return how sure the answer to each case of the table is, in its order."""
    kind = KINDS[labels.target.kind]
    return [kind.certainty(row, point) for row in table[labels.score_columns].to_numpy(np.float32)]


def with_expected(table: pd.DataFrame, certainty: Certainty, rated: Rated) -> pd.DataFrame:
    """Return the table with the column ``expected``; as it is where nothing says it."""
    if rated.quality is None:
        return table
    return table.assign(**{EXPECTED: [rated.quality.expected(one) for one in certainty]})


def review_of(cases: pd.DataFrame, labels: Measured, resamples: int) -> dict[str, Any]:
    """Return what a review of the least trusted decisions finds; see ``review_facts``.

    Args:
        cases: Rows of the per-case table, of one split.
        labels: What is predicted.
        resamples: Resamples of the patients.
    """
    achieved = labels.achieved(cases) if EXPECTED in cases else None
    return {} if achieved is None else review_facts(cases, achieved, cases[EXPECTED].to_numpy(float), resamples)
