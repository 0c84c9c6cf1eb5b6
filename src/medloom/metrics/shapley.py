"""Shapley values: what each of several things that are told adds to a value, whoever is told first."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
from numpy.typing import NDArray

__all__ = ["shapley_values"]

Floats64 = NDArray[np.float64]
Told = NDArray[np.bool_]


def shapley_values(
    value: Callable[[Told], Floats64], players: int, *, most: int = 1024, seed: int = 0
) -> tuple[Floats64, bool]:
    """Return the Shapley value of each player; they add up to the value of all minus that of none.

    Exact while there are at most so many coalitions; beyond that from random orders, each with its reverse.

    Args:
        value: From coalitions ``(S, M)``, who is in each, to their values ``(S,)``.
        players: M, how many there are.
        most: Most coalitions that ``value`` is asked about.
        seed: Of the random orders.

    Returns:
        The values ``(M,)``, and whether they are exact.

    Example:
        >>> together = lambda told: 3.0 * told[:, 0] + 2.0 * told[:, 0] * told[:, 1]
        >>> shapley_values(together, 2)
        (array([4., 1.]), True)

    Source:
        Shapley, A value for n-person games (1953); Castro, Gómez and Tejada, Polynomial calculation of the Shapley
        value based on sampling, Computers and Operations Research 36 (2009)
    """
    if not players:
        return np.zeros(0), True
    if players < most.bit_length() and 2**players <= most:
        return _exact(value, players), True
    return _sampled(value, players, most, seed), False


def _exact(value: Callable[[Told], Floats64], players: int) -> Floats64:
    numbers = np.arange(2**players)
    told = (numbers[:, None] >> np.arange(players)) & 1 == 1
    values, sizes = np.asarray(value(told), float), told.sum(axis=1)
    weights = np.array([factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)])
    found = np.empty(players)
    for player in range(players):
        without = numbers[~told[:, player]]
        found[player] = weights[sizes[without]] @ (values[without | (1 << player)] - values[without])
    return found


def _sampled(value: Callable[[Told], Floats64], players: int, most: int, seed: int) -> Floats64:
    rng = np.random.default_rng(seed)
    found, pairs = np.zeros(players), max(1, most // (2 * (players + 1)))
    for _ in range(pairs):
        order = rng.permutation(players)
        for one in (order, order[::-1]):
            told = np.zeros((players + 1, players), bool)
            for place, player in enumerate(one, start=1):
                told[place:, player] = True
            found[one] += np.diff(np.asarray(value(told), float))
    return found / (2 * pairs)
