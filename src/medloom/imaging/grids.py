"""Voxels of one grid in the order of another that is the same, stored otherwise. Nothing is interpolated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["brought_to"]

_TOLERANCE = 0.1
"""Two grids are the same if no corner of one is farther than this share of a voxel from its place in the other."""

Affine = NDArray[np.float64]


def brought_to(voxels: NDArray[Any], affine: Affine, onto: Affine, shape: tuple[int, int, int]) -> NDArray[Any] | None:
    """Return voxels in the order of another grid: axes are exchanged and turned round, and no value changes.

    Args:
        voxels: (D, H, W): slice, row, column.
        affine: Takes (column, row, slice, 1) of them to millimetres in the patient.
        onto: The same of the other grid.
        shape: (D, H, W) of the other grid.

    Returns:
        A view of ``voxels`` with that shape, or None if the grids are not the same: voxels of another size, at other
        places, or more or fewer of them.

    Example:
        >>> voxels = np.arange(3).reshape(1, 1, 3)
        >>> turned = np.diag([-1.0, 1.0, 1.0, 1.0])
        >>> turned[0, 3] = 2.0
        >>> brought_to(voxels, np.eye(4), turned, (1, 1, 3)).tolist()
        [[[2, 1, 0]]]
    """
    matrix = np.asarray(np.linalg.solve(affine, onto), np.float64)  # from (column, row, slice, 1) there to here
    steps = np.rint(matrix[:3, :3])
    if (np.abs(steps).sum(axis=0) != 1).any() or (np.abs(steps).sum(axis=1) != 1).any():
        return None
    axes = np.abs(steps).argmax(axis=0)  # by axis there, which one it is here; column first
    signs = steps[axes, range(3)]
    moved = voxels.transpose([2 - int(axis) for axis in axes[::-1]])
    moved = moved[tuple(slice(None, None, int(sign)) for sign in signs[::-1])]
    return moved if moved.shape == shape and _agree(matrix, steps, axes, signs, shape) else None


def _agree(matrix: Affine, steps: Affine, axes: NDArray[np.intp], signs: Affine, shape: tuple[int, int, int]) -> bool:
    """Whether every corner there lies on the corner here that it was taken for."""
    sides = np.array(shape[::-1], np.float64)
    corners = np.array(np.meshgrid(*((0.0, side - 1) for side in sides))).reshape(3, -1)
    start = np.zeros(3)
    start[axes] = np.where(signs < 0, sides - 1, 0.0)
    off = (matrix[:3, :3] - steps) @ corners + (matrix[:3, 3] - start)[:, np.newaxis]
    return bool(np.abs(off).max() <= _TOLERANCE)
