"""The eight orientations that TIFF and EXIF know."""

from __future__ import annotations

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging import tiff_ifd
from medloom.imaging.types import Pixels

__all__ = ["ORIENTATION_TAG", "exif_orientation", "flips", "orient", "swaps_axes"]

ORIENTATION_TAG = 274


def exif_orientation(exif: bytes) -> tuple[int, tuple[str, ...]]:
    """Read the orientation from an EXIF block; a block that cannot be read is passed over, and said.

    Args:
        exif: The block from its byte order on, or nothing.

    Returns:
        1 to 8, and what a careful reader should know.

    Source: EXIF 2.32, 4.6.4.
    """
    if not exif:
        return 1, ()
    try:
        file = tiff_ifd.open_file(exif)
        orientation = tiff_ifd.read_tags(file, file.first).integer(ORIENTATION_TAG, 1)
    except DecodeError:
        return 1, ("unreadable EXIF was ignored",)
    if 2 <= orientation <= 8:
        return orientation, ("EXIF orientation applied",)
    return 1, ()


def swaps_axes(orientation: int) -> bool:
    """Tell whether rows become columns."""
    return 5 <= orientation <= 8


def flips(orientation: int) -> tuple[bool, bool]:
    """Tell whether rows, and whether columns, are turned round once the axes are right."""
    return orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)


def orient(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored rows and columns into the picture as it is meant to be seen.

    Args:
        pixels: Array (H, W, C) as stored.
        orientation: Value of tag 274; 1 and values outside 2 to 8 mean "as stored".

    Returns:
        Array (H, W, C), or (W, H, C) for 5 to 8; contiguous.

    Source: TIFF 6.0, Orientation; EXIF 2.32, 4.6.4.
    """
    if swaps_axes(orientation):
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = flips(orientation)
    if rows:
        pixels = pixels[::-1]
    if columns:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
