"""Pixels as grey levels on a screen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["grey_levels", "levels_inside", "to_grey"]

_PERCENTILES = (0.5, 99.5)


def to_grey(plane: NDArray[Any], levels: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Spread intensities over 0..255.

    Args:
        plane: Finite values of any shape and dtype.
        levels: What becomes black and what white, such as from ``grey_levels`` of several planes together. By default
            8-bit planes stay as they are and others are spread by their own levels.

    Returns:
        The same shape in uint8.

    Example:
        >>> to_grey(np.array([[0.0, 0.5, 1.0]])).tolist()
        [[0, 127, 255]]
    """
    if levels is None and plane.dtype == np.uint8:
        return plane
    wide = plane.astype(np.float64)
    low, high = levels or grey_levels(wide)
    share = (wide - low) / ((high - low) or 1.0)
    stretched: NDArray[np.uint8] = (np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
    return stretched


def grey_levels(values: NDArray[Any]) -> tuple[float, float]:
    """Return what is shown as black and as white, so that the darkest and the brightest 0.5 % saturate."""
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)


def levels_inside(plane: NDArray[Any]) -> tuple[float, float]:
    """Return what is shown as black and as white by the pixels above the darkest alone.

    Much of a medical image is a background of one value, which would leave the rest too dark to judge.

    Args:
        plane: Finite values of any shape; a plane of one value has its own level.
    """
    inside = plane[plane > plane.min()]
    return grey_levels(inside if inside.size else plane)
