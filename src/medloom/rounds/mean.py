"""The mean of what workers made of their shards.

One step of gradient descent from the same weights w with the mean gradient g of n samples gives ``w - r g``. The mean
of such weights, each counted by its n, is ``w - r (sum of n g) / (sum of n)``: the step with the gradient of all
samples at once. A plain mean would be another step where the shards differ in size. The same holds for whatever is
linear in the gradient: momentum and L2 penalty, and the gradients themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.rounds.protocol import Contribution

__all__ = ["mean_of", "weighted_mean"]


def weighted_mean(arrays: Sequence[NDArray[Any]], weights: Sequence[float]) -> NDArray[Any]:
    """Return the weighted mean of arrays of one shape, in their dtype.

    Summed in float64, in the given order, so the same arrays give the same bits. What is the same in all of them stays
    as it is, and integers, such as counters, are those of the array that counts most.

    Args:
        arrays: At least one.
        weights: Of each, not negative; all zero: they count alike.

    Example:
        >>> weighted_mean([np.array([1.0]), np.array([4.0])], [2, 1]).tolist()
        [2.0]
    """
    first = arrays[0]
    if all(np.array_equal(first, one) for one in arrays[1:]):
        return first
    if not np.issubdtype(first.dtype, np.floating):
        return arrays[int(np.argmax(weights))]
    shares = np.asarray(weights, np.float64)
    shares = shares if shares.sum() > 0 else np.ones_like(shares)
    total = np.zeros(first.shape, np.float64)
    for one, share in zip(arrays, shares, strict=True):
        total += one * share
    mean: NDArray[Any] = (total / shares.sum()).astype(first.dtype)
    return mean


def mean_of(parts: Sequence[Contribution]) -> dict[str, NDArray[Any]]:
    """Return the mean of every array of some contributions, each counted by its weight.

    Args:
        parts: At least one, all with the same names.
    """
    weights = [part.weight for part in parts]
    return {name: weighted_mean([part.arrays[name] for part in parts], weights) for name in parts[0].arrays}
