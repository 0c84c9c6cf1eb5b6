"""A mask for people and for JSON: drawn on its image, and as run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.imaging.display import to_grey
from medloom.metrics import outline

__all__ = ["overlay", "run_lengths"]

_RED = np.array([255, 0, 0], np.uint8)


def overlay(pixels_hwc: NDArray[Any], mask_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the outline of each class of the mask in red on the image.

    Args:
        pixels_hwc: ``(H, W, C)``, any dtype; three channels are shown as colours, else the first as grey.
        mask_hw: ``(H, W)`` uint8, 0 = background.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    shown = pixels_hwc if pixels_hwc.shape[2] == 3 else pixels_hwc[..., :1]
    grey = np.stack([to_grey(shown[..., channel]) for channel in range(shown.shape[2])], axis=-1)
    drawn = np.broadcast_to(grey, (*mask_hw.shape, 3)).copy()
    for index in range(1, int(mask_hw.max(initial=0)) + 1):
        drawn[outline(mask_hw == index)] = _RED
    return drawn


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
