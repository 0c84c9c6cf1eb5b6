"""Overlap of two masks from pixel counts: Dice and intersection over union."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["dice_from_counts", "iou_from_counts"]


def dice_from_counts(overlap: ArrayLike, truth: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    """Dice coefficient from pixel counts; two empty masks agree and give 1, one empty mask gives 0.

    A mean over cases therefore depends much on how many cases are empty: report the mean over cases with foreground
    beside it. Counts of several images may be added up first: that is the Dice coefficient of the stacked volume.

    Args:
        overlap: Pixels that are set in both masks, any shape.
        truth: Pixels set in the true mask, same shape.
        predicted: Pixels set in the predicted mask, same shape.

    Returns:
        Dice of that shape, from 0 to 1.

    Example:
        >>> dice_from_counts([2, 0, 0], [4, 0, 0], [2, 0, 5]).round(3).tolist()
        [0.667, 1.0, 0.0]
    """
    total = np.asarray(truth, float) + np.asarray(predicted, float)
    return _share(2.0 * np.asarray(overlap, float), total)


def iou_from_counts(overlap: ArrayLike, truth: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union (Jaccard index) from pixel counts; two empty masks give 1.

    Args:
        overlap: Pixels that are set in both masks, any shape.
        truth: Pixels set in the true mask, same shape.
        predicted: Pixels set in the predicted mask, same shape.

    Returns:
        Intersection over union of that shape, from 0 to 1.
    """
    both = np.asarray(overlap, float)
    return _share(both, np.asarray(truth, float) + np.asarray(predicted, float) - both)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; nothing of nothing is full agreement."""
    return np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)
