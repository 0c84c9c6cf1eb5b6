"""A DICOM segmentation as the mask of an image: the slice of it that lies where the image does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medloom.imaging import Image, Volume
from medloom.imaging.dicom_seg import Segmentation
from medloom.imaging.geometry import TOLERANCE, Grid, find_match, found_at

__all__ = ["LEFT_OUT", "as_volume", "lost_slices", "mask_on"]

LEFT_OUT = "segments of other names than those of the classes are left out"
"""A note of a mask."""

_BESIDE = "no frame of the segmentation lies on the image, so it holds nothing of it"


def mask_on(found: Segmentation, onto: Image, plane: Grid) -> Image | None:
    """Return the numbers of the segments at the pixels of an image.

    Slices that hold nothing are left out of such files, so an image beside the slices that are there is background.

    Args:
        found: The segmentation.
        onto: The image.
        plane: Where it lies in the patient.

    Returns:
        The mask; None if the segmentation lies on another grid than the image, or the image between its slices.
    """
    match = find_match(plane, found.grid)
    if match is None and not _is_beside(plane, found.grid):
        return None
    notes = (*(() if match is not None else (_BESIDE,)), *_left_out(found))
    values = np.zeros(onto.size, np.uint16) if match is None else match.cut(found.values)
    return Image(values[..., np.newaxis], "dicom", onto.spacing_mm, notes, affine=onto.affine, slices=onto.slices)


def as_volume(found: Segmentation) -> Volume:
    """Return a segmentation as a volume, to be resampled."""
    depth_mm, height_mm, width_mm = found.grid.spacing_mm[::-1]
    spacing_mm, plane_mm = (depth_mm, height_mm, width_mm), (height_mm, width_mm)
    return Volume(found.values, spacing_mm, found.grid.affine, "dicom", _left_out(found), plane_mm)


def lost_slices(found: Segmentation, planes: Sequence[Grid]) -> int:
    """Return how many slices with a segment lie on none of the images.

    Args:
        found: The segmentation.
        planes: Where the images lie.
    """
    held = set(np.flatnonzero(found.values.any(axis=(1, 2))).tolist())
    for plane in planes:
        match = find_match(plane, found.grid) if held else None
        if match is not None and match.slice is not None:
            held.discard(match.slice)
    return len(held)


def _left_out(found: Segmentation) -> tuple[str, ...]:
    return (LEFT_OUT,) if found.left_out else ()


def _is_beside(plane: Grid, grid: Grid) -> bool:
    """Whether a plane is pixel for pixel above or below the slices of a grid, not between two of them."""
    matrix = found_at(plane, grid)
    tilt: NDArray[np.float64] = np.abs(matrix[2, :2]) * plane.sides[:2]
    number, last = float(matrix[2, 3]), grid.sides[2] - 1
    if tilt.max() > TOLERANCE or not (number < -TOLERANCE or number > last + TOLERANCE):
        return False
    moved = plane.affine.copy()
    moved[:3, 3] += ((0 if number < 0 else last) - number) * grid.affine[:3, 2]
    return find_match(Grid(moved, plane.sides), grid) is not None
