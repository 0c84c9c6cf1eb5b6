"""Divide units of very different size into parts of wanted shares: a seeded search on small arrays.

With eight to thirty patients of 20 to 88 images, a random or greedy division misses the wanted shares by far
more than one that is searched for. Greedy starts, and one that deals out stratum after stratum, are improved by
moving and swapping units until nothing helps; the best is taken.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["balanced_parts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_STARTS = 8
_FEW_UNITS = 300
_GOOD_ENOUGH = 1e-7
_PAIRS = 20_000
_CONTRAST_WEIGHTS = (2.0, 0.5, 0.125, 0.03)
"""How much strata count beside the shares of samples, tried in this order until no part is too far from its share."""

_FAR = 0.15
"""A part's relative distance from its share from which strata count for less."""

_WORTH = 0.02
"""Relative distance that must be gained for strata to count for less."""

_UNIT_WEIGHT = 0.2
_EVEN_WEIGHT = 0.1


def balanced_parts(
    sizes: IntArray, strata: IntArray, shares: FloatArray, rng: np.random.Generator, kept: IntArray | None = None
) -> IntArray:
    """Divide units into parts so that samples and strata come close to the wanted shares.

    What is made small is, over all parts and relative to their shares, the squared deviation of the share of
    samples, of the share of each stratum beyond that of samples (weighted double, because a part that is a
    little small does less harm than one with too little foreground), and a little of the share of units. A stratum in
    so few units that the smallest part is due less than one of them weighs less: it cannot be divided by the shares,
    and must not make the parts tiny. No part stays empty.

    Args:
        sizes: Samples of each unit (U,).
        strata: Samples of each unit in each stratum (U, K); K may be 0.
        shares: Wanted share of each part (P,), adding up to 1; U must be at least P.
        rng: Generator of the search.
        kept: Part of each unit that stays where it is, -1 for the others (U,); None: none stays.

    Returns:
        The part of each unit (U,), from 0 to P - 1.
    """
    kept = np.full(len(sizes), -1, dtype=np.int64) if kept is None else kept
    best, least = np.zeros(0, dtype=np.int64), np.inf
    for weight in _CONTRAST_WEIGHTS if strata.shape[1] else _CONTRAST_WEIGHTS[:1]:
        parts = _searched(_features(sizes, strata, shares, weight), sizes, strata, shares, rng, kept)
        distance = _distance(sizes, parts, shares)
        if distance < least - _WORTH:
            best, least = parts, distance
        if least <= _FAR:
            break
    return best


def _searched(
    features: FloatArray,
    sizes: IntArray,
    strata: IntArray,
    shares: FloatArray,
    rng: np.random.Generator,
    kept: IntArray,
) -> IntArray:
    """The best division that is found from several starts."""
    starts = _STARTS if len(sizes) <= _FEW_UNITS else 1
    begun = [_greedy(features, sizes, shares, rng, kept) for _ in range(starts)]
    if len(sizes) <= _FEW_UNITS:
        begun += [parts for parts in [_dealt(strata, shares, kept)] if len(np.unique(parts)) == len(shares)]
    found = [_improve(features, parts, shares, rng, kept < 0) for parts in begun]
    costs = [_cost(features, parts, shares) for parts in found]
    return found[int(np.argmin(costs))]


def _distance(sizes: IntArray, parts: IntArray, shares: FloatArray) -> float:
    """How far the part that is farthest from its share of samples is from it, relative to that share.

    As much as two units of middling size is no distance: with few patients a class in every part counts for more.
    """
    wanted = shares * sizes.sum()
    beyond = np.abs(np.bincount(parts, weights=sizes, minlength=len(shares)) - wanted)
    return float((np.where(beyond > 2 * sizes.mean(), beyond, 0) / np.maximum(wanted, 1)).max())


def _features(sizes: IntArray, strata: IntArray, shares: FloatArray, weight: float) -> FloatArray:
    """Columns that a perfect division splits exactly by the shares (U, 2 + K)."""
    samples = sizes / max(int(sizes.sum()), 1)
    counts = np.maximum(strata.sum(axis=0), 1)
    due = (strata > 0).sum(axis=0) * float(shares.min())
    contrast = weight * (strata / counts - samples[:, None]) * np.minimum(due, 1.0)
    units = np.full(len(sizes), _UNIT_WEIGHT / len(sizes))
    return np.column_stack([samples, units, contrast])


def _excess(features: FloatArray, parts: IntArray, shares: FloatArray) -> FloatArray:
    """What each part holds beyond its share, in every feature (P, F)."""
    held = np.zeros((len(shares), features.shape[1]))
    np.add.at(held, parts, features)
    return np.asarray(held - shares[:, None] * features.sum(axis=0))


def _cost(features: FloatArray, parts: IntArray, shares: FloatArray) -> float:
    return _spread(_excess(features, parts, shares), shares)


def _spread(excess: FloatArray, shares: FloatArray) -> float:
    return float((excess**2 / shares[:, None]).sum())


