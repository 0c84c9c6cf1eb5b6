"""Pixels to PNG."""

from __future__ import annotations

import imagecodecs
import numpy as np

from medloom.imaging.types import Pixels

__all__ = ["encode_png"]


def encode_png(pixels: Pixels) -> bytes:
    """Encode pixels losslessly as PNG.

    Args:
        pixels: Array (H, W) or (H, W, C) with C of 1, 3 or 4, uint8 or uint16.

    Returns:
        The PNG file.

    Raises:
        ValueError: If shape or dtype is another.
    """
    shown = f"{pixels.dtype} {pixels.shape}"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or pixels.size == 0:
        raise ValueError(f"cannot write {shown} as PNG; expected (H, W) or (H, W, C) with C of 1, 3 or 4")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"cannot write {shown} as PNG; expected uint8 or uint16")
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
