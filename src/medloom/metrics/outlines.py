"""The outline of a mask, in NumPy alone: a server that draws it needs no SciPy."""

from __future__ import annotations

import numpy as np

from medloom.metrics.masks import Bits, Mask

__all__ = ["outline"]


def outline(mask: Mask) -> Bits:
    """Return the pixels of a mask that touch its outside, the border of the image included.

    Args:
        mask: Mask of any dimension; non-zero is set.

    Returns:
        Mask of the same shape with only the outline set; neighbours share a side.

    Example:
        >>> outline(np.ones((3, 3))).astype(int).tolist()
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    bits = np.asarray(mask, bool)
    inside = bits.copy()
    for axis in range(bits.ndim):
        along, kept = np.moveaxis(bits, axis, 0), np.moveaxis(inside, axis, 0)
        kept[1:] &= along[:-1]
        kept[:-1] &= along[1:]
        kept[:1] = False
        kept[-1:] = False
    edge: Bits = bits & ~inside
    return edge
