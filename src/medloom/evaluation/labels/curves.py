"""Curves over all thresholds with bands, and reliability: thinned to what a chart can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloom.evaluation.labels.questions import Question
from medloom.metrics import FEWEST_CASES, Resampled, calibration_bins, counts_at, reliability

__all__ = ["MOST_POINTS", "bin_edges", "curve_facts", "curve_thresholds", "curves", "reliability_facts"]

Floats64 = NDArray[np.float64]
Facts = dict[str, Any]

MOST_POINTS = 200
"""Most points of a curve."""

_GRID = np.linspace(0.0, 1.0, 101)
_BINS = 10
_KINDS: tuple[Literal["width", "mass"], ...] = ("width", "mass")


def curve_thresholds(question: Question) -> Floats64:
    """Return the thresholds of the curves: every score, or where there are many, quantiles of either class."""
    scores = np.unique(question.score)
    if len(scores) <= MOST_POINTS:
        return scores
    shares = np.linspace(0.0, 1.0, MOST_POINTS // 2)
    parts = [question.score[question.truth == side] for side in (True, False)]
    return np.unique(np.concatenate([np.quantile(part, shares, method="nearest") for part in parts if len(part)]))


def bin_edges(question: Question) -> dict[str, Floats64]:
    """Return the edges of the bins that reliability is taken by: of equal ``width``, and of equal ``mass``."""
    return {kind: calibration_bins(question.score, _BINS, kind) for kind in _KINDS}


def curves(question: Question, weights: Floats64) -> dict[str, Floats64]:
    """Take everything that is drawn, for each resample.

    Args:
        question: The question.
        weights: How often each case of the table counts, (B, N).

    Returns:
        Arrays (B, ...) by name: rates at the thresholds, and at fixed places of the other axis for the bands.
    """
    weights = question.of(weights)
    hits, wrong = counts_at(question.truth, question.score, curve_thresholds(question), weights)
    positive, negative = weights @ question.truth, weights @ ~question.truth
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, false, precision = hits / positive[:, None], wrong / negative[:, None], hits / (hits + wrong)
    found = {"sensitivity": recall, "false_positive_rate": false, "precision": precision, "specificity": 1.0 - false}
    found["roc_band"] = np.array([_roc_at_grid(*row) for row in zip(false, recall, strict=True)])
    found["pr_band"] = np.array([_precision_at_grid(*row) for row in zip(recall, precision, strict=True)])
    for kind, edges in bin_edges(question).items():
        _, _, found[f"observed_{kind}"] = reliability(question.truth, question.score, edges, weights)
    return found


def curve_facts(question: Question, found: Resampled) -> Facts:
    """Return the curves as plain JSON types.

    Args:
        question: The question.
        found: ``curves`` on all cases and on the resamples.

    Returns:
        ``roc``, ``precision_recall`` and ``thresholds``, each with its points and its band; nothing from too few cases.
    """
    point = found.point
    if min(question.truth.sum(), (~question.truth).sum()) < FEWEST_CASES:
        return {}
    (roc_low, roc_high), (pr_low, pr_high) = found.band("roc_band"), found.band("pr_band")
    (sens_low, sens_high), (spec_low, spec_high) = found.band("sensitivity"), found.band("specificity")
    backwards = {name: point[name][::-1] for name in ("sensitivity", "false_positive_rate", "precision")}
    return _plain_facts(
        {
            "roc": {
                "false_positive_rate": [0.0, *backwards["false_positive_rate"], 1.0],
                "sensitivity": [0.0, *backwards["sensitivity"], 1.0],
                "band": {"false_positive_rate": _GRID, "low": roc_low, "high": roc_high},
            },
            "precision_recall": {
                "recall": backwards["sensitivity"],
                "precision": backwards["precision"],
                "band": {"recall": _GRID, "low": pr_low, "high": pr_high},
            },
            "thresholds": {
                "threshold": curve_thresholds(question),
                "sensitivity": point["sensitivity"],
                "specificity": point["specificity"],
                "sensitivity_band": {"low": sens_low, "high": sens_high},
                "specificity_band": {"low": spec_low, "high": spec_high},
            },
        }
    )


def reliability_facts(question: Question, found: Resampled) -> Facts:
    """Return the reliability diagram as plain JSON types: bins of equal width and of equal mass.

    Args:
        question: The question.
        found: ``curves`` on all cases and on the resamples.

    Returns:
        For each kind of bins the edges, counts, mean scores and shares of positive cases with their intervals.
    """
    facts = {}
    for kind, edges in bin_edges(question).items():
        count, said, seen = (row[0] for row in reliability(question.truth, question.score, edges))
        low, high = found.band(f"observed_{kind}")
        facts[kind] = {
            "edges": edges,
            "cases": [int(value) for value in count],
            "score": said,
            "observed": seen,
            "low": low,
            "high": high,
        }
    return _plain_facts(facts)


def _plain_facts(facts: Mapping[str, object]) -> Facts:
    """Return arrays as lists, NaN as None, and six decimals at most: a chart needs no more."""
    return {name: _plain(value) for name, value in facts.items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return _plain_facts(value)
    if isinstance(value, (list, np.ndarray)):
        return [_plain(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else round(float(value), 6)
    return value


def _roc_at_grid(false: Floats64, recall: Floats64) -> Floats64:
    """Sensitivity at fixed false positive rates; of several at one rate the highest."""
    if not len(recall) or np.isnan(false + recall).any():
        return np.full(len(_GRID), np.nan)
    x, y = np.concatenate([[0.0], false[::-1], [1.0]]), np.concatenate([[0.0], recall[::-1], [1.0]])
    found: Floats64 = np.interp(_GRID + 1e-9, x + 1e-12 * np.arange(len(x)), y)
    return found


def _precision_at_grid(recall: Floats64, precision: Floats64) -> Floats64:
    """Precision at fixed recalls: that of the highest threshold that reaches it."""
    if not len(recall) or np.isnan(recall).any():
        return np.full(len(_GRID), np.nan)
    first = np.searchsorted(recall[::-1], _GRID - 1e-9, side="left").clip(0, len(recall) - 1)
    usable = np.where(np.isnan(precision), 1.0, precision)[::-1]  # a resample may call no case positive at the top
    found: Floats64 = usable[first]
    return found
