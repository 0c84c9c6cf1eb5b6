"""Voxels of one grid in the order of another that is the same, stored otherwise. Nothing is interpolated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.imaging.geometry import Grid, find_match, found_at
from medloom.imaging.nifti_header import NO_SPACING
from medloom.imaging.types import Volume

__all__ = ["brought_to", "known_grid", "known_spacing", "painted_on", "reaching"]

_MOST_SLICES = 20_000


def brought_to(voxels: NDArray[Any], grid: Grid, onto: Grid) -> NDArray[Any] | None:
    """Return voxels in the order of another grid: axes are exchanged and turned round, and no value changes.

    Args:
        voxels: (D, H, W): slice, row, column.
        grid: Where they lie.
        onto: Where they are to lie.

    Returns:
        (D, H, W) of the other grid, or None if the grids are not the same: voxels of another size, at other places, or
        more or fewer of them.

    Example:
        >>> turned = np.diag([-1.0, 1.0, 1.0, 1.0])
        >>> turned[0, 3] = 2.0
        >>> brought_to(np.array([[[0, 1, 2]]]), Grid(np.eye(4), (3, 1, 1)), Grid(turned, (3, 1, 1))).tolist()
        [[[2, 1, 0]]]
    """
    matches = [find_match(onto.plane(number), grid) for number in range(onto.sides[2])]
    planes = [match.cut(voxels) for match in matches if match is not None]
    if len(planes) < len(matches) or np.prod(grid.sides) != np.prod(onto.sides):
        return None
    return np.stack(planes)


def painted_on(voxels: NDArray[Any], grid: Grid, onto: Grid) -> NDArray[Any] | None:
    """Return voxels in the order of another grid that may have more slices, zero where they have none.

    Args:
        voxels: (D, H, W): slice, row, column; slices that are zero may lie outside of the other grid.
        grid: Where they lie.
        onto: Where they are to lie.

    Returns:
        (D, H, W) of the other grid, or None if a slice that is not zero is none of the other grid's planes.
    """
    columns, rows, depth = onto.sides
    found = np.zeros((depth, rows, columns), voxels.dtype)
    for number in np.flatnonzero(voxels.any(axis=(1, 2))).tolist():
        match = find_match(grid.plane(number), onto)
        if match is None:
            return None
        match.put(voxels[number], found)
    return found


def reaching(grid: Grid, other: Grid) -> Grid:
    """Return a grid with as many more slices at both ends as the slices of another one need, if they are parallel."""
    numbers = [0, grid.sides[2] - 1]
    for number in (0, other.sides[2] - 1):
        place = found_at(other.plane(number), grid)[2, 3]
        if abs(place) < _MOST_SLICES:
            numbers.append(round(float(place)))
    first, last = min(numbers), max(numbers)
    return Grid(grid.plane(first).affine, (*grid.sides[:2], last - first + 1))


def known_grid(volume: Volume) -> Grid | None:
    """Return where the voxels of a volume lie in the patient, or None where the file does not state it."""
    if not volume.oriented:
        return None
    depth, height, width = volume.voxels.shape
    return Grid(volume.affine, (width, height, depth))


def known_spacing(volume: Volume) -> tuple[float, float, float] | None:
    """Return the distance of slices, rows and columns in mm, or None where the file does not state all of them."""
    return None if NO_SPACING in volume.notes else volume.spacing_mm
