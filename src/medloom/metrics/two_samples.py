"""Whether new values come from where earlier ones came from: two samples, compared.

Every test here takes its values for independent. Several images of one patient are not: take one of each.

Shapes: N reference values, M new ones, F numbers of each, B bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medloom.metrics.tails import binomial_above, chi_square_above, share_with_tail

__all__ = [
    "Distance",
    "alarm_threshold",
    "bin_shares",
    "energy_distance",
    "energy_test",
    "exceedance_p",
    "homogeneity_p",
    "population_stability_index",
    "share_interval",
]

Floats64 = NDArray[np.float64]

_ROWS_AT_A_TIME = 500
_EMPTY = 1e-4


@dataclass(frozen=True)
class Distance:
    """How far two samples lie apart.

    Args:
        value: The energy distance, in the unit of the values; 0 for the same distribution.
        p: Share of random divisions of all values into two samples whose distance is at least as large.
    """

    value: float
    p: float


def bin_shares(values: ArrayLike, edges: ArrayLike) -> Floats64:
    """Return which share of the values lies in each bin, ``(B,)``.

    Args:
        values: ``(M,)``, at least one.
        edges: ``(B - 1,)`` inner edges in ascending order; the first and last bin have no outer ones. A value on an
            edge is in the bin above.
    """
    inner = np.asarray(edges, float)
    bins = np.searchsorted(inner, np.asarray(values, float), side="right")
    return np.bincount(bins, minlength=len(inner) + 1) / len(bins)


def population_stability_index(reference: ArrayLike, found: ArrayLike, *, least: float = _EMPTY) -> float:
    """Return how far shares of bins are from what they were; 0 where they are the same.

    Where nothing has changed it is about ``(B - 1) * (1 / N + 1 / M)``, so the usual rule, above 0.25 much has
    changed, holds for samples of hundreds alone: see ``homogeneity_p``.

    Args:
        reference: ``(B,)`` shares of earlier values.
        found: ``(B,)`` shares of new ones.
        least: What stands for the share of an empty bin, whose logarithm would be infinite; of few values half of one
            of them, ``0.5 / M``, as otherwise every empty bin says that much has changed.

    Example:
        >>> round(population_stability_index([0.5, 0.5], [0.5, 0.5]), 3)
        0.0
        >>> round(population_stability_index([0.5, 0.5], [0.9, 0.1]), 3)
        0.879

    Source:
        Yurdakul and Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation
        14 (2020): the index, and what is to be expected of it.
    """
    before, after = (np.maximum(np.asarray(shares, float), least) for shares in (reference, found))
    return float(np.sum((after - before) * np.log(after / before)))


def homogeneity_p(reference: ArrayLike, found: ArrayLike, reference_size: float, found_size: float) -> float:
    """Return the p-value for the shares of bins being the same: Pearson's test of homogeneity.

    Args:
        reference: ``(B,)`` shares of earlier values.
        found: ``(B,)`` shares of new ones.
        reference_size: N, how many independent values the first are of.
        found_size: M, the same of the second.

    Returns:
        In 0..1; 1 where there is one bin, or none that holds anything.
    """
    counts = np.stack([np.asarray(reference, float) * reference_size, np.asarray(found, float) * found_size])
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return 1.0
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return chi_square_above(statistic, counts.shape[1] - 1)


def energy_distance(reference: ArrayLike, found: ArrayLike) -> float:
    """Return the energy distance of two samples of rows; see ``energy_test``.

    Args:
        reference: ``(N, F)``.
        found: ``(M, F)``.

    Example:
        >>> energy_distance([[0.0]], [[2.0]])
        2.0
    """
    first, second = np.asarray(reference, float), np.asarray(found, float)
    apart = _apart(np.concatenate([first, second]))
    return float(_distances(apart, _is_first(len(first), len(second))[None])[0])


def energy_test(reference: ArrayLike, found: ArrayLike, *, resamples: int = 999, seed: int = 0) -> Distance:
    """Compare two samples of rows by their energy distance, with a permutation test.

    It is 0 for the same distribution and above it for any other, whatever differs: place, spread or shape. The p-value
    is right for samples of any size, as nothing is assumed but that rows are independent.

    Args:
        reference: ``(N, F)`` rows of numbers of comparable size.
        found: ``(M, F)``.
        resamples: Random divisions; no p-value is below ``1 / (resamples + 1)``.
        seed: Of these divisions: the same samples give the same p-value.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> energy_test(rng.normal(size=(40, 3)), rng.normal(0.8, size=(30, 3))).p
        0.001

    Source:
        Szekely and Rizzo, Testing for equal distributions in high dimension, InterStat (2004); with the square root, as
        ``scipy.stats.energy_distance`` has it.
    """
    first, second = np.asarray(reference, float), np.asarray(found, float)
    apart = _apart(np.concatenate([first, second]))
    given = _is_first(len(first), len(second))
    value = float(_distances(apart, given[None])[0])
    rng, reached = np.random.default_rng(seed), 0
    for begin in range(0, resamples, _ROWS_AT_A_TIME):
        count = min(_ROWS_AT_A_TIME, resamples - begin)
        drawn = _distances(apart, rng.permuted(np.tile(given, (count, 1)), axis=1))
        reached += int((drawn >= value * (1 - 1e-12)).sum())
    return Distance(value, (1 + reached) / (1 + resamples))


def alarm_threshold(scores: ArrayLike, rate: float) -> tuple[float, float]:
    """Return from which score a value is set apart, so that of values like these at most a given share is.

    The threshold is one of the scores, the one for which the next value of the same source lies above with at most
    this chance, however scores are distributed. With few of them there is none for a small rate: then the largest
    score is taken, and the rate is 1 in one more than there are.

    Args:
        scores: ``(N,)`` of values that the score was not fitted to; larger is stranger.
        rate: The wanted chance, 0 to 1.

    Returns:
        The threshold, above which a value is set apart, and the chance that it has.

    Example:
        >>> alarm_threshold(range(1, 100), 0.05)
        (95.0, 0.05)
        >>> alarm_threshold([1.0, 3.0, 2.0], 0.05)
        (3.0, 0.25)

    Source:
        Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005): conformal prediction.
    """
    ordered = np.sort(np.asarray(scores, float))
    above = min(len(ordered) - 1, max(math.floor(rate * (len(ordered) + 1) + 1e-9) - 1, 0))
    return float(ordered[-1 - above]), (above + 1) / (len(ordered) + 1)


def exceedance_p(flagged: int, values: int, rate: float) -> float:
    """Return the chance that at least so many of so many values are set apart where each is with a given chance.

    Args:
        flagged: How many were.
        values: Of how many, independent of each other.
        rate: The chance of each.

    Example:
        >>> round(exceedance_p(3, 10, 0.1), 4)
        0.0702
    """
    return binomial_above(flagged - 1, values, rate)


def share_interval(found: int, values: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, exact also for few values: that of Clopper and Pearson.

    Args:
        found: How many of the values.
        values: Of how many, independent of each other; at least one.

    Example:
        >>> low, high = share_interval(0, 100)
        >>> round(low, 3), round(high, 3)
        (0.0, 0.036)
    """
    low = 0.0 if found == 0 else share_with_tail(found - 1, values, 0.025)
    high = 1.0 if found == values else share_with_tail(found, values, 0.975)
    return low, high


def _apart(rows: Floats64) -> Floats64:
    """Euclidean distances between all rows, from differences: squares of large numbers would lose the small ones."""
    return np.stack([np.sqrt(((rows - row) ** 2).sum(axis=1)) for row in rows])


def _is_first(first: int, second: int) -> NDArray[np.float64]:
    return np.repeat([1.0, 0.0], [first, second])


def _distances(apart: Floats64, is_first: Floats64) -> Floats64:
    """Energy distances of several divisions ``(R, N + M)`` of rows whose distances are known."""
    first, second = is_first.sum(axis=1), (1.0 - is_first).sum(axis=1)
    to_first = is_first @ apart
    within = (to_first * is_first).sum(axis=1)
    between = to_first.sum(axis=1) - within
    other = apart.sum() - within - 2 * between
    squared = 2 * between / (first * second) - within / first**2 - other / second**2
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))
