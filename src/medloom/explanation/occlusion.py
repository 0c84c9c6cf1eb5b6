"""Occlusion: what is lost of the evidence for an answer when a square of the image is hidden.

It asks for answers alone, so it works with every runtime; and it needs no library beside NumPy. Each pixel gets the
mean over the squares that hide it, as Captum's ``Occlusion`` does it.

Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv:1311.2901
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["occlusion", "own_mean"]

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]


def occlusion(
    ask: Callable[[Floats32], Floats64],
    image_chw: Floats32,
    *,
    window: tuple[int, int],
    stride: tuple[int, int],
    batch: int = 16,
) -> Floats32:
    """Return what each part of an image adds to the evidence for an answer.

    Args:
        ask: From images ``(N, C, h, w)`` to the evidence ``(N,)``.
        image_chw: The image as the network sees it.
        window: Height and width in pixels of the square that is hidden; its pixels become the image's own mean.
        stride: By how many pixels it moves.
        batch: Images that are asked about at a time.

    Returns:
        ``(h, w)`` float32, in the unit of the evidence; above 0 where the pixel speaks for the answer.
    """
    height, width = image_chw.shape[1:]
    hidden = [
        (slice(top, top + window[0]), slice(left, left + window[1]))
        for top in _starts(height, window[0], stride[0])
        for left in _starts(width, window[1], stride[1])
    ]
    mean, whole = own_mean(image_chw), float(ask(image_chw[None])[0])
    lost, times = np.zeros((height, width)), np.zeros((height, width))
    for first in range(0, len(hidden), batch):
        parts = hidden[first : first + batch]
        images = np.repeat(image_chw[None], len(parts), axis=0)
        for image, (rows, columns) in zip(images, parts, strict=True):
            image[:, rows, columns] = mean
        for found, (rows, columns) in zip(ask(images), parts, strict=True):
            lost[rows, columns] += whole - found
            times[rows, columns] += 1.0
    return np.asarray(lost / times, np.float32)


def own_mean(image_chw: Floats32) -> Floats32:
    """Return the mean of each channel ``(C, 1, 1)``: what stands for nothing, however images are normalised."""
    return np.asarray(image_chw.mean(axis=(1, 2), keepdims=True, dtype=np.float64), np.float32)


def _starts(side: int, window: int, stride: int) -> range:
    """Where the squares begin along a side; the last one may reach beyond it, and is cut."""
    count = -(-max(0, side - window) // stride) + 1
    return range(0, count * stride, stride)
