"""Windows: which values are shown as black, grey and white.

Source: DICOM PS3.3, sections C.11.2.1.1 (VOI LUT) and C.11.2.1.2.1 (LINEAR).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from medloom.errors import InputError
from medloom.imaging.types import DisplayTable, Image

__all__ = ["Window", "apply_window"]

Window = tuple[float, float] | Literal["file", "auto"] | None

_ROWS_AT_A_TIME = 256


def apply_window(image: Image, window: Window) -> Image:
    """Cut the values of an image to a window and scale them to 0 to 1.

    Values up to ``centre - 0.5 - (width - 1) / 2`` become 0 and those above ``centre - 0.5 + (width - 1) / 2`` become
    1; a width of 1 is a threshold.

    Args:
        image: A decoded image; each channel is cut alike.
        window: Centre and width in the image's values (HU for CT), ``"file"`` for what the file suggests (its lookup
            table where it has one, else its first window), ``"auto"`` for the same, else for all values that the file
            could hold (`Image.value_range`), or None for the whole range: the image comes back as it is. So it does
            under ``"auto"`` where it is of all 8 bits, or where the file says nothing of these.

    Returns:
        The image in float32, 0 to 1, if it was cut; it has no window any more.

    Raises:
        InputError: If the file suggests nothing, or the width is below 1.

    Example:
        >>> image = Image(np.array([[[-160.0], [40.0], [240.0]]], np.float32), "dicom")
        >>> apply_window(image, (40, 400)).pixels.round(2).ravel().tolist()
        [0.0, 0.5, 1.0]

    Source: DICOM PS3.3, section C.11.2.1.2.1.
    """
    if window == "auto":
        return _by_what_the_file_says(image)
    if window is None:
        return image
    if window == "file" and image.table is not None:
        return _by_table(image, image.table)
    centre, width = _of_file(image) if window == "file" else window
    if not (np.isfinite(centre) and np.isfinite(width) and width >= 1):
        raise InputError(f"a window has a finite centre and a width of at least 1; the width is {width:g}")
    pixels = np.empty(image.pixels.shape, np.float32)
    for top in range(0, len(pixels), _ROWS_AT_A_TIME):
        rows = slice(top, top + _ROWS_AT_A_TIME)
        offset = image.pixels[rows].astype(np.float64) - (centre - 0.5)
        if width == 1:
            pixels[rows] = offset > 0
        else:
            pixels[rows] = (offset / (width - 1) + 0.5).clip(0, 1)
    return replace(
        image, pixels=pixels, window=None, table=None, notes=(*image.notes, f"window {centre:g}/{width:g} applied")
    )


def _by_what_the_file_says(image: Image) -> Image:
    if image.pixels.dtype == np.uint8 and image.value_range is None:
        return image
    if image.table is not None or image.window is not None:
        return apply_window(image, "file")
    return image if image.value_range is None else _by_range(image, *image.value_range)


def _by_range(image: Image, low: float, high: float) -> Image:
    """What the file could hold becomes 0 to 1; damage and interpolation may lie beyond."""
    pixels = np.empty(image.pixels.shape, np.float32)
    for top in range(0, len(pixels), _ROWS_AT_A_TIME):
        rows = slice(top, top + _ROWS_AT_A_TIME)
        pixels[rows] = ((image.pixels[rows].astype(np.float64) - low) / (high - low)).clip(0, 1)
    notes = (*image.notes, f"scaled from {low:g} to {high:g}, which its stored bits can hold")
    return replace(image, pixels=pixels, value_range=None, notes=notes)


def _by_table(image: Image, table: DisplayTable) -> Image:
    pixels = np.empty(image.pixels.shape, np.float32)
    for top in range(0, len(pixels), _ROWS_AT_A_TIME):
        rows = slice(top, top + _ROWS_AT_A_TIME)
        places = (image.pixels[rows].astype(np.float64) - table.first).round().clip(0, len(table.entries) - 1)
        pixels[rows] = table.entries[places.astype(np.int64)]
    notes = (*image.notes, "lookup table of the file applied")
    return replace(image, pixels=pixels, window=None, table=None, notes=notes)


def _of_file(image: Image) -> tuple[float, float]:
    if image.window is None:
        raise InputError("the file suggests no window. Give the window as centre and width, or none.")
    return image.window
