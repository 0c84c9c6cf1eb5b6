"""A mask for people and for JSON: drawn on its image, and as run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.imaging.display import to_grey
from medloom.metrics import outline

__all__ = ["heated", "overlay", "run_lengths"]

_RED = np.array([255, 0, 0], np.uint8)
_STRONGEST = 0.6
"""How much of the red there is where the probability is 1; the rest is the image."""


def overlay(pixels_hwc: NDArray[Any], mask_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the outline of each class of the mask in red on the image.

    Args:
        pixels_hwc: ``(H, W, C)``, any dtype; three channels are shown as colours, else the first as grey.
        mask_hw: ``(H, W)`` uint8, 0 = background.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    drawn = _shown(pixels_hwc)
    for index in range(1, int(mask_hw.max(initial=0)) + 1):
        drawn[outline(mask_hw == index)] = _RED
    return drawn


def heated(pixels_hwc: NDArray[Any], probability_hw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Mix red into an image, the more the likelier a pixel is foreground.

    Args:
        pixels_hwc: ``(H, W, C)``, as for ``overlay``.
        probability_hw: ``(H, W)`` in 0..1.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    share = _STRONGEST * probability_hw[..., None]
    mixed = _shown(pixels_hwc) * (1.0 - share) + _RED * share
    drawn: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return drawn


def _shown(pixels_hwc: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image as it is looked at: ``(H, W, 3)`` uint8, to be drawn on."""
    shown = pixels_hwc if pixels_hwc.shape[2] == 3 else pixels_hwc[..., :1]
    grey = np.stack([to_grey(shown[..., channel]) for channel in range(shown.shape[2])], axis=-1)
    return np.broadcast_to(grey, (*pixels_hwc.shape[:2], 3)).copy()


def run_lengths(mask_hw: NDArray[np.bool_]) -> list[int]:
    """Return COCO's uncompressed run-length code: column by column, the first run counts zeros.

    Example:
        >>> run_lengths(np.array([[True, False], [True, True]]))
        [0, 2, 1, 1]

    Source: https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/mask.py
    """
    flat = mask_hw.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts: list[int] = np.diff(edges).tolist()
    return [0, *counts] if flat[0] else counts
