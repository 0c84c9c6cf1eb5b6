"""Tails of distributions whose parameters are whole numbers, in closed form: what a server watches needs no SciPy."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["binomial_above", "chi_square_above", "share_with_tail"]

_HALVINGS = 200


def chi_square_above(value: float, degrees: int) -> float:
    """Return the chance that a chi-squared variable lies above a value.

    Args:
        value: From 0 on.
        degrees: Degrees of freedom, at least one.

    Example:
        >>> round(chi_square_above(3.841, 1), 3), round(chi_square_above(5.991, 2), 3)
        (0.05, 0.05)

    Source:
        Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.4.4 and 26.4.5
    """
    half = value / 2
    if half <= 0:
        return 1.0
    odd = degrees % 2
    powers = np.arange(degrees // 2) + odd / 2
    terms = [float(power) * math.log(half) - half - math.lgamma(float(power) + 1) for power in powers]
    below = math.erfc(math.sqrt(half)) if odd else 0.0
    return min(1.0, below + math.fsum(map(math.exp, terms)))


def binomial_above(count: int, trials: int, chance: float) -> float:
    """Return the chance that more than ``count`` of so many independent trials succeed.

    Args:
        count: From -1 to ``trials``.
        trials: How many.
        chance: Of each, 0 to 1.

    Example:
        >>> binomial_above(1, 2, 0.5), binomial_above(-1, 5, 0.3), binomial_above(5, 5, 0.3)
        (0.25, 1.0, 0.0)
    """
    if count < 0:
        return 1.0
    if count >= trials or chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    if count + 1 > trials * chance:  # of the two tails the smaller one is summed, whose terms fall from the first on
        return min(1.0, _tail(count + 1, trials, chance))
    return max(0.0, 1.0 - _tail(trials - count, trials, 1.0 - chance))


def share_with_tail(count: int, trials: int, tail: float) -> float:
    """Return the chance of each trial with which more than ``count`` of them succeed as often as ``tail`` says.

    Args:
        count: From 0 to ``trials - 1``.
        trials: How many.
        tail: Above 0 and below 1.

    Example:
        >>> round(share_with_tail(0, 10, 0.5), 4)
        0.067
    """
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if binomial_above(count, trials, middle) < tail else (low, middle)
    return (low + high) / 2


def _tail(count: int, trials: int, chance: float) -> float:
    """The chance that at least ``count`` trials succeed: the first term by its logarithm, others by ratios."""
    ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    first = math.exp(ways + count * math.log(chance) + (trials - count) * math.log1p(-chance))
    numbers = np.arange(count, trials)
    ratios = (trials - numbers) / (numbers + 1) * (chance / (1.0 - chance))
    return first * (1.0 + float(np.cumprod(ratios).sum()))
