"""Connected components of a mask in NumPy alone: a server that answers with regions needs no SciPy."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from medloom.metrics.masks import Bits, Mask

__all__ = ["label_components"]

Integers = NDArray[np.int64]


def label_components(mask: Mask, *, corners: bool = True) -> tuple[NDArray[np.int32], int]:
    """Number the connected components of a mask.

    Args:
        mask: Two dimensions or more; non-zero is set.
        corners: Whether elements that share only a corner or an edge are connected as well.

    Returns:
        The number of each element's component, of the mask's shape, 0 where it is not set; and how many there are. They
        are numbered in the order of their first elements.

    Example:
        >>> label_components(np.array([[1, 0, 1], [0, 1, 0]]))[1], label_components(np.eye(2), corners=False)[1]
        (1, 2)

    Source:
        He, Chao and Suzuki, A run-based two-scan labeling algorithm, IEEE Transactions on Image Processing 17 (2008)
    """
    bits = np.asarray(mask, bool)
    labels = np.zeros(bits.shape, np.int32)
    starts, ends = _runs(bits)
    if not len(starts):
        return labels, 0
    roots = _joined(len(starts), _touching(starts, ends, bits.shape, corners))
    found, numbers = np.unique(roots, return_inverse=True)
    labels[bits] = np.repeat(numbers.astype(np.int32) + 1, ends - starts)
    return labels, len(found)


def _runs(bits: Bits) -> tuple[Integers, Integers]:
    """Where runs along the last axis begin and end, counted over rows that are one element longer than those given."""
    rows = bits.reshape(-1, bits.shape[-1])
    flat = np.zeros((len(rows), rows.shape[1] + 1), np.int8)
    flat[:, :-1] = rows
    change = np.diff(flat.ravel(), prepend=np.int8(0))
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def _touching(starts: Integers, ends: Integers, shape: tuple[int, ...], corners: bool) -> tuple[Integers, Integers]:
    """Pairs of runs that touch each other, the one in the row that comes first at first."""
    width, reach = shape[-1] + 1, int(corners)
    places = np.array(np.unravel_index(starts // width, shape[:-1]))
    pairs = []
    for step in _steps(len(shape) - 1, corners):
        beside = places + step[:, None]
        inside = np.flatnonzero(((beside >= 0) & (beside < np.array(shape[:-1])[:, None])).all(axis=0))
        moved = np.ravel_multi_index(tuple(beside[:, inside]), shape[:-1]) * width - starts[inside] // width * width
        first = np.searchsorted(ends, starts[inside] + moved - reach, side="right")
        count = np.searchsorted(starts, ends[inside] + moved + reach, side="left") - first
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        pairs.append((np.repeat(inside, count), np.repeat(first, count) + offset))
    return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs])


def _steps(axes: int, corners: bool) -> list[Integers]:
    """Where the rows beside a row lie; of each pair of opposite steps the one ahead."""
    every = [step for step in product((-1, 0, 1), repeat=axes) if step > (0,) * axes]
    return [np.array(step) for step in every if corners or sum(map(abs, step)) == 1]


def _joined(count: int, pairs: tuple[Integers, Integers]) -> Integers:
    """Return for each of so many runs the first one that it is connected with."""
    root = np.arange(count)
    while True:
        one, other = root[pairs[0]], root[pairs[1]]
        apart = one != other
        if not apart.any():
            return root
        pairs = pairs[0][apart], pairs[1][apart]
        np.minimum.at(root, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while not np.array_equal(root, further := root[root]):
            root = further
