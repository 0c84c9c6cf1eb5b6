"""What is measured of an image, in a few numbers: how it came, how it looks, and what the network sees of it.

The same numbers describe training images and those that are asked about, so that both can be compared.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.inference.appearance import FEATURE_NAMES, FEATURES
from medloom.inference.prepared import Prepared

__all__ = ["MEASURES", "MEASURE_NAMES", "measure"]

Floats64 = NDArray[np.float64]

_OWN = (
    "height in pixels (logarithm)",
    "width in pixels (logarithm)",
    "median raw value (signed logarithm)",
    "sharpness of what the network sees (logarithm)",
    "mean of what the network sees",
    "standard deviation of what the network sees",
    "what the network sees: value that 5 % are below",
    "what the network sees: value that 25 % are below",
    "what the network sees: median",
    "what the network sees: value that 75 % are below",
    "what the network sees: value that 95 % are below",
    "share of pixels at the largest value (logarithm)",
)
_SEEN_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)

MEASURES = FEATURES + len(_OWN)
"""Numbers of an image: those of ``describe_image``, then its size, its raw values and what the network sees."""

MEASURE_NAMES: dict[int, str] = {
    **FEATURE_NAMES,
    27: "darkest value (signed logarithm)",
    28: "largest value (logarithm)",
    **{FEATURES + at: name for at, name in enumerate(_OWN)},
}
"""Those that say something by themselves, by their place."""

_LOOKED_AT = 3000
_SHARP_SIDE = 128
_DULL = 1e-6
_MOST_COUNTED = 512
_FEW_CLIPPED, _FEW_LEVELS = 1e-3, 32
"""A share that says nothing yet, because some pixels of every image have its largest value; and a range of whole
numbers within which many have it without anything being lost, as in the empty first slices of a volume."""


def measure(prepared: Prepared) -> Floats64:
    """Measure an image.

    Args:
        prepared: The image as the network sees it, with its look.

    Returns:
        ``(42,)``, all finite; see ``MEASURES``.

    Raises:
        ValueError: If it has no look.
    """
    if prepared.look is None:
        raise ValueError("an image without its look; a predictor with a fingerprint, or that looks, prepares it")
    seen = prepared.own_input
    values = np.sort(_some(np.moveaxis(seen, 0, -1)).ravel())
    levels = values[[round(share * (len(values) - 1)) for share in _SEEN_SHARES]]
    raw = float(np.median(_some(prepared.pixels)))
    own = [
        *np.log(prepared.image.size),
        float(np.copysign(np.log1p(abs(raw)), raw)),
        _sharpness(seen[len(seen) // 2]),
        float(values.mean(dtype=np.float64)),
        float(values.std(dtype=np.float64)),
        *levels,
        _clipped(prepared.pixels),
    ]
    return np.concatenate([prepared.look, np.array(own, np.float64)])


def _some(pixels_hwc: NDArray[Any]) -> NDArray[Any]:
    """Values at even distances, at most some thousands of them."""
    step = max(math.ceil((pixels_hwc.size / _LOOKED_AT) ** 0.5), 1)
    return pixels_hwc[::step, ::step]


def _clipped(pixels_hwc: NDArray[Any]) -> float:
    """Logarithm of the share of pixels that are at the largest value of their channel, of the channel with the most.

    Normalisation hides how bright an image is from the network, but not that what was brighter than the largest number
    is gone.
    """
    height, width = pixels_hwc.shape[:2]
    step = max(math.ceil(min(height, width) / _MOST_COUNTED), 1)
    seen = pixels_hwc[::step, ::step]
    low, high = seen.min(axis=(0, 1)), seen.max(axis=(0, 1))
    share = (seen == high).mean(axis=(0, 1))
    wide = np.subtract(high, low, dtype=np.float64) > (_FEW_LEVELS if pixels_hwc.dtype.kind in "iub" else 0)
    return float(np.log(float(np.where(wide, share, 0.0).max()) + _FEW_CLIPPED))


def _sharpness(plane: NDArray[np.float32]) -> float:
    """Logarithm of the variance of the second differences in the middle of an image; smaller for a blurred one."""
    height, width = plane.shape
    top, left = max((height - _SHARP_SIDE) // 2, 0), max((width - _SHARP_SIDE) // 2, 0)
    part = plane[top : top + _SHARP_SIDE, left : left + _SHARP_SIDE]
    if min(part.shape) < 3:
        return float(np.log(_DULL))
    middle = part[1:-1, 1:-1]
    bends = part[:-2, 1:-1] + part[2:, 1:-1] + part[1:-1, :-2] + part[1:-1, 2:] - 4 * middle
    return float(np.log(float(bends.var(dtype=np.float64)) + _DULL))
