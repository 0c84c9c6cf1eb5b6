"""How near predicted numbers are to the true ones.

Weights are as in ``medloom.metrics.classification``: shape (B, N), one row of the result for each resample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medloom.metrics.weights import case_weights, divide, sum_by_group, weighted_mean

__all__ = ["mean_absolute_error", "r_squared", "root_mean_squared_error", "spearman"]

Array = NDArray[Any]
Floats64 = NDArray[np.float64]


def mean_absolute_error(truth: ArrayLike, predicted: ArrayLike, weights: Array | None = None) -> Floats64:
    """Mean distance between prediction and truth; NaN without cases.

    Args:
        truth: True values, shape (N,).
        predicted: Predicted values, shape (N,).
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Errors of shape (B,), in the unit of the values.
    """
    true, guess, each = _floats(truth, predicted, weights)
    return weighted_mean(np.abs(guess - true), each)


def root_mean_squared_error(truth: ArrayLike, predicted: ArrayLike, weights: Array | None = None) -> Floats64:
    """Root of the mean squared distance between prediction and truth; NaN without cases.

    Args:
        truth: True values, shape (N,).
        predicted: Predicted values, shape (N,).
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Errors of shape (B,), in the unit of the values.
    """
    true, guess, each = _floats(truth, predicted, weights)
    error: Floats64 = np.sqrt(weighted_mean((guess - true) ** 2, each))
    return error


def r_squared(truth: ArrayLike, predicted: ArrayLike, weights: Array | None = None) -> Floats64:
    """Share of the truth's variance that the prediction explains; NaN if the truth does not vary.

    0 for always predicting the mean of the truth; below 0 for anything worse.

    Args:
        truth: True values, shape (N,).
        predicted: Predicted values, shape (N,).
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Values of shape (B,), up to 1.
    """
    true, guess, each = _floats(truth, predicted, weights)
    centred = true - true.mean() if true.size else true  # keeps large values from cancelling below
    spread = weighted_mean(centred**2, each) - weighted_mean(centred, each) ** 2
    varies = spread > 1e-12 * max(1e-300, float((centred**2).max(initial=0.0)))
    share = np.divide(weighted_mean((guess - true) ** 2, each), spread, out=np.full(len(each), np.nan), where=varies)
    explained: Floats64 = 1.0 - share
    return explained


def spearman(truth: ArrayLike, predicted: ArrayLike, weights: Array | None = None) -> Floats64:
    """Rank correlation; NaN if the truth or the prediction does not vary. Equal values share their mean rank.

    Args:
        truth: True values, shape (N,).
        predicted: Predicted values, shape (N,).
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Correlations of shape (B,), -1 to 1.
    """
    true, guess, each = _floats(truth, predicted, weights)
    a, b = _ranks(true, each), _ranks(guess, each)
    a, b = (ranks - divide((each * ranks).sum(1), each.sum(1))[:, None] for ranks in (a, b))
    together, alone = (each * a * b).sum(1), (each * a * a).sum(1) * (each * b * b).sum(1)
    return divide(together, np.sqrt(alone))


def _ranks(values: Floats64, weights: Floats64) -> Floats64:
    """Mean rank of each case among cases that occur as often as their weight, (B, N)."""
    names, group = np.unique(values, return_inverse=True)
    count = sum_by_group(group, len(names), weights)
    ranks: Floats64 = np.cumsum(count, axis=1) - (count - 1.0) / 2.0
    return ranks[:, group]


def _floats(truth: ArrayLike, predicted: ArrayLike, weights: Array | None) -> tuple[Floats64, Floats64, Floats64]:
    true, guess = np.asarray(truth, float), np.asarray(predicted, float)
    return true, guess, case_weights(weights, len(true))
