"""The one orientation in which networks see images: that in which radiologists look at them.

Axial: columns to the patient's left, rows to the back. Coronal: columns to the left, rows to the feet. Sagittal:
columns to the back, rows to the feet. Pixels are moved, never interpolated; an oblique image counts as the
nearest of these.

Source: DICOM PS3.3, section C.7.6.1.1.1, and the hanging that workstations use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medloom.errors import InputError
from medloom.imaging.geometry import axis_codes
from medloom.imaging.grids import known_grid
from medloom.imaging.nifti_header import NO_SPACING
from medloom.imaging.types import DisplayTable, Image, Volume

__all__ = [
    "AS_STORED",
    "PLANES",
    "Orientation",
    "Plane",
    "Turn",
    "along",
    "cut_axis",
    "plane_of",
    "slice_of",
    "turn_of",
    "turned",
]

Plane = Literal["axial", "coronal", "sagittal"]
Orientation = Literal["axial", "coronal", "sagittal", "any"]
"""What a model takes: images of one plane, or of several, each as it is looked at."""

PLANES: tuple[Plane, ...] = get_args(Plane)

_WORLD = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
_ACROSS: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""By the axis of the patient that crosses it."""

_SHOWN_APART = "its slices are to be shown differently, which says nothing of slices along another plane"
_TOWARDS = frozenset("LPI")
"""Where columns and rows go; columns are the earlier of the two."""


@dataclass(frozen=True)
class Turn:
    """What brings a plane into the orientation that networks see.

    Args:
        transposed: Whether rows and columns are exchanged, first.
        rows: Whether rows are turned round after that.
        columns: Whether columns are.
    """

    transposed: bool = False
    rows: bool = False
    columns: bool = False

    def apply(self, plane_hw: NDArray[Any]) -> NDArray[Any]:
        """Return an array (H, W, ...) in that orientation; a view."""
        straight = plane_hw.swapaxes(0, 1) if self.transposed else plane_hw
        return straight[:: -1 if self.rows else 1, :: -1 if self.columns else 1]

    def undo(self, plane_hw: NDArray[Any]) -> NDArray[Any]:
        """Return an array (H, W, ...) of that orientation as it was; a view."""
        straight = plane_hw[:: -1 if self.rows else 1, :: -1 if self.columns else 1]
        return straight.swapaxes(0, 1) if self.transposed else straight


AS_STORED = Turn()
"""Of images that do not say how they are oriented."""


def plane_of(axes: Sequence[str]) -> Plane:
    """Return the plane of an image by the directions of its columns and rows.

    Example:
        >>> plane_of(("P", "I")), plane_of("RA")
        ('sagittal', 'axial')
    """
    (across,) = {0, 1, 2} - {_WORLD[axes[0]], _WORLD[axes[1]]}
    return _ACROSS[across]


def turned(image: Image, orientation: Orientation | None) -> tuple[Image, Turn]:
    """Bring an image into the orientation in which a network sees it.

    Args:
        image: As decoded.
        orientation: Which planes the network takes; None for images as they are stored.

    Returns:
        The image, and what was done with it. One that does not say how it is oriented comes back as it is.

    Raises:
        InputError: If it is of another plane.
    """
    if orientation is None or image.axes is None:
        return image, AS_STORED
    found = plane_of(image.axes)
    if orientation not in ("any", found):
        raise InputError(
            f"the image is a {found} slice; expected {orientation} ones. Of a volume stored otherwise, give the whole "
            f"file without a page: it is cut into {orientation} slices"
        )
    turn = turn_of(image.axes)
    if turn == AS_STORED:
        return image, turn
    return _in_orientation(image, turn), turn


def turn_of(axes: tuple[str, str]) -> Turn:
    """Return what brings an image into the orientation that networks see, by the directions of its columns and rows."""
    transposed = _WORLD[axes[0]] > _WORLD[axes[1]]
    column, row = reversed(axes) if transposed else axes
    return Turn(transposed, rows=row not in _TOWARDS, columns=column not in _TOWARDS)


