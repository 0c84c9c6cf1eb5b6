"""Whether probabilities mean what they say: reliability by bins and the expected calibration error."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medloom.metrics.weights import case_weights, divide, sum_by_group

__all__ = ["calibration_bins", "chance_calibration_error", "expected_calibration_error", "reliability"]

Array = NDArray[Any]
Floats64 = NDArray[np.float64]

_AT_A_TIME = 20
"""Made-up truths at a time."""


def calibration_bins(score: ArrayLike, bins: int = 10, kind: Literal["width", "mass"] = "width") -> Floats64:
    """Return the edges of bins over scores; a bin holds its upper edge, the first also its lower one.

    Args:
        score: Probabilities, shape (N,), 0 to 1. Only ``mass`` looks at them.
        bins: Number of bins; with ``mass`` fewer where many scores are equal.
        kind: ``width`` for bins of equal width from 0 to 1, ``mass`` for bins of equally many cases.

    Returns:
        Ascending edges, shape (bins + 1,), from 0 to 1.
    """
    if kind == "width" or not np.size(score):
        return np.linspace(0.0, 1.0, bins + 1)
    inner = np.quantile(np.asarray(score, float), np.linspace(0.0, 1.0, bins + 1)[1:-1])
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))


def reliability(
    truth: ArrayLike, score: ArrayLike, edges: Array, weights: Array | None = None
) -> tuple[Floats64, Floats64, Floats64]:
    """Compare the mean score with the share of positive cases, bin by bin; NaN in an empty bin.

    Args:
        truth: Whether each case is positive, shape (N,).
        score: Its probability, shape (N,), 0 to 1.
        edges: Edges of the bins, shape (M + 1,), as from ``calibration_bins``.
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Number of cases, mean score and share of positive cases, each of shape (B, M).

    Source:
        Niculescu-Mizil and Caruana, Predicting good probabilities with supervised learning, ICML 2005
    """
    scores, true = np.asarray(score, float), np.asarray(truth, float)
    each = case_weights(weights, len(scores))
    bins, group = len(edges) - 1, np.searchsorted(edges[1:-1], scores, side="left")
    count, said, seen = (sum_by_group(group, bins, each * values) for values in (np.ones_like(scores), scores, true))
    return count, divide(said, count), divide(seen, count)


def expected_calibration_error(
    truth: ArrayLike, score: ArrayLike, edges: Array, weights: Array | None = None
) -> Floats64:
    """Mean distance between score and share of positive cases over the bins, weighted by their cases.

    NaN without cases; defined where only one class occurs. It shrinks with fewer bins and grows with fewer cases:
    compare only values that were taken alike.

    Args:
        truth: Whether each case is positive, shape (N,).
        score: Its probability, shape (N,), 0 to 1.
        edges: Edges of the bins, shape (M + 1,), as from ``calibration_bins``.
        weights: How often each case counts, shape (B, N); None counts each once.

    Returns:
        Errors of shape (B,), 0 to 1.

    Source:
        Guo et al., On calibration of modern neural networks, ICML 2017, arXiv:1706.04599
    """
    count, said, seen = reliability(truth, score, edges, weights)
    apart = (count * np.abs(np.nan_to_num(said - seen))).sum(axis=1)
    return divide(apart, count.sum(axis=1))


def chance_calibration_error(score: ArrayLike, bins: int = 10, draws: int = 500, seed: int = 0) -> float:
    """Return the calibration error that these probabilities would have if every one of them were exactly right.

    With few cases it is far from 0: an error is only worth mentioning as far as it lies above this.

    Args:
        score: Probabilities, shape (N,), 0 to 1, at least one.
        bins: Number of bins of equal width.
        draws: How many made-up truths it is the mean of.
        seed: Seed of the draws.

    Example:
        >>> few, many = (chance_calibration_error(np.full(n, 0.3)) for n in (50, 5000))
        >>> round(few, 2), round(many, 3)
        (0.05, 0.005)

    Source:
        Broecker and Smith, Increasing the reliability of reliability diagrams, Weather and Forecasting 22 (2007)
    """
    scores = np.asarray(score, float)
    group = np.searchsorted(calibration_bins(scores, bins)[1:-1], scores, side="left")
    inside, rng, errors = np.eye(bins)[group], np.random.default_rng(seed), list[Floats64]()
    for first in range(0, draws, _AT_A_TIME):  # 500 draws of 100,000 cases would take a gigabyte
        truth = rng.random((min(_AT_A_TIME, draws - first), len(scores))) < scores
        errors.append(np.abs((scores - truth) @ inside).sum(axis=1) / len(scores))
    return float(np.concatenate(errors).mean())
