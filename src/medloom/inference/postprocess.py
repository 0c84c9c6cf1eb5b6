"""From probabilities to a mask: the one rule that evaluation, the command line and the server share.

1. The foreground probability of a pixel is the probability of the only class that the network predicts
   (binary, K = 1) or one minus the probability of the background (K classes, the background first).
2. A pixel is foreground where its foreground probability is at least ``threshold``.
3. On the *network's own grid*, foreground regions (8-connected, classes together) of fewer than
   ``min_region_px`` pixels are erased: their pixels become certain background.
4. The erased probabilities are brought back to the geometry of the image that came in, and step 2
   decides there. Interpolation averages, so an erased region cannot come back. Where the image already
   has the network's size this step changes nothing.
5. A foreground pixel gets the foreground class with the largest probability.

So ``min_region_px`` means the same for images of every size, and evaluation may search for the operating
point on the network's grid. The steps in order are ``medloom.inference.Predictor.finish``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["CONNECTIVITY", "erase_small", "foreground_probability", "to_mask"]

Floats32 = NDArray[np.float32]
Mask = NDArray[np.uint8]

CONNECTIVITY = 8
"""Pixels that share a side or a corner belong to one region."""

_EIGHT = np.ones((3, 3), bool)


def foreground_probability(probabilities_khw: Floats32) -> Floats32:
    """Return the ``(H, W)`` probability that a pixel is anything but background."""
    first: Floats32 = probabilities_khw[0]
    return first if len(probabilities_khw) == 1 else np.float32(1.0) - first


def to_mask(probabilities_khw: Floats32, threshold: float) -> Mask:
    """Apply the threshold alone (steps 2 and 5).

    Args:
        probabilities_khw: ``(K, H, W)`` float32.
        threshold: 0..1; a pixel exactly on it is foreground.

    Returns:
        ``(H, W)`` uint8, 0 = background.
    """
    foreground = foreground_probability(probabilities_khw) >= threshold
    if probabilities_khw.shape[0] == 1:
        return foreground.astype(np.uint8)
    classes = probabilities_khw[1:].argmax(axis=0) + 1
    return np.where(foreground, classes, 0).astype(np.uint8)


def erase_small(probabilities_khw: Floats32, threshold: float, min_region_px: int) -> Floats32:
    """Make the pixels of regions that are too small certain background (step 3).

    Args:
        probabilities_khw: ``(K, h, w)`` float32 on the network's grid; not changed.
        threshold: Foreground probability from which a pixel is foreground, 0..1.
        min_region_px: Smallest region that is kept, in pixels; 0 or 1 keeps all.

    Returns:
        ``(K, h, w)`` float32; the input itself when nothing had to be erased.
    """
    if min_region_px <= 1:
        return probabilities_khw
    small = _small_regions(foreground_probability(probabilities_khw) >= threshold, min_region_px)
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
