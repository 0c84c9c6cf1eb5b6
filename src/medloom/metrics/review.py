"""How many of the bad cases are caught where a share of all cases, the least trusted ones, is looked at by a person."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.metrics.weights import case_weights, divide

__all__ = ["caught_by_review", "most_caught"]

Array = NDArray[Any]
Floats64 = NDArray[np.float64]


def caught_by_review(bad: Array, trust: Array, share: float, weights: Array | None = None) -> Floats64:
    """Share of the bad cases among those that are reviewed: the given share of all cases, the least trusted first.

    Of cases that are trusted alike and not all reviewed, each counts with the chance of being among the reviewed. So a
    trust that says nothing catches ``share``.

    Args:
        bad: Whether each case is bad, shape (N,).
        trust: How far each is trusted, shape (N,); the least is reviewed first.
        share: Of all cases that are reviewed, 0 to 1.
        weights: How often each case counts, shape (B, N); one row for each resample. None counts each once.

    Returns:
        Shares of shape (B,), NaN without a bad case; shape (1,) without weights.

    Example:
        >>> caught_by_review(np.array([1, 0, 1, 0, 0]), np.array([0.1, 0.9, 0.8, 0.3, 0.9]), 0.4).tolist()
        [0.5]
    """
    count = case_weights(weights, len(bad))
    order = np.argsort(trust, kind="stable")
    starts = np.flatnonzero(np.diff(np.asarray(trust, float)[order], prepend=-np.inf))
    if not len(starts):
        return np.full(len(count), np.nan)
    whole = np.add.reduceat(count[:, order], starts, axis=1)
    wrong = np.add.reduceat(np.where(np.asarray(bad, bool), count, 0.0)[:, order], starts, axis=1)
    before = np.cumsum(whole, axis=1) - whole
    room = share * count.sum(axis=1, keepdims=True) - before
    taken = np.clip(np.divide(room, whole, out=np.zeros_like(whole), where=whole > 0), 0.0, 1.0)
    return divide((wrong * taken).sum(axis=1), wrong.sum(axis=1))


def most_caught(bad: Array, share: float) -> float:
    """Return what ``caught_by_review`` would be if every bad case were trusted less than every good one."""
    count = int(np.count_nonzero(bad))
    return min(1.0, share * len(bad) / count) if count else float("nan")
