"""Intervals from a bootstrap over patients.

Slices of one patient resemble each other, so the patient is what is drawn: a bootstrap over slices would
give intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Estimate", "bootstrap_interval", "bootstrap_mean", "bootstrap_ratio", "weighted_mean"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Statistic = Callable[[Array, Floats], Floats]

_CELLS = 4_000_000  # weights held at a time: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Args:
        value: The figure on all cases; None if no case counts.
        low: 2.5th percentile over the resamples; None with fewer than two patients or without resamples.
        high: 97.5th percentile over the resamples, or None.
        n: Number of cases (or patients, for figures per patient) that count.
        patients: Number of patients that were drawn from.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    patients: int

    def plain(self) -> dict[str, float | int | None]:
        """Return the estimate as plain JSON types."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n, "patients": self.patients}


def weighted_mean(values: Array, weights: Floats) -> Floats:
    """Mean of ``values`` (N,) under each row of ``weights`` (B, N); NaN where a row has no weight."""
    total = weights.sum(axis=1)
    means: Floats = np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)
    return means


def bootstrap_interval(
    values: Array, patients: ArrayLike, statistic: Statistic = weighted_mean, n: int = 1000, seed: int = 0
) -> Estimate:
    """Take any statistic with its 95 % percentile interval, drawing patients with replacement.

    All cases of a drawn patient count as often as the patient was drawn. Resamples on which the statistic
    is not defined (NaN) are left out.

    Args:
        values: What the statistic takes, shape (N,) or (N, ...). Rows with NaN are left out first.
        patients: Patient of each case, shape (N,).
        statistic: Vectorised over resamples: ``statistic(values, weights (B, N)) -> (B,)``.
        n: Number of resamples; 0 gives no interval.
        seed: Seed of the draws.

    Returns:
        The estimate; its ``n`` is the number of rows without NaN.

    Example:
        >>> estimate = bootstrap_interval(np.array([0.8, 0.9, 0.4]), ["a", "a", "b"], n=200)
        >>> round(estimate.value, 2), round(estimate.low, 2), round(estimate.high, 2), estimate.n
        (0.7, 0.4, 0.85, 3)

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13
    """
    kept = ~np.isnan(values.astype(float)).any(axis=tuple(range(1, values.ndim)))
    values, (names, index) = values[kept], np.unique(np.asarray(patients)[kept], return_inverse=True)
    if not len(values):
        return Estimate(None, None, None, 0, 0)
    point = statistic(values, np.ones((1, len(values))))
    step = max(1, _CELLS // len(values))
    draws = _draws(len(names), n, seed)
    resampled = [statistic(values, draws[i : i + step, index]) for i in range(0, len(draws), step)]
    return _estimate(point, np.concatenate([*resampled, np.empty(0)]), len(values), len(names))


def bootstrap_ratio(
    numerator: ArrayLike, denominator: ArrayLike, patients: ArrayLike, n: int = 1000, seed: int = 0
) -> Estimate:
    """Take a ratio of two sums over cases, such as lesions found of all lesions, with its interval.

    Args:
        numerator: What is added up above the line, shape (N,).
        denominator: What is added up below the line, shape (N,), none negative.
        patients: Patient of each case, shape (N,).
        n: Number of resamples of the patients; 0 gives no interval.
        seed: Seed of the draws.

    Returns:
        The estimate; its ``n`` is the sum of the denominator, its patients those with a denominator.
    """
    above, below = np.asarray(numerator, float), np.asarray(denominator, float)
    counts = below > 0
    names, index = np.unique(np.asarray(patients)[counts], return_inverse=True)
    if not len(names):
        return Estimate(None, None, None, 0, 0)
    sums = np.zeros((len(names), 2))
    np.add.at(sums, index, np.stack([above[counts], below[counts]], axis=1))
    resampled = _draws(len(names), n, seed) @ sums  # the sums of a resample are weighted sums of patients
    point = sums.sum(axis=0)
    return _estimate(point[:1] / point[1:], resampled[:, 0] / resampled[:, 1], round(point[1]), len(names))


def bootstrap_mean(values: ArrayLike, patients: ArrayLike, n: int = 1000, seed: int = 0) -> Estimate:
    """Take the mean over cases that are not NaN, with its interval.

    Args:
        values: Value of each case, shape (N,); NaN is left out.
        patients: Patient of each case, shape (N,).
        n: Number of resamples of the patients; 0 gives no interval.
        seed: Seed of the draws.

    Returns:
        The estimate; its ``n`` is the number of cases that are not NaN.
    """
    given = np.asarray(values, float)
    return bootstrap_ratio(np.nan_to_num(given, nan=0.0), ~np.isnan(given), patients, n, seed)


def _draws(patients: int, n: int, seed: int) -> Floats:
    """Return how often each patient is drawn in each resample, shape (n, patients)."""
    if n == 0 or patients < 2:
        return np.empty((0, patients))
    chances = np.full(patients, 1.0 / patients)
    return np.random.default_rng(seed).multinomial(patients, chances, size=n).astype(float)


def _estimate(point: Floats, resampled: Floats, n: int, patients: int) -> Estimate:
    value = None if np.isnan(point[0]) else float(point[0])
    defined = resampled[~np.isnan(resampled)]
    if value is None or not len(defined):
        return Estimate(value, None, None, n, patients)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n, patients)
