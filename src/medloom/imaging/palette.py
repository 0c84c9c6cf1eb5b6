"""Palettes: which colour an index stands for."""

from __future__ import annotations

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.types import Pixels

__all__ = ["channels_of", "expanded"]


def channels_of(colours: Pixels) -> int:
    """Return 1 for a palette (n, 3) of greys alone, else 3."""
    return 1 if (colours == colours[:, :1]).all() else 3


def expanded(indices: Pixels, colours: Pixels) -> Pixels:
    """Return the colours of indices.

    Args:
        indices: Array (H, W, 1).
        colours: Array (n, 3).

    Returns:
        Array (H, W, 1) where the palette has greys alone, else (H, W, 3).

    Raises:
        DecodeError: ``corrupt`` for an index that has no colour.
    """
    highest = int(indices.max())
    if highest >= len(colours):
        raise DecodeError("corrupt", f"a pixel has colour {highest} of {len(colours)}", field="palette")
    found: Pixels = np.ascontiguousarray(colours[:, : channels_of(colours)])[indices[..., 0]]
    return found
