"""How well decisions and scores agree with the truth, for two classes and for several.

Every function takes ``weights`` of shape (B, N), how often each case counts in each of B resamples, and returns
one row for each; without weights every case counts once and B is 1. A metric that is not defined is NaN, never 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medloom.metrics.weights import case_weights, divide, sum_by_group, weighted_mean

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "brier_score",
    "confusion_matrix",
    "counts_at",
    "f1_score",
    "log_loss",
    "matthews",
    "precision",
    "sensitivity",
    "specificity",
]

Array = NDArray[Any]
Floats64 = NDArray[np.float64]

_EPSILON = float(np.finfo(np.float64).eps)


def confusion_matrix(truth: ArrayLike, decision: ArrayLike, classes: int, weights: Array | None = None) -> Floats64:
    """Count how often each class was taken for each; all zero without cases.

    Args:
        truth: True class index of each case, shape (N,), 0 to ``classes`` - 1.
        decision: Decided class index, shape (N,).
        classes: Number of classes K.
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Counts of shape (B, K, K): rows are the truth, columns the decision.

    Example:
        >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], 2)[0].tolist()
        [[1.0, 1.0], [0.0, 2.0]]
    """
    cells = np.asarray(truth).astype(np.int64) * classes + np.asarray(decision).astype(np.int64)
    return sum_by_group(cells, classes * classes, case_weights(weights, len(cells))).reshape(-1, classes, classes)


def accuracy(matrix: Array) -> Floats64:
    """Share of the cases that were decided rightly; NaN without cases.

    Args:
        matrix: Confusion matrices, shape (..., K, K).

    Returns:
        Shares of shape (...), 0 to 1.
    """
    return divide(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum((-2, -1)))


def balanced_accuracy(matrix: Array) -> Floats64:
    """Mean sensitivity of the classes that have cases; NaN without cases. A constant decision gives 1 / classes.

    Args:
        matrix: Confusion matrices, shape (..., K, K).

    Returns:
        Shares of shape (...), 0 to 1.
    """
    found = sensitivity(matrix)
    return divide(np.nansum(found, axis=-1), np.count_nonzero(~np.isnan(found), axis=-1))


def sensitivity(matrix: Array) -> Floats64:
    """Share of each class's cases that were found (recall); NaN for a class without cases.

    Args:
        matrix: Confusion matrices, shape (..., K, K).

    Returns:
        Shares of shape (..., K); with two classes, entry 1 is the sensitivity for the positive one.
    """
    return divide(_diagonal(matrix), matrix.sum(-1))


def specificity(matrix: Array) -> Floats64:
    """Share of the other classes' cases that were not taken for this class; NaN if there are no others.

    Args:
        matrix: Confusion matrices, shape (..., K, K).

    Returns:
        Shares of shape (..., K); with two classes, entry 1 is the specificity for the positive one.
    """
    others = matrix.sum((-2, -1))[..., None] - matrix.sum(-1)
    wrong = matrix.sum(-2) - _diagonal(matrix)
    return divide(others - wrong, others)


def precision(matrix: Array) -> Floats64:
    """Share of the decisions for each class that were right; NaN for a class that was never decided for.

    Args:
        matrix: Confusion matrices, shape (..., K, K).

    Returns:
        Shares of shape (..., K).
    """
    return divide(_diagonal(matrix), matrix.sum(-2))


def f1_score(matrix: Array) -> Floats64:
    """Harmonic mean of precision and sensitivity; NaN for a class that neither occurs nor was decided for.

    Args:
        matrix: Confusion matrices, shape (..., K, K).

    Returns:
        Scores of shape (..., K), 0 to 1.
    """
    return divide(2 * _diagonal(matrix), matrix.sum(-1) + matrix.sum(-2))


def matthews(matrix: Array) -> Floats64:
    """Matthews correlation of truth and decision; NaN if only one class occurs or only one was decided for.

    Args:
        matrix: Confusion matrices, shape (..., K, K).

    Returns:
        Correlations of shape (...), -1 to 1.

    Source:
        Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, Computational
        Biology and Chemistry 28 (2004), doi:10.1016/j.compbiolchem.2004.09.006
    """
    total, rows, columns = matrix.sum((-2, -1)), matrix.sum(-1), matrix.sum(-2)
    covariance = total * np.trace(matrix, axis1=-2, axis2=-1) - (rows * columns).sum(-1)
    spread = (total**2 - (rows**2).sum(-1)) * (total**2 - (columns**2).sum(-1))
    return divide(covariance, np.sqrt(np.maximum(spread, 0.0)))


def brier_score(truth: ArrayLike, score: Array, weights: Array | None = None) -> Floats64:
    """Mean squared distance of the probabilities from the truth; NaN without cases, defined with one class only.

    Args:
        truth: True class index of each case, shape (N,).
        score: Probability of class 1, shape (N,), or of every class, shape (N, K).
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Scores of shape (B,): 0 to 1 for two classes, 0 to 2 (summed over the classes) for (N, K).

    Source:
        Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950)
    """
    true = np.asarray(truth).astype(np.int64)
    if score.ndim == 1:
        return weighted_mean((score - true) ** 2, case_weights(weights, len(true)))
    return weighted_mean(((score - np.eye(score.shape[1])[true]) ** 2).sum(1), case_weights(weights, len(true)))


def log_loss(truth: ArrayLike, score: Array, weights: Array | None = None) -> Floats64:
    """Mean negative logarithm of the probability of the true class; NaN without cases, defined with one class only.

    Probabilities are kept 2.2e-16 away from 0 and 1, so that a sure mistake costs 36 and not infinity.

    Args:
        truth: True class index of each case, shape (N,).
        score: Probability of class 1, shape (N,), or of every class, shape (N, K).
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Losses of shape (B,) in nats, from 0.
    """
    true = np.asarray(truth).astype(np.int64)
    both = np.stack([1.0 - score, score], axis=1) if score.ndim == 1 else score
    given = np.clip(both[np.arange(len(true)), true].astype(float), _EPSILON, 1.0 - _EPSILON)
    return weighted_mean(-np.log(given), case_weights(weights, len(true)))


def counts_at(
    truth: ArrayLike, score: ArrayLike, thresholds: ArrayLike, weights: Array | None = None
) -> tuple[Floats64, Floats64]:
    """Count the true and the false positives at thresholds; a case is called from the threshold on.

    Args:
        truth: Whether each case is positive, shape (N,).
        score: Score of each case, shape (N,).
        thresholds: Ascending, shape (T,).
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        True positives and false positives, each of shape (B, T).
    """
    positive, edges = np.asarray(truth).astype(bool), np.asarray(thresholds, float)
    reached = np.searchsorted(edges, np.asarray(score, float), side="right")
    cells = reached * 2 + positive
    sums = sum_by_group(cells, 2 * (len(edges) + 1), case_weights(weights, len(cells))).reshape(-1, len(edges) + 1, 2)
    called = sums[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    return called[..., 1], called[..., 0]


def _diagonal(matrix: Array) -> Floats64:
    found: Floats64 = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    return found
