"""Learning on validation how good an answer is to be expected, and measuring whether the bad ones are found by it.

Learned are the numbers of ``medloom.inference.quality``; the share of bad cases that a review of the least trusted
answers finds is measured on cases that taught nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.inference.quality import Quality
from medloom.metrics import (
    FEWEST_CASES,
    Estimate,
    caught_by_review,
    fit_logistic,
    most_caught,
    resample,
    roc_auc,
    weighted_mean,
)
from medloom.wording import counted

__all__ = ["BAD_DICE", "EXPECTED", "REVIEWED", "Achieved", "Rated", "fit_quality", "review_facts"]

Facts = dict[str, Any]
Floats64 = NDArray[np.float64]

EXPECTED = "expected"
"""Column of the per-case table with how good the answer was to be expected; the same in every row of an image."""

REVIEWED = 0.1
"""Share of the answers that a person is to look at."""

BAD_DICE = 0.5
"""An image whose Dice coefficient is below it is a bad case."""

_FEWEST = 30
_DIGITS = 9
_SEED = 0
_OF_FOLDS = (
    "by each fold on its own validation patients, of which the figures are; the bundle takes the mean of what the "
    "folds learned."
)


@dataclass(frozen=True)
class Rated:
    """What says how good answers are to be expected, and what a reader should know of it.

    Args:
        quality: None where nothing was learned.
        text: How it was learned, or why not, in a sentence; empty where there is nothing to say.
    """

    quality: Quality | None = None
    text: str = ""

    def plain(self) -> Facts:
        """Return what ``summary.json`` holds."""
        return {"fitted": None if self.quality is None else self.quality.plain(), "text": self.text}

    @classmethod
    def of_folds(cls, summaries: Sequence[Mapping[str, Any]]) -> Self:
        """Return the mean of what the folds learned; nothing where one of them could not.

        Args:
            summaries: The summary of each fold.
        """
        plain = [one.get("quality", {}).get("fitted") for one in summaries]
        found = Quality.mean([None if one is None else Quality.from_plain(one) for one in plain])
        return cls() if found is None else cls(found, _OF_FOLDS)


@dataclass(frozen=True, eq=False)
class Achieved:
    """How good the answers to N cases were.

    Args:
        quality: How good each was, (N,) 0 to 1: its Dice coefficient, or whether its decision was right.
        bad: Whether each is a bad case, (N,).
        patients: Whose each is, (N,).
        says: What a bad case is, in words.
    """

    quality: Floats64
    bad: NDArray[np.bool_]
    patients: NDArray[Any]
    says: str


def fit_quality(measure: str, names: Sequence[str], certainty: Floats64, achieved: Achieved) -> Rated:
    """Learn on validation cases how good an answer of a certainty is to be expected.

    Args:
        measure: What is expected: ``dice`` or ``correct``.
        names: What the numbers of the certainty are called.
        certainty: Those of each validation case, (N, F).
        achieved: How good the answers were.
    """
    bad = int(achieved.bad.sum())
    if not names:
        return Rated()
    if len(certainty) < _FEWEST or min(bad, len(certainty) - bad) < FEWEST_CASES:
        return Rated(
            text=f"nothing was learned of how good an answer is to be expected: validation has "
            f"{counted(len(certainty), 'case')}, of which {bad} bad ({achieved.says}); {_FEWEST} and {FEWEST_CASES} of "
            "either kind are needed."
        )
    weights, shift = fit_logistic(certainty, achieved.quality)
    rounded = tuple(float(f"{weight:.{_DIGITS}g}") for weight in weights)
    found = Quality(measure, tuple(names), rounded, float(f"{shift:.{_DIGITS}g}"), 0.0, REVIEWED)
    below = _below(np.array([found.expected(row) for row in certainty]), REVIEWED)
    said = f"learned on {counted(len(certainty), 'validation case')}, of which {bad} bad ({achieved.says})."
    return Rated(Quality(measure, found.names, rounded, found.shift, below, REVIEWED), said)


def review_facts(cases: pd.DataFrame, achieved: Achieved, expected: Floats64, resamples: int) -> Facts:
    """Return what a review of the least trusted answers finds.

    Args:
        cases: Rows of the per-case table, of one split; nothing is returned where they were not rated.
        achieved: How good the answers were.
        expected: How good each was to be expected, (N,).
        resamples: Resamples of the patients for the 95 % intervals; 0 gives no intervals.

    Returns:
        ``share`` that is reviewed, ``cases``, ``bad`` and what that means (``says``), the share of bad cases that is
        ``caught`` with its interval, what a review at ``random`` and the ``best`` possible one catches, ``roc_auc`` of
        telling good from bad cases, and the means of what was ``expected`` and ``achieved``.
    """
    if EXPECTED not in cases or not len(expected):
        return {}
    good = ~achieved.bad

    def statistics(weights: Floats64) -> dict[str, Floats64]:
        return {
            "caught": caught_by_review(achieved.bad, expected, REVIEWED, weights),
            "roc_auc": roc_auc(good, expected, weights),
            "expected": weighted_mean(expected, weights),
            "achieved": weighted_mean(achieved.quality, weights),
        }

    found = resample(achieved.patients, statistics, resamples, _SEED)
    bad, count = int(achieved.bad.sum()), len(expected)
    counts = {"caught": bad, "roc_auc": count, "expected": count, "achieved": count}
    estimates: dict[str, Estimate] = {name: found.estimate(name, n) for name, n in counts.items()}
    best = most_caught(achieved.bad, REVIEWED)
    return {
        "share": REVIEWED,
        "cases": count,
        "bad": bad,
        "says": achieved.says,
        **{name: estimate.plain() for name, estimate in estimates.items()},
        "random": REVIEWED,
        "best": None if np.isnan(best) else best,
    }


def _below(expected: Floats64, share: float) -> float:
    """Half-way between what is reviewed and what is not, so that at most the share of the cases is reviewed."""
    values = np.unique(expected)
    reviewed = np.array([np.mean(expected <= value) for value in values]) <= share
    first = int(np.count_nonzero(reviewed))
    if first == 0:
        return float(values[0])
    return float(values[first - 1] + values[first]) / 2 if first < len(values) else 1.0
