"""Sums and means under weights, which say how often each case counts: shape (B, N), a row for each resample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["case_weights", "divide", "sum_by_group", "weighted_mean"]

Array = NDArray[Any]
Floats64 = NDArray[np.float64]


def case_weights(weights: ArrayLike | None, n: int) -> Floats64:
    """Return weights (B, N) as they are; without any, each of the ``n`` cases counts once and B is 1."""
    each: Floats64 = np.ones((1, n)) if weights is None else np.asarray(weights, float)
    return each


def divide(part: ArrayLike, whole: ArrayLike) -> Floats64:
    """Divide; NaN where ``whole`` is not above zero."""
    above, below = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    quotient: Floats64 = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return quotient


def weighted_mean(values: Array, weights: Floats64) -> Floats64:
    """Mean of ``values`` (N,) under each row of ``weights`` (B, N); NaN where a row has no weight."""
    return divide(weights @ values, weights.sum(axis=1))


def sum_by_group(group: Array, groups: int, weights: Array) -> Floats64:
    """Add up weights by group.

    Args:
        group: Group of each case, shape (N,), 0 to ``groups`` - 1.
        groups: Number of groups G.
        weights: Weight of each case, shape (B, N).

    Returns:
        Sums of shape (B, G); 0 for a group without cases.
    """
    order = np.argsort(group, kind="stable")
    names, starts = np.unique(group[order], return_index=True)
    sums = np.zeros((len(weights), groups))
    if len(names):
        sums[:, names] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums
