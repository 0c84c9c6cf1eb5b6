"""From probabilities to a mask: the one rule that evaluation, the command line and the server share.

With one threshold for all classes:

1. The foreground probability of a pixel is the probability of the only class that the network predicts
   (binary, K = 1) or one minus the probability of the background (K classes, the background first).
2. A pixel is foreground where its foreground probability is at least ``threshold``.
3. On the *network's own grid*, foreground regions (8-connected, classes together) of fewer than
   ``min_region_px`` pixels are erased: their pixels become certain background.
4. The erased probabilities are brought back to the geometry of the image that came in, and step 2
   decides there. Interpolation averages, so an erased region cannot come back. Where the image already
   has the network's size this step changes nothing.
5. A foreground pixel gets the foreground class with the largest probability.

With a threshold for each of several classes, what a class has for itself is its probability divided by its threshold. A
pixel is foreground where these add up to at least 1, and gets the class with the largest of them. Where all thresholds
are equal that is the rule above; where one class alone is likely, it is foreground from its own threshold on.

So ``min_region_px`` means the same for images of every size, and evaluation may search for the operating
point on the network's grid. The steps in order are ``medloom.inference.Predictor.finish``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloom.metrics import label_components

__all__ = ["CONNECTIVITY", "Threshold", "decided", "erase_small", "foreground_probability", "to_mask"]

Floats32 = NDArray[np.float32]
Mask = NDArray[np.uint8]

Threshold = float | tuple[float, ...]
"""One for all foreground classes, or one for each of several."""

CONNECTIVITY = 8
"""Pixels that share a side or a corner belong to one region."""


def foreground_probability(probabilities_khw: Floats32) -> Floats32:
    """Return the ``(H, W)`` probability that a pixel is anything but background."""
    first: Floats32 = probabilities_khw[0]
    return first if len(probabilities_khw) == 1 else np.float32(1.0) - first


def decided(probabilities_khw: Floats32, threshold: Threshold) -> tuple[NDArray[np.bool_], Mask]:
    """Return where there is foreground, and which class each pixel would be of.

    Args:
        probabilities_khw: ``(K, H, W)`` float32.
        threshold: 0..1; a pixel exactly on it is foreground. Several: above 0, one for each class but the background.

    Returns:
        ``(H, W)`` bool, and ``(H, W)`` uint8 from 1 on.
    """
    if isinstance(threshold, tuple):
        shares = [plane / np.float32(one) for plane, one in zip(probabilities_khw[1:], threshold, strict=True)]
        total = shares[0]
        for share in shares[1:]:
            total = total + share
        return total >= 1.0, (np.argmax(shares, axis=0) + 1).astype(np.uint8)
    foreground = foreground_probability(probabilities_khw) >= threshold
    if len(probabilities_khw) == 1:
        return foreground, np.ones(foreground.shape, np.uint8)
    return foreground, (probabilities_khw[1:].argmax(axis=0) + 1).astype(np.uint8)


def to_mask(probabilities_khw: Floats32, threshold: Threshold) -> Mask:
    """Apply the threshold alone (steps 2 and 5).

    Args:
        probabilities_khw: ``(K, H, W)`` float32.
        threshold: See ``decided``.

    Returns:
        ``(H, W)`` uint8, 0 = background.

    Example:
        >>> pixels = np.array([[0.4, 0.35, 0.25], [0.7, 0.2, 0.1]], np.float32).T[:, None]
        >>> to_mask(pixels, 0.5).tolist(), to_mask(pixels, (0.5, 0.2)).tolist(), to_mask(pixels, (0.15, 0.9)).tolist()
        ([[1, 0]], [[2, 0]], [[1, 1]])
    """
    foreground, classes = decided(probabilities_khw, threshold)
    return np.where(foreground, classes, 0).astype(np.uint8)


def erase_small(probabilities_khw: Floats32, threshold: Threshold, min_region_px: int) -> Floats32:
    """Make the pixels of regions that are too small certain background (step 3).

    Args:
        probabilities_khw: ``(K, h, w)`` float32 on the network's grid; not changed.
        threshold: From where a pixel is foreground; see ``decided``.
        min_region_px: Smallest region that is kept, in pixels; 0 or 1 keeps all.

    Returns:
        ``(K, h, w)`` float32; the input itself when nothing had to be erased.
    """
    if min_region_px <= 1:
        return probabilities_khw
    foreground = decided(probabilities_khw, threshold)[0]
    if not foreground.any():
        return probabilities_khw
    small = _small_regions(foreground, min_region_px)
    if not small.any():
        return probabilities_khw
    erased = np.where(small, np.float32(0.0), probabilities_khw)
    if len(erased) > 1:
        erased[0][small] = 1.0
    return erased


def _small_regions(foreground_hw: NDArray[np.bool_], min_px: int) -> NDArray[np.bool_]:
    labels, _ = label_components(foreground_hw)
    sizes = np.bincount(labels.ravel())
    small = sizes < min_px
    small[0] = False
    chosen: NDArray[np.bool_] = small[labels]
    return chosen
