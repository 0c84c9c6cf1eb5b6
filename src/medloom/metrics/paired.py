"""Two models on the same cases: whether they differ by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["AreaDifference", "bootstrap_p", "compare_areas", "holm"]

Array = NDArray[Any]
Floats64 = NDArray[np.float64]

_WIDTH = 1.959963984540054  # standard errors on either side of a 95 % interval


@dataclass(frozen=True)
class AreaDifference:
    """By how much one area under the ROC curve exceeds another one of the same cases.

    Args:
        value: The first minus the second.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Two-sided p-value for no difference; 1 where the two rank alike.
    """

    value: float
    low: float
    high: float
    p: float

    def plain(self) -> dict[str, float]:
        """Return the difference as plain JSON types."""
        return {"value": self.value, "low": self.low, "high": self.high, "p": self.p}


def compare_areas(truth: ArrayLike, first: ArrayLike, second: ArrayLike, patients: ArrayLike) -> AreaDifference | None:
    """Compare two areas under the ROC curve on the same cases, without resampling.

    With one case for each patient it is the test of DeLong; several of a patient count as the cluster that they are.

    Args:
        truth: Whether each case is positive, (N,).
        first: Score of each case by one model, (N,), higher for positive.
        second: The same by the other one.
        patients: Patient of each case, (N,).

    Returns:
        The difference; None with fewer than two patients with positive cases, or with negative ones.

    Example:
        >>> truth = [0, 0, 0, 1, 1, 1]
        >>> found = compare_areas(truth, [1, 2, 3, 4, 5, 6], [1, 2, 5, 4, 3, 6], list("abcdef"))
        >>> round(found.value, 3), round(found.p, 3)
        (0.222, 0.371)

    Source:
        DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); Obuchowski, Biometrics 53 (1997), for clusters
    """
    positive, scores = np.asarray(truth).astype(bool), np.stack([np.asarray(first, float), np.asarray(second, float)])
    names, cluster = np.unique(np.asarray(patients), return_inverse=True)
    wins, losses = _placements(scores[:, positive], scores[:, ~positive])
    ill, well = cluster[positive], cluster[~positive]
    if min(len(np.unique(ill)), len(np.unique(well))) < 2:
        return None
    value = float((wins[0] - wins[1]).mean())
    variance = _variance((wins[0] - wins[1] - value, ill), (losses[0] - losses[1] - value, well), len(names))
    spread = float(np.sqrt(max(variance, 0.0)))
    p = math.erfc(abs(value) / spread / math.sqrt(2)) if spread > 0 else float(value == 0.0)
    return AreaDifference(value, value - _WIDTH * spread, value + _WIDTH * spread, p)


def _placements(positive: Floats64, negative: Floats64) -> tuple[Floats64, Floats64]:
    """Share of the other class that each case is on the right side of, ties half: (2, positives), (2, negatives)."""
    wins, losses = np.empty(positive.shape), np.empty(negative.shape)
    for at, (high, low) in enumerate(zip(positive, negative, strict=True)):
        lows, highs = np.sort(low), np.sort(high)
        wins[at] = (np.searchsorted(lows, high, "left") + np.searchsorted(lows, high, "right")) / (2 * len(low))
        below = (np.searchsorted(highs, low, "left") + np.searchsorted(highs, low, "right")) / (2 * len(high))
        losses[at] = 1 - below
    return wins, losses


def _variance(positive: tuple[Floats64, Array], negative: tuple[Floats64, Array], clusters: int) -> float:
    """Of the difference, from what each case adds to it and the cluster that the case is of."""
    sums = np.stack([np.bincount(where, parts, clusters) for parts, where in (positive, negative)])
    counts = np.array([len(parts) for parts, _ in (positive, negative)])
    with_any = np.array([len(np.unique(where)) for _, where in (positive, negative)])
    own = (sums**2).sum(axis=1) * with_any / (with_any - 1) / counts**2
    both = 2 * (sums[0] * sums[1]).sum() * clusters / (clusters - 1) / counts.prod()
    return float(own.sum() + both)


def bootstrap_p(draws: Floats64) -> float | None:
    """Return the two-sided p-value of a difference from its bootstrap: where its interval would just touch zero.

    Args:
        draws: The difference on each resample, (B,); NaN where it is not defined.

    Returns:
        From 2 / (B + 1) to 1; None without resamples.

    Example:
        >>> bootstrap_p(np.array([0.1, 0.2, 0.3, -0.1, 0.2, 0.3, 0.1, 0.2, 0.1]))
        0.4

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application (1997), section 4.2
    """
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return None
    side = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (side + 1) / (len(defined) + 1))


def holm(p_values: ArrayLike) -> Floats64:
    """Correct p-values for having looked at all of them.

    Args:
        p_values: Shape (N,).

    Returns:
        The corrected ones, in the same order, none above 1: those below 0.05 are wrong anywhere in at most 5 % of
        all such families.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
        [0.03, 0.06, 0.06]

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979)
    """
    given = np.asarray(p_values, float)
    order = np.argsort(given, kind="stable")
    raised = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    corrected = np.empty(len(given))
    corrected[order] = np.minimum(raised, 1.0)
    return corrected
