"""Intervals from a bootstrap over patients.

Images of one patient resemble each other, so the patient is what is drawn: a bootstrap over images would
give intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medloom.metrics.weights import weighted_mean

__all__ = [
    "Estimate",
    "Resampled",
    "bootstrap_interval",
    "bootstrap_mean",
    "bootstrap_ratio",
    "percentile_interval",
    "resample",
]

Array = NDArray[Any]
Floats64 = NDArray[np.float64]
Statistic = Callable[[Array, Floats64], Floats64]
Statistics = Callable[[Floats64], Mapping[str, Floats64]]

_CELLS = 4_000_000  # weights held at a time: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval.

    Args:
        value: The metric on all cases; None if no case counts.
        low: 2.5th percentile over the resamples; None with fewer than two patients or without resamples.
        high: 97.5th percentile over the resamples, or None.
        n: Number of cases (or patients, for metrics per patient) that count.
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


@dataclass(frozen=True, eq=False)
class Resampled:
    """Several statistics on all cases and on resamples of the patients.

    Args:
        point: Each statistic on all cases, by name; any shape.
        draws: The same on each resample: one dimension more in front, of length 0 without resamples.
        patients: Number of patients that were drawn from.
    """

    point: dict[str, Floats64]
    draws: dict[str, Floats64]
    patients: int

    def estimate(self, name: str, n: int, *, centred: bool = False) -> Estimate:
        """Return a statistic that is one number with its 95 % interval.

        Args:
            name: The statistic.
            n: Number of cases that count in it.
            centred: For a statistic from 0 on that resampling alone makes larger, such as a calibration error, whose
                plain interval may lie above its value: the resamples are moved until their median is the value, and
                the interval ends at 0.

        Source:
            Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 10 (estimates of bias)
        """
        point, draws = float(self.point[name]), self.draws[name]
        if centred and not np.isnan(draws).all():
            draws = np.maximum(draws - np.nanmedian(draws) + point, 0.0)
        return _estimate(point, draws, n, self.patients)

    def minus(self, other: Resampled) -> Resampled:
        """Return by how much the statistics of one model exceed those of another on the same cases and resamples.

        Args:
            other: What is taken away, resampled with the same patients, number and seed; statistics that only one of
                them has are left out.
        """
        both = [name for name in self.point if name in other.point]
        return Resampled(
            {name: self.point[name] - other.point[name] for name in both},
            {name: self.draws[name] - other.draws[name] for name in both},
            self.patients,
        )

    def band(self, name: str) -> tuple[Floats64, Floats64]:
        """Return the 2.5th and the 97.5th percentile of every entry of a statistic, NaN where there is none."""
        shape = self.point[name].shape
        columns = np.moveaxis(self.draws[name], 0, -1).reshape(self.point[name].size, -1)
        limits = np.array([percentile_interval(column) for column in columns]).reshape(-1, 2)
        low, high = limits.T.reshape(2, *shape)
        return low, high


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
    found = resample(names[index], lambda weights: {"": statistic(values, weights)}, n, seed)
    return found.estimate("", len(values))


def resample(
    patients: ArrayLike, statistics: Statistics, n: int = 1000, seed: int = 0, weights: ArrayLike | None = None
) -> Resampled:
    """Take several statistics on all cases and on resamples of the patients, in one pass.

    Args:
        patients: Patient of each case, shape (N,), at least one.
        statistics: Takes weights (B, N), how often each case counts, and gives arrays (B, ...) by name.
        n: Number of resamples; 0 gives none, and so does a single patient.
        seed: Seed of the draws.
        weights: Weight of each case, shape (N,), by which the number of draws is multiplied.

    Returns:
        The statistics, to be asked for estimates and bands.

    Example:
        >>> found = resample(["a", "a", "b"], lambda w: {"mean": weighted_mean(np.array([0.8, 0.9, 0.4]), w)}, 200)
        >>> round(found.estimate("mean", n=3).value, 2)
        0.7
    """
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    each = np.ones((1, len(index))) if weights is None else np.asarray(weights, float)[None]
    draws = _draws(len(names), n, seed)
    step = max(1, _CELLS // max(1, len(index)))
    point = statistics(each)
    pieces = [statistics(draws[i : i + step, index] * each) for i in range(0, len(draws), step)]
    return Resampled(
        {name: value[0] for name, value in point.items()},
        {name: np.concatenate([value[:0], *(piece[name] for piece in pieces)]) for name, value in point.items()},
        len(names),
    )


def percentile_interval(resampled: Floats64) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile of what is not NaN, or twice NaN if nothing is."""
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_ratio(
    numerator: ArrayLike, denominator: ArrayLike, patients: ArrayLike, n: int = 1000, seed: int = 0
) -> Estimate:
    """Take a ratio of two sums over cases, such as regions found of all regions, with its interval.

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
    return _estimate(point[0] / point[1], resampled[:, 0] / resampled[:, 1], round(point[1]), len(names))


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


def _draws(patients: int, n: int, seed: int) -> Floats64:
    """Return how often each patient is drawn in each resample, shape (n, patients)."""
    if n == 0 or patients < 2:
        return np.empty((0, patients))
    chances = np.full(patients, 1.0 / patients)
    return np.random.default_rng(seed).multinomial(patients, chances, size=n).astype(float)


def _estimate(point: float, resampled: Floats64, n: int, patients: int) -> Estimate:
    value = None if np.isnan(point) else float(point)
    low, high = percentile_interval(resampled)
    if value is None or np.isnan(low):
        return Estimate(value, None, None, n, patients)
    return Estimate(value, low, high, n, patients)
