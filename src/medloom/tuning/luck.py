"""How much of a study's best score is the luck of having tried often."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from scipy import integrate, stats

__all__ = ["expected_best", "luck_facts"]

_FEWEST = 2


def expected_best(count: int) -> float:
    """Return the expected largest of so many independent standard normal numbers.

    Source: David and Nagaraja, Order Statistics, 3rd edition (2003), chapter 3.

    Example:
        >>> [round(expected_best(count), 4) for count in (1, 2, 20)]
        [0.0, 0.5642, 1.8675]
    """
    if count <= 1:
        return 0.0

    def weighted(value: float) -> float:
        return float(value * count * stats.norm.pdf(value) * stats.norm.cdf(value) ** (count - 1))

    return float(integrate.quad(weighted, -math.inf, math.inf)[0])


def luck_facts(best: float, again: Sequence[float], tried: int, *, larger_is_better: bool) -> dict[str, Any]:
    """Compare the best score of a study with what its settings give with other seeds.

    Args:
        best: The best score.
        again: Scores of the same settings with other seeds.
        tried: How many trials came to their end.
        larger_is_better: Whether a larger score is better.

    Returns:
        ``mean`` and ``deviation`` of the scores with other seeds, ``excess`` of the best over the mean, and ``chance``,
        the excess that the best of so many equally good settings would have; where there are too few, None.
    """
    sign = 1 if larger_is_better else -1
    mean = statistics.fmean(again)
    spread = statistics.stdev(again) if len(again) >= _FEWEST else None
    return {
        "scores": list(again),
        "mean": mean,
        "deviation": spread,
        "excess": sign * (best - mean),
        "tried": tried,
        "chance": None if spread is None else spread * expected_best(tried),
    }
