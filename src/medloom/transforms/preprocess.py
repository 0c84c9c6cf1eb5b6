"""Deterministic steps from decoded pixels to the network's input, and back.

The one place where they are written: ``prepare`` fills the pixel store with ``resize_image`` and
``normalisation``, training applies ``(x - offset) * scale`` on the device, evaluation and serving call
the object itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medloom.recipe import NormaliseConfig, PreprocessConfig

__all__ = ["Preprocess"]

Array = NDArray[Any]
Floats = NDArray[np.float32]

_SMALLEST_SPREAD = 1e-6


class Preprocess:
    """Resizes and normalises one image at a time.

    Args:
        config: The recipe's ``preprocess``.

    Example:
        >>> Preprocess(PreprocessConfig(size=(64, 64)))(np.zeros((128, 96, 3), np.uint8)).shape
        (3, 64, 64)
    """

    def __init__(self, config: PreprocessConfig) -> None:
        self.config = config

    def __call__(self, pixels_hwc: Array) -> Floats:
        """Return what the network sees.

        Args:
            pixels_hwc: ``(H, W, C)``, any integer or float dtype.

        Returns:
            ``(C, h, w)`` float32, always finite.
        """
        image = self.resize_image(pixels_hwc)
        offset, scale = self.normalisation(image)
        normalised: Floats = (image.astype(np.float32) - offset[:, None, None]) * scale[:, None, None]
        return normalised

    def resize_image(self, pixels_hwc: Array) -> Array:
        """Resize to the network's size without widening the dtype.

        Args:
            pixels_hwc: ``(H, W, C)``.

        Returns:
            ``(C, h, w)``; uint8 and uint16 stay as they are, everything else becomes float32.
        """
        narrow = pixels_hwc.dtype in (np.dtype(np.uint8), np.dtype(np.uint16))
        dtype = pixels_hwc.dtype if narrow else np.dtype(np.float32)
        planes = np.moveaxis(pixels_hwc, -1, 0)
        if planes.shape[1:] == self.config.size:
            return np.ascontiguousarray(planes, dtype=dtype)
        resized = np.zeros((planes.shape[0], *self.config.size), np.float32)
        top, left, height, width = self._window(*planes.shape[1:])
        for plane, out in zip(planes, resized, strict=True):
            out[top : top + height, left : left + width] = _resize_plane(plane, height, width)
        return _to_dtype(resized, dtype)

    def resize_mask(self, mask_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize a mask of class indices by nearest neighbour.

        Args:
            mask_hw: ``(H, W)`` uint8.

        Returns:
            ``(h, w)`` uint8.
        """
        if mask_hw.shape == self.config.size:
            return np.ascontiguousarray(mask_hw)
        top, left, height, width = self._window(*mask_hw.shape)
        out = np.zeros(self.config.size, np.uint8)
        image = Image.fromarray(np.ascontiguousarray(mask_hw))
        out[top : top + height, left : left + width] = np.asarray(
            image.resize((width, height), Image.Resampling.NEAREST)
        )
        return out

    def normalisation(self, image_chw: Array) -> tuple[Floats, Floats]:
        """Return the two numbers of each channel that normalise this image.

        A channel without spread (a blank slice) gets the scale that makes it zero everywhere.

        Args:
            image_chw: ``(C, h, w)``, as ``resize_image`` returns it.

        Returns:
            ``offset`` and ``scale``, each ``(C,)`` float32: ``normalised = (image - offset) * scale``.
        """
        config = self.config.normalise
        groups = image_chw if config.per_channel else image_chw.reshape(1, -1)
        pairs = np.array([_statistics(group, config) for group in groups], np.float64)
        offset, spread = np.broadcast_to(pairs, (image_chw.shape[0], 2)).T
        flat = spread < _SMALLEST_SPREAD * np.maximum(1.0, np.abs(offset))
        scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, np.maximum(spread, config.min_spread)))
        return offset.astype(np.float32), scale.astype(np.float32)

    def restore(self, probabilities_khw: Floats, height: int, width: int) -> Floats:
        """Bring the network's output back to the geometry of the image that came in.

        Args:
            probabilities_khw: ``(K, h, w)`` float32 in 0..1.
            height: Of the original image, in pixels.
            width: Of the original image, in pixels.

        Returns:
            ``(K, height, width)`` float32 in 0..1.
        """
        if (height, width) == self.config.size:
            return probabilities_khw
        top, left, inner_height, inner_width = self._window(height, width)
        inner = probabilities_khw[:, top : top + inner_height, left : left + inner_width]
        restored = np.stack([_resize_plane(plane, height, width) for plane in inner])
        clipped: Floats = np.clip(restored, 0.0, 1.0)
        return clipped

    def _window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Where the resized image lies in the network's image: top, left, height, width."""
        full_height, full_width = self.config.size
        if self.config.fit == "stretch":
            return 0, 0, full_height, full_width
        ratio = min(full_height / height, full_width / width)
        inner_height = min(full_height, max(1, round(height * ratio)))
        inner_width = min(full_width, max(1, round(width * ratio)))
        return (full_height - inner_height) // 2, (full_width - inner_width) // 2, inner_height, inner_width


def _resize_plane(plane: Array, height: int, width: int) -> Floats:
    """Bilinear, with an antialiasing filter when it shrinks (Pillow's convolution)."""
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _to_dtype(values: Floats, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _statistics(values: Array, config: NormaliseConfig) -> tuple[float, float]:
    """Offset and spread of one group of pixels."""
    if config.method == "none":
        return 0.0, 1.0
    if config.method == "zscore" and values.dtype == np.uint8:
        return _byte_moments(values, int(np.count_nonzero(values)) if config.nonzero else values.size)
    chosen = values[values > 0] if config.nonzero else values.ravel()
    if chosen.size == 0:
        return 0.0, 0.0
    if config.method == "zscore":
        wide = chosen.astype(np.float64)
        return float(wide.mean()), float(wide.std())
    ends = (0.0, 100.0) if config.method == "minmax" else config.percentiles
    low, high = np.percentile(chosen, ends)
    return float(low), float(high - low)


def _byte_moments(values: Array, count: int) -> tuple[float, float]:
    """Mean and standard deviation of 8-bit pixels, of which all but ``count`` are zeros that do not count.

    In pieces of 256 pixels every sum of squares is a whole number below 2**24, so float32 holds it exactly
    in whatever order the processor adds: fast, and the same on every machine.
    """
    if count == 0:
        return 0.0, 0.0
    rows = np.zeros((-(-values.size // 256), 256), np.float32)
    rows.ravel()[: values.size] = values.ravel()
    total = float((rows @ np.ones(256, np.float32)).sum(dtype=np.float64))
    squares = float(np.vecdot(rows, rows).sum(dtype=np.float64))
    mean = total / count
    return mean, float(np.sqrt(max(0.0, squares / count - mean**2)))