def _in_orientation(image: Image, turn: Turn) -> Image:
    pixels = np.ascontiguousarray(turn.apply(image.pixels))
    spacing, affine, directions = image.spacing_mm, image.affine, image.directions
    if turn.transposed:
        spacing = spacing and (spacing[1], spacing[0])
        affine = None if affine is None else affine[:, [1, 0, 2, 3]]
        directions = directions and (directions[1], directions[0])
    height, width = pixels.shape[:2]
    flip = np.eye(4)
    for axis, back, side in ((0, turn.columns, width), (1, turn.rows, height)):
        if back:
            flip[axis, axis], flip[axis, 3] = -1.0, side - 1.0
    return replace(
        image, pixels=pixels, spacing_mm=spacing, affine=None if affine is None else affine @ flip,
        directions=directions and _opposite(directions, turn),
    )  # fmt: skip


def _opposite(directions: tuple[str, str], turn: Turn) -> tuple[str, str]:
    back = dict(zip("LRPASI", "RLAPIS", strict=True))
    column, row = directions
    return back[column] if turn.columns else column, back[row] if turn.rows else row


def cut_axis(codes: Sequence[str], plane: Plane) -> int:
    """Return along which axis of a volume its slices of a plane are counted: 0 columns, 1 rows, 2 slices.

    Args:
        codes: Directions of columns, rows and slices.
        plane: The plane.
    """
    across = _ACROSS.index(plane)
    return next(axis for axis, code in enumerate(codes) if _WORLD[code] == across)


def along(volume: Volume, orientation: Orientation | None) -> tuple[Volume, int]:
    """Cut a volume into slices of the plane that a network takes.

    Args:
        volume: As decoded.
        orientation: The plane; None and ``any`` take the slices as they are stored.

    Returns:
        The volume, a view whose slices are of that plane; and the axis of ``voxels`` that they are counted along, so
        that ``np.moveaxis(array, 0, axis)`` brings an array of its shape back to that of the volume.
    """
    if orientation is None or orientation == "any" or not volume.oriented:
        return volume, 0
    axis = cut_axis(axis_codes(volume.affine), orientation)
    if axis == 2:
        return volume, 0
    order = [other for other in (0, 1, 2) if other != axis] + [axis]  # columns, rows, slices of what comes out
    affine = volume.affine[:, [*order, 3]]
    held, slices_anew = volume.value_range, volume.voxels.shape[2 - axis]
    spacing = tuple(volume.spacing_mm[2 - one] for one in reversed(order))
    slices, rows, columns = spacing
    windows = volume.windows[:1] if len(set(volume.windows)) == 1 else ()
    tables = volume.tables[:1] if len(set(map(_content, volume.tables))) == 1 else ()
    lost = (volume.windows and not windows) or (volume.tables and not tables)
    anew = replace(
        volume, voxels=np.moveaxis(volume.voxels, 2 - axis, 0), affine=affine, spacing_mm=(slices, rows, columns),
        plane_spacing_mm=(rows, columns) if volume.plane_spacing_mm and NO_SPACING not in volume.notes else None,
        windows=windows * slices_anew, tables=tables * slices_anew,
        value_ranges=() if held is None else (held,) * slices_anew,
        notes=(*volume.notes, _SHOWN_APART) if lost else volume.notes,
    )  # fmt: skip
    return anew, 2 - axis


def _content(table: DisplayTable | None) -> tuple[float, bytes] | None:
    return None if table is None else (table.first, table.entries.tobytes())


def slice_of(volume: Volume, number: int) -> Image:
    """Return a slice of a volume, counted from 0, as `decode` gives a page of a file."""
    grid, slices = known_grid(volume), len(volume.voxels)
    affine = None if grid is None else grid.plane(number).affine
    pixels = np.ascontiguousarray(volume.voxels[number])[..., np.newaxis]
    return Image(
        pixels, volume.format, volume.plane_spacing_mm, volume.notes, affine=affine, slices=slices,
        window=volume.windows[number] if volume.windows else None,
        table=volume.tables[number] if volume.tables else None,
        value_range=volume.value_ranges[number] if volume.value_ranges else None,
    )  # fmt: skip
