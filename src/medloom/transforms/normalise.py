"""Intensity normalisation of one image: two numbers for each channel, an offset and a scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Normalise"]

Array = NDArray[Any]
Floats32 = NDArray[np.float32]

_SMALLEST_SPREAD = 1e-6
"""A deviation or range below this share of the offset (of 1 where that is smaller) is none."""

_PERCENTILE_METHOD: Final = "linear"

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the channels of ImageNet's training images in 0..1, as torchvision's and most of timm's weights expect."""


@dataclass(frozen=True)
class Normalise:
    """How intensities are normalised, image by image.

    Args:
        method: ``zscore``, ``percentile``, ``minmax``, ``imagenet`` or ``none``.
        nonzero: Take the statistics over pixels above zero only; of an image without any, over those above its least
            value.
        per_channel: Each channel by itself; otherwise all channels together.
        percentiles: The two percentiles, 0..100, of ``percentile``.
        min_spread: Smallest deviation or range, in grey levels of the file, to divide by.
    """

    method: Literal["zscore", "percentile", "minmax", "imagenet", "none"] = "zscore"
    nonzero: bool = True
    per_channel: bool = True
    percentiles: tuple[float, float] = (1.0, 99.0)
    min_spread: float = 0.0

    def of(self, image_chw: Array) -> tuple[Floats32, Floats32]:
        """Return the two numbers of each channel that normalise this image.

        A channel without spread (a blank image) gets the scale that makes it zero everywhere.

        Args:
            image_chw: ``(C, h, w)``, resized.

        Returns:
            ``offset`` and ``scale``, each ``(C,)`` float32: ``normalised = (image - offset) * scale``.
        """
        if self.method == "imagenet":
            return _imagenet(image_chw.dtype, len(image_chw))
        groups = image_chw if self.per_channel else image_chw.reshape(1, -1)
        pairs = np.array([_statistics(group, self) for group in groups], np.float64)
        offset, spread = np.broadcast_to(pairs, (image_chw.shape[0], 2)).T
        flat = spread < _SMALLEST_SPREAD * np.maximum(1.0, np.abs(offset))
        scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, np.maximum(spread, self.min_spread)))
        return offset.astype(np.float32), scale.astype(np.float32)

    @staticmethod
    def constants() -> dict[str, Any]:
        """Return the numbers of the normalisation that no recipe says, as plain JSON types."""
        return {
            "flat_below": _SMALLEST_SPREAD,
            "percentile_method": _PERCENTILE_METHOD,
            "imagenet_mean": list(_IMAGENET_MEAN),
            "imagenet_std": list(_IMAGENET_STD),
        }


@cache
def _imagenet(dtype: np.dtype[Any], channels: int) -> tuple[Floats32, Floats32]:
    """Offset and scale by the dtype's full range; floats are taken to be in 0..1 already."""
    full = np.iinfo(dtype).max if dtype.kind == "u" else 1.0
    mean, std = np.array(_IMAGENET_MEAN), np.array(_IMAGENET_STD)
    if channels != len(mean):
        mean, std = np.full(channels, mean.mean()), np.full(channels, std.mean())
    offset, scale = (mean * full).astype(np.float32), (1.0 / (std * full)).astype(np.float32)
    for values in (offset, scale):
        values.flags.writeable = False  # they are shared
    return offset, scale


def _statistics(values: Array, settings: Normalise) -> tuple[float, float]:
    """Offset and spread of one group of pixels."""
    if settings.method == "none":
        return 0.0, 1.0
    if settings.method == "zscore" and values.dtype == np.uint8:
        return _byte_moments(values, int(np.count_nonzero(values)) if settings.nonzero else values.size)
    chosen = _not_background(values) if settings.nonzero else values.ravel()
    if chosen.size == 0:
        return 0.0, 0.0
    if settings.method == "zscore":
        wide = chosen.astype(np.float64)
        return float(wide.mean()), float(wide.std())
    ends = (0.0, 100.0) if settings.method == "minmax" else settings.percentiles
    low, high = np.percentile(chosen, ends, method=_PERCENTILE_METHOD)
    return float(low), float(high - low)


def _not_background(values: Array) -> Array:
    """Pixels above zero; where there is none, as in CT of the lung, those above the least, which is air or padding."""
    above = values[values > 0]
    return above if above.size else values[values > values.min()]


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
