"""Regions as connected components: how many there are and how many were found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medloom.metrics.masks import Bits, Mask, both_set

__all__ = ["RegionCount", "count_regions"]


@dataclass(frozen=True)
class RegionCount:
    """Regions of a case.

    Args:
        regions: Connected components of the true mask.
        found: Those of them that the prediction touches with at least one pixel.
        false: Connected components of the prediction that touch no true region.
    """

    regions: int
    found: int
    false: int


def count_regions(truth: Mask, predicted: Mask) -> RegionCount:
    """Count the regions of a case, those that were found and those that are false.

    A region is a connected component; pixels that share a corner are connected. One pixel of overlap
    finds a region: how well it is outlined is what Dice says.

    Args:
        truth: True mask, 2-D or 3-D; non-zero is set.
        predicted: Predicted mask of the same shape.

    Returns:
        The counts.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> count_regions(np.array([[1, 0, 0, 1, 1]]), np.array([[0, 1, 0, 0, 1]]))
        RegionCount(regions=2, found=1, false=1)
    """
    true, guess = both_set(truth, predicted)
    regions, found = _touched(true, guess)
    guessed, right = _touched(guess, true)
    return RegionCount(regions=regions, found=found, false=guessed - right)


def _touched(mask: Bits, other: Bits) -> tuple[int, int]:
    """Return the number of components of ``mask`` and how many of them ``other`` touches."""
    if not mask.any():
        return 0, 0
    labels, n = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, bool))
    touched = np.unique(labels[other])
    return int(n), int(np.count_nonzero(touched))
