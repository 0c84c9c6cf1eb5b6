"""Lesions as connected components: how many there are and how many were found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medloom.metrics.masks import Bits, Mask, both_set

__all__ = ["LesionCount", "count_lesions", "lesion_sensitivity"]


@dataclass(frozen=True)
class LesionCount:
    """Lesions of a case.

    Args:
        lesions: Connected components of the true mask.
        found: Those of them that the prediction touches with at least one pixel.
        false: Connected components of the prediction that touch no true lesion.
    """

    lesions: int
    found: int
    false: int


def count_lesions(truth: Mask, predicted: Mask) -> LesionCount:
    """Count the lesions of a case, those that were found and those that were made up.

    A lesion is a connected component; pixels that share a corner are connected. One pixel of overlap
    finds a lesion: how well it is outlined is what Dice says.

    Args:
        truth: True mask, 2-D or 3-D; non-zero is set.
        predicted: Predicted mask of the same shape.

    Returns:
        The counts.

    Raises:
        ValueError: If the shapes differ.
    """
    true, guess = both_set(truth, predicted)
    lesions, found = _touched(true, guess)
    guessed, right = _touched(guess, true)
    return LesionCount(lesions=lesions, found=found, false=guessed - right)


def lesion_sensitivity(truth: Mask, predicted: Mask) -> float:
    """Share of the true lesions that the prediction touches; NaN if there is none.

    Args:
        truth: True mask, 2-D or 3-D; non-zero is set.
        predicted: Predicted mask of the same shape.

    Returns:
        Share from 0 to 1, or NaN without a true lesion.

    Example:
        >>> truth = np.array([[1, 0, 0, 1, 1]])
        >>> lesion_sensitivity(truth, np.array([[0, 0, 0, 0, 1]]))
        0.5
    """
    count = count_lesions(truth, predicted)
    return count.found / count.lesions if count.lesions else float("nan")


def _touched(mask: Bits, other: Bits) -> tuple[int, int]:
    """Return the number of components of ``mask`` and how many of them ``other`` touches."""
    if not mask.any():
        return 0, 0
    labels, n = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, bool))
    touched = np.unique(labels[other])
    return int(n), int(np.count_nonzero(touched))
