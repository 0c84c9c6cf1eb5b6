"""How well a score separates positive from negative cases, over all thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.metrics.weights import case_weights, divide

__all__ = ["FEWEST_CASES", "average_precision", "roc_auc"]

FEWEST_CASES = 5
"""A metric over fewer cases is not shown, nor one that compares classes of which one has fewer."""

Array = NDArray[Any]
Floats64 = NDArray[np.float64]


def roc_auc(truth: Array, score: Array, weights: Array | None = None) -> Floats64:
    """Area under the ROC curve; ties count half.

    The chance that a positive case scores higher than a negative one. NaN where one of the two is missing.

    Args:
        truth: Whether each case is positive, shape (N,).
        score: Score of each case, shape (N,), higher for positive.
        weights: How often each case counts, shape (B, N); one row for each resample. None counts each once.

    Returns:
        Areas of shape (B,), from 0 to 1; shape (1,) without weights.
    """
    positive, negative = _at_each_score(truth, score, weights)
    below = np.cumsum(negative, axis=1) - negative
    won = (positive * (below + 0.5 * negative)).sum(axis=1)
    return divide(won, positive.sum(axis=1) * negative.sum(axis=1))


def average_precision(truth: Array, score: Array, weights: Array | None = None) -> Floats64:
    """Average precision: precision at each score, weighted by the recall gained there.

    NaN without a positive case. A score that says nothing gives the share of positive cases.

    Args:
        truth: Whether each case is positive, shape (N,).
        score: Score of each case, shape (N,), higher for positive.
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Average precisions of shape (B,), from 0 to 1; shape (1,) without weights.
    """
    positive, negative = _at_each_score(truth, score, weights)
    hits = np.cumsum(positive[:, ::-1], axis=1)
    called = hits + np.cumsum(negative[:, ::-1], axis=1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return divide((precision * positive[:, ::-1]).sum(axis=1), hits[:, -1] if hits.size else np.zeros(len(hits)))


def _at_each_score(truth: Array, score: Array, weights: Array | None) -> tuple[Floats64, Floats64]:
    """Add up the weights of positive and of negative cases at each distinct score, ascending."""
    count = case_weights(weights, len(truth))
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(np.asarray(score, float)[order], prepend=-np.inf))
    true, sorted_count = np.asarray(truth, bool)[order], count[:, order]
    if not len(starts):
        return np.zeros((len(count), 0)), np.zeros((len(count), 0))
    return (
        np.add.reduceat(np.where(true, sorted_count, 0.0), starts, axis=1),
        np.add.reduceat(np.where(true, 0.0, sorted_count), starts, axis=1),
    )
