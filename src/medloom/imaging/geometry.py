"""Where pixels lie in the patient: grids, their directions, and the pixels of one grid found in another.

Directions are letters, as nibabel writes them: R and L, A (front) and P (back), S (head) and I (feet).

Source: NIfTI-1 standard, "3D image (volume) orientation and location in space"; nibabel.orientations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOLERANCE", "Affine", "Grid", "Match", "axis_codes", "find_match", "found_at"]

Affine = NDArray[np.float64]
"""Matrix (4, 4) that takes ``(column, row, slice, 1)`` to millimetres, RAS+."""

TOLERANCE = 0.1
"""Two grids are the same if no corner of one is farther than this share of a voxel from its place in the other."""

_MOST_VOXELS = 2.0**31
_CODES = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels in the patient.

    Args:
        affine: Takes ``(column, row, slice, 1)`` to RAS+ millimetres.
        sides: Columns, rows and slices.
    """

    affine: Affine
    sides: tuple[int, int, int]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along columns, rows and slices."""
        column, row, step = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(column), float(row), float(step)

    def plane(self, number: int) -> Grid:
        """Return one of its slices, counted from 0."""
        affine = self.affine.copy()
        affine[:3, 3] += number * affine[:3, 2]
        return Grid(affine, (*self.sides[:2], 1))

    def __str__(self) -> str:
        """Return rows and columns, the spacing of rows, columns and slices, and the directions of columns first."""
        columns, rows, _ = self.sides
        column_mm, row_mm, step_mm = self.spacing_mm
        codes = "".join(axis_codes(self.affine))
        return f"{rows}x{columns} pixels of {row_mm:.4g}x{column_mm:.4g}x{step_mm:.4g} mm, {codes}"


@dataclass(frozen=True)
class Match:
    """Where the pixels of a plane are among the voxels of another grid.

    Args:
        start: Column, row and slice of the plane's first pixel.
        columns: The axis along which its columns run, 0 to 2 for column, row and slice; and 1, or -1 for backwards.
        rows: The same of its rows.
        size: Rows and columns of the plane.
    """

    start: tuple[int, int, int]
    columns: tuple[int, int]
    rows: tuple[int, int]
    size: tuple[int, int]

    @property
    def slice(self) -> int | None:
        """Which slice of the other grid holds the whole plane; None where it crosses all of them."""
        return None if 2 in (self.columns[0], self.rows[0]) else self.start[2]

    @property
    def moves(self) -> bool:
        """Whether a pixel has another row or column than in the other grid."""
        return (self.columns, self.rows) != ((0, 1), (1, 1))

    def cut(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """Take the plane out of voxels (slice, row, column); whatever else there is stays behind them.

        Args:
            voxels: (D, H, W, ...) of the other grid.

        Returns:
            (H, W, ...) of the plane, C-contiguous; every value is one of ``voxels``.
        """
        return np.ascontiguousarray(voxels[self._places()])

    def put(self, plane: NDArray[Any], voxels: NDArray[Any]) -> None:
        """Write a plane to where ``cut`` takes it from.

        Args:
            plane: (H, W, ...).
            voxels: (D, H, W, ...) of the other grid; changed.
        """
        voxels[self._places()] = plane

    def _places(self) -> tuple[NDArray[np.int64] | int, NDArray[np.int64] | int, NDArray[np.int64] | int]:
        """Slice, row and column in the other grid of each pixel."""
        height, width = self.size
        rows = np.arange(height) * self.rows[1]
        columns = np.arange(width) * self.columns[1]
        places: list[NDArray[np.int64] | int] = list(self.start)
        places[self.rows[0]] = (self.start[self.rows[0]] + rows)[:, None]
        places[self.columns[0]] = (self.start[self.columns[0]] + columns)[None, :]
        column, row, number = places
        return number, row, column


def axis_codes(affine: NDArray[Any]) -> tuple[str, str, str]:
    """Return the direction in which columns, rows and slices are counted, the nearest of the six.

    Args:
        affine: As of a `Grid`, or its upper left (3, 3).

    Example:
        >>> axis_codes(np.diag([-1.0, -1.0, 3.0, 1.0]))
        ('L', 'P', 'S')

    Source: nibabel.orientations.io_orientation.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(axes, full_matrices=False)
    turn = left @ right  # the nearest rotation; it is split among the axes, the clearest first
    codes = ["", "", ""]
    for axis in np.argsort(np.min(-(turn**2), axis=0), kind="stable"):
        world = int(np.argmax(np.abs(turn[:, axis])))
        codes[axis] = _CODES[world][int(turn[world, axis] > 0)]
        turn[world, :] = 0
    first, second, third = codes
    return first, second, third


def found_at(plane: Grid, other: Grid) -> NDArray[np.float64]:
    """Return the matrix (4, 4) from (column, row, 0, 1) of a plane to column, row and slice of another grid."""
    return np.asarray(np.linalg.solve(other.affine, plane.affine), np.float64)


def find_match(plane: Grid, other: Grid) -> Match | None:
    """Find a plane in a grid that is the same, stored otherwise: other directions, or another order of axes.

    Args:
        plane: Its first slice is looked for. If it has several, like the other, their steps must be those of the other.
        other: Where.

    Returns:
        Where it is; None if spacing, position, size or direction differ by more than ``TOLERANCE``.
    """
    matrix, (width, height, _) = found_at(plane, other), plane.sides
    nearest = np.rint(matrix)
    if not np.abs(nearest).max() < _MOST_VOXELS:
        return None
    steps = nearest[:3, :2].astype(np.int64)
    if np.abs(steps).sum() != 2 or (np.abs(steps).sum(axis=0) != 1).any() or np.abs(steps).sum(axis=1).max() != 1:
        return None
    corners = np.array([(x, y, 0, 1) for x in (0, width - 1) for y in (0, height - 1)], np.float64).T
    off = (matrix - np.hstack([nearest[:, :2], matrix[:, 2:3], nearest[:, 3:]])) @ corners
    if np.abs(off[:3]).max() > TOLERANCE or not _same_steps(matrix, plane, other):
        return None
    (columns, rows), start = (int(np.argmax(np.abs(one))) for one in steps.T), nearest[:3, 3].astype(np.int64)
    match = Match(
        (int(start[0]), int(start[1]), int(start[2])),
        (columns, int(steps[columns, 0])),
        (rows, int(steps[rows, 1])),
        (height, width),
    )
    return match if _covers(match, other) else None


def _same_steps(matrix: NDArray[np.float64], plane: Grid, other: Grid) -> bool:
    """Whether from one slice to the next it is one voxel of the other grid, where both are volumes."""
    if min(plane.sides[2], other.sides[2]) == 1:
        return True
    step = matrix[:3, 2]
    return bool(np.abs(np.abs(step) - (np.abs(step) > 0.5)).max() * (plane.sides[2] - 1) <= TOLERANCE)


def _covers(match: Match, other: Grid) -> bool:
    """Whether the plane is a whole plane of the other grid, no more and no less."""
    height, width = match.size
    for (axis, sign), count in ((match.columns, width), (match.rows, height)):
        if other.sides[axis] != count or match.start[axis] != (0 if sign > 0 else count - 1):
            return False
    (fixed,) = {0, 1, 2} - {match.columns[0], match.rows[0]}
    return 0 <= match.start[fixed] < other.sides[fixed]
