"""Padding: pixels of a frame that are no part of the picture, such as the corners around a round field of view.

A file names the value of its padding. Lossy compression changes it here and there, and smears it into the picture along
the border, so there padding is found as a region that reaches the border and whose values are near the one named or
beyond it.

Source: DICOM PS3.3, section C.7.5.1.1.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloom.imaging.dicom_elements import DataSet
from medloom.imaging.dicom_module import PixelModule
from medloom.imaging.types import Pixels
from medloom.metrics import label_components

__all__ = ["Padding", "find_padding", "is_lossy", "without_padding"]

_NEAR = 64  # of the range of values; noise of a compression that one can look at is less
_REACH = 24  # pixels: JPEG smears within a block of 8, wavelets farther
_REACH_SHARE = 8  # of the shorter side of the frame, at most

_Mask = NDArray[np.bool_]


class Padding:
    """Where pixels of a frame are padding, and where they may be smeared with it; both of the shape of the frame."""

    def __init__(self, inside: _Mask, smeared: _Mask | None = None) -> None:
        self.inside = inside
        self.smeared = smeared


def is_lossy(data_set: DataSet, *, syntax: bool) -> bool:
    """Whether pixels went through a compression that changes them, now (``syntax``) or before they were stored."""
    return syntax or data_set.text("LossyImageCompression") == "01"


def find_padding(stored: Pixels, data_set: DataSet, module: PixelModule, *, lossy: bool) -> Padding | None:
    """Return where a frame is padded, or None where the file names no padding value or there is none or nothing else.

    Args:
        stored: Stored values (H, W, 1).
        data_set: What names the value.
        module: Type of the values.
        lossy: Whether values may have changed since.
    """
    value, limit = (_named(data_set, module, kind) for kind in ("Value", "RangeLimit"))
    if len(value) != 1:
        return None
    low, high = sorted((value[0], (limit or value)[0]))
    exact: _Mask = (stored >= low) & (stored <= high) if value[0] == value[0] else np.isnan(stored)
    found = _region(stored, low, high) if lossy and not module.real else None
    found = found or Padding(exact)
    return found if found.inside.any() and not found.inside.all() else None


def without_padding(pixels: Pixels, padding: Padding) -> str:
    """Set padding to the smallest value of what is none, in place; return a note.

    Args:
        pixels: Values (H, W, 1) of the frame, in any type.
        padding: Where it is padded.
    """
    inside, smeared = padding.inside, padding.smeared
    if smeared is None:
        pixels[inside] = np.fmin.reduce(pixels[~inside])
        return "padding set to the smallest value"
    picture = pixels[~(inside | smeared)]
    low, high = picture.min(), picture.max()
    # Only towards the padding: what is bright at the border of the picture is not to be cut off.
    dark = pixels[inside].mean() < np.median(picture)
    pixels[smeared] = np.maximum(pixels[smeared], low) if dark else np.minimum(pixels[smeared], high)
    pixels[inside] = low
    return "padding, which lossy compression changed, found as a region and set to the smallest value"


def _named(data_set: DataSet, module: PixelModule, kind: str) -> tuple[float, ...]:
    """Return an attribute of padding in the type that pixels have."""
    if not module.real:
        return data_set.integers(f"PixelPadding{kind}", signed=module.signed)
    prefix = module.keyword.removesuffix("PixelData")
    return data_set.reals(f"{prefix}PixelPadding{kind}", module.allocated)


def _region(stored: Pixels, low: float, high: float) -> Padding | None:
    """Return the region of values near those of padding that reaches the border; None where there is none."""
    plane = stored[..., 0].astype(np.int64)
    slack = (int(plane.max()) - int(plane.min())) // _NEAR
    if np.median(plane) > high:
        near, beyond = plane <= high + slack, plane < low
    else:
        near, beyond = plane >= low - slack, plane > high
    seeds = near.copy()
    seeds[1:-1, 1:-1] = False
    labels, _ = label_components(near, corners=False)
    region = near & np.isin(labels, labels[seeds])
    reach = min(_REACH, min(plane.shape) // _REACH_SHARE)
    around = _widened(region, reach)
    inside = region | beyond
    if not region.any() or (around | inside).all():
        return None
    return Padding(inside[..., np.newaxis], (around & ~inside)[..., np.newaxis])


def _widened(region: _Mask, reach: int) -> _Mask:
    """Whether there is any of the region in the square that reaches so far from a pixel."""
    for axis in (0, 1):
        along = np.moveaxis(region, axis, 0)
        counts = np.cumsum(np.pad(along, ((reach + 1, reach), (0, 0))), axis=0, dtype=np.int32)
        region = np.moveaxis(counts[2 * reach + 1 :] > counts[: -2 * reach - 1], 0, axis)
    return region