def _greedy(
    features: FloatArray, sizes: IntArray, shares: FloatArray, rng: np.random.Generator, kept: IntArray
) -> IntArray:
    """The largest units first, in an order that varies a little, each to the part that it suits best."""
    order = np.argsort(-sizes * rng.uniform(0.7, 1.3, len(sizes)), kind="stable")
    order = np.concatenate([order[kept[order] >= 0], order[kept[order] < 0]])
    excess = -shares[:, None] * features.sum(axis=0)
    parts = np.maximum(kept, 0)
    for place, unit in enumerate(order):
        if kept[unit] >= 0:
            excess[kept[unit]] += features[unit]
            continue
        change = 2 * excess @ features[unit] + (features[unit] ** 2).sum()
        change = change / shares
        left = len(order) - place
        empty = np.bincount(parts[order[:place]], minlength=len(shares)) == 0
        if left <= int(empty.sum()):
            change = np.where(empty, change, np.inf)
        parts[unit] = int(np.argmin(change))
        excess[parts[unit]] += features[unit]
    return parts


def _dealt(strata: IntArray, shares: FloatArray, kept: IntArray) -> IntArray:
    """Stratum after stratum, each unit to the part that lacks most of it; a part may stay empty.

    From a part with one unit of the first stratum no single move is an improvement, though one unit more of each
    stratum would be: where strata are small, greedy starts may all end there.
    """
    label = strata.argmax(axis=1) if strata.shape[1] else np.zeros(len(strata), dtype=np.int64)
    parts = np.zeros(len(label), dtype=np.int64)
    lacking = np.zeros(len(shares))
    for value in np.unique(label):
        lacking_here = np.zeros(len(shares))
        units = np.flatnonzero(label == value)
        for unit in (*units[kept[units] >= 0], *units[kept[units] < 0]):
            lacking, lacking_here = lacking + shares, lacking_here + shares
            part = int(kept[unit]) if kept[unit] >= 0 else int(np.argmax(lacking_here + _EVEN_WEIGHT * lacking))
            lacking[part] -= 1
            lacking_here[part] -= 1
            parts[unit] = part
    return parts


def _improve(
    features: FloatArray,
    parts: IntArray,
    shares: FloatArray,
    rng: np.random.Generator,
    free: npt.NDArray[np.bool_],
) -> IntArray:
    """Take the best move or swap of units that are free until none helps."""
    for _ in range(4 * min(len(parts), 500)):
        excess = _excess(features, parts, shares)
        if _spread(excess, shares) < _GOOD_ENOUGH:
            break
        options = [
            _best_move(features, parts, shares, excess, free),
            _best_swap(features, parts, shares, excess, rng, free),
        ]
        gain, changed = min(options, key=lambda option: option[0])
        if gain > -1e-12:
            break
        for unit, part in changed:
            parts[unit] = part
    return parts


def _best_move(
    features: FloatArray, parts: IntArray, shares: FloatArray, excess: FloatArray, free: npt.NDArray[np.bool_]
) -> tuple[float, list[tuple[int, int]]]:
    square = (features**2).sum(axis=1)
    leave = (square - 2 * (excess[parts] * features).sum(axis=1)) / shares[parts]
    enter = (square[:, None] + 2 * features @ excess.T) / shares
    change = leave[:, None] + enter
    alone = np.bincount(parts, minlength=len(shares))[parts] == 1
    change[alone | ~free] = np.inf
    change[np.arange(len(parts)), parts] = np.inf
    unit, part = np.unravel_index(int(np.argmin(change)), change.shape)
    return float(change[unit, part]), [(int(unit), int(part))]


def _best_swap(
    features: FloatArray,
    parts: IntArray,
    shares: FloatArray,
    excess: FloatArray,
    rng: np.random.Generator,
    free: npt.NDArray[np.bool_],
) -> tuple[float, list[tuple[int, int]]]:
    one, other = _pairs(len(parts), rng)
    apart = (parts[one] != parts[other]) & free[one] & free[other]
    one, other = one[apart], other[apart]
    if len(one) == 0:
        return np.inf, []
    step = features[other] - features[one]
    square = (step**2).sum(axis=1)
    change = (square + 2 * (excess[parts[one]] * step).sum(axis=1)) / shares[parts[one]]
    change += (square - 2 * (excess[parts[other]] * step).sum(axis=1)) / shares[parts[other]]
    best = int(np.argmin(change))
    first, second = int(one[best]), int(other[best])
    return float(change[best]), [(first, int(parts[second])), (second, int(parts[first]))]


def _pairs(units: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """All pairs, or a sample of them where there are too many."""
    if units * (units - 1) // 2 <= _PAIRS:
        one, other = np.triu_indices(units, 1)
        return one.astype(np.int64), other.astype(np.int64)
    return rng.integers(0, units, _PAIRS), rng.integers(0, units, _PAIRS)
