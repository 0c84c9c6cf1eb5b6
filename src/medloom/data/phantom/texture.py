"""Smooth random fields and grids that the generators of single images share."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["encode_jpeg", "grid", "smooth_field", "soft"]

FloatArray = npt.NDArray[np.floating]

_JPEG_QUALITY = 92


def grid(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Return x and y of each pixel, (height, width) each, from -1 to 1."""
    y, x = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32), indexing="ij"
    )
    return x, y


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], knots: int) -> FloatArray:
    """Return a random field of about unit deviation that has ``knots`` values along each side."""
    values = Image.fromarray(rng.standard_normal((knots, knots), dtype=np.float32))
    return np.asarray(values.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)


def soft(distance: FloatArray, edge: float) -> FloatArray:
    """Return 1 where ``distance`` is well below zero, 0 well above, an S-curve of width ``edge`` between."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance / np.float32(edge), -30, 30))), np.float32)


def encode_jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels (H, W) or (H, W, 3) as a baseline JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()
