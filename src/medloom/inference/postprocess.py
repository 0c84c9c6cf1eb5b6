"""From probabilities to a mask: the one rule that evaluation, the command line and the server share.

1. The lesion probability of a pixel is the probability of the only class that the network predicts
   (binary, K = 1) or one minus the probability of the background (K classes, the background first).
2. A pixel is foreground where its lesion probability is at least ``threshold``.
3. On the *network's own grid*, foreground regions (8-connected, classes together) of fewer than
   ``min_lesion_px`` pixels are erased: their pixels become certain background.
4. The erased probabilities are brought back to the geometry of the image that came in, and step 2
   decides there. Interpolation averages, so an erased region cannot come back. Where the image already
   has the network's size this step changes nothing.
5. A foreground pixel gets the foreground class with the largest probability.

So ``min_lesion_px`` means the same for images of every size, and evaluation may search for the operating
point on the network's grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["OperatingPoint", "erase_small", "lesion_probability", "postprocess", "to_mask"]

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class OperatingPoint:
    """Where a probability becomes a lesion.

    Args:
        threshold: Lesion probability from which a pixel is foreground, 0..1.
        min_lesion_px: Smallest region that is kept, in pixels of the network's image; 0 or 1 keeps all.
    """

    threshold: float = 0.5
    min_lesion_px: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold is {self.threshold}; it must lie between 0 and 1")
        if self.min_lesion_px < 0:
            raise ValueError(f"min_lesion_px is {self.min_lesion_px}; it must not be negative")


def postprocess(
    probabilities_khw: Floats, point: OperatingPoint, restore: Callable[[Floats], Floats] | None = None
) -> Mask:
    """Turn probabilities on the network's grid into a mask of class indices.

    Args:
        probabilities_khw: ``(K, h, w)`` float32 in 0..1 as the network gave them; K = 1 for binary, else
            one for each class, the background first.
        point: Threshold and smallest region.
        restore: Brings ``(K, h, w)`` to ``(K, H, W)``; without it the mask stays on the network's grid.

    Returns:
        ``(H, W)`` uint8, 0 = background.

    Example:
        >>> blob = np.zeros((1, 4, 4), np.float32); blob[0, :2, :2] = 0.9
        >>> int(postprocess(blob, OperatingPoint(0.5, 4)).sum()), int(postprocess(blob, OperatingPoint(0.5, 5)).sum())
        (4, 0)
    """
    erased = erase_small(probabilities_khw, point)
    return to_mask(restore(erased) if restore else erased, point.threshold)


def lesion_probability(probabilities_khw: Floats) -> Floats:
    """Return the ``(H, W)`` probability that a pixel is anything but background."""
    first: Floats = probabilities_khw[0]
    return first if len(probabilities_khw) == 1 else np.float32(1.0) - first


def to_mask(probabilities_khw: Floats, threshold: float) -> Mask:
    """Apply the threshold alone (steps 2 and 5).

    Args:
        probabilities_khw: ``(K, H, W)`` float32.
        threshold: 0..1; a pixel exactly on it is foreground.

    Returns:
        ``(H, W)`` uint8, 0 = background.
    """
    foreground = lesion_probability(probabilities_khw) >= threshold
    if probabilities_khw.shape[0] == 1:
        return foreground.astype(np.uint8)
    classes = probabilities_khw[1:].argmax(axis=0) + 1
    return np.where(foreground, classes, 0).astype(np.uint8)


def erase_small(probabilities_khw: Floats, point: OperatingPoint) -> Floats:
    """Make the pixels of regions that are too small certain background (step 3).

    Args:
        probabilities_khw: ``(K, h, w)`` float32 on the network's grid; not changed.
        point: Threshold and smallest region.

    Returns:
        ``(K, h, w)`` float32; the input itself when nothing had to be erased.
    """
    if point.min_lesion_px <= 1:
        return probabilities_khw
    small = _small_regions(lesion_probability(probabilities_khw) >= point.threshold, point.min_lesion_px)
    if not small.any():
        return probabilities_khw
    erased = np.where(small, np.float32(0.0), probabilities_khw)
    if len(erased) > 1:
        erased[0][small] = 1.0
    return erased


def _small_regions(foreground_hw: NDArray[np.bool_], min_px: int) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(foreground_hw, _EIGHT)
    sizes = np.bincount(labels.ravel())
    small = sizes < min_px
    small[0] = False
    chosen: NDArray[np.bool_] = small[labels]
    return chosen
