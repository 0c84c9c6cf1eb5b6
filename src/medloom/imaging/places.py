"""Where the frames of a DICOM file lie in the patient.

Source: DICOM PS3.3, sections C.7.6.2 (Image Plane), C.7.6.16.2.3 (Plane Position), C.7.6.1.1.1 (Patient Orientation).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError
from medloom.imaging.dicom_display import FrameGroups
from medloom.imaging.dicom_image import OpenImage
from medloom.imaging.geometry import Affine, Grid, axis_codes

__all__ = ["SAME_DIRECTION", "Place", "directions_of", "frame_places", "grids_of", "place_of", "placed"]

SAME_DIRECTION = 1e-3

_MOST_MM = 1e6  # a kilometre; what is farther away is no place in a patient
_LETTERS = re.compile(r"[LRAPHF]{1,3}")
_AXES = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
_AS_IN_NIFTI = {"H": "S", "F": "I"}
_CANNOT = "the place or orientation that the file states is impossible and was not used"

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where a frame lies in the patient; holds no pixels and nothing that says whose they are.

    Args:
        size: Rows and columns.
        row_cosines: Direction in which columns are counted.
        column_cosines: Direction in which rows are counted.
        position: Of the first pixel, in millimetres.
        spacing_mm: Between rows and between columns.
        thickness_mm: Distance to the next slice, or thickness of this one, as the file says; None if it does not.
    """

    size: tuple[int, int]
    row_cosines: _Vector
    column_cosines: _Vector
    position: _Vector
    spacing_mm: tuple[float, float]
    thickness_mm: float | None

    @property
    def normal(self) -> _Vector:
        """Direction in which slices are counted."""
        return np.cross(self.row_cosines, self.column_cosines)

    @property
    def grid(self) -> Grid:
        """The one slice in the patient; 1 mm thick where the file does not say."""
        thick = self.thickness_mm is not None and 0 < self.thickness_mm < _MOST_MM
        step = self.normal * (self.thickness_mm if thick and self.thickness_mm else 1.0)
        return Grid(self.affine(step), (self.size[1], self.size[0], 1))

    def affine(self, step: _Vector) -> Affine:
        """Return the matrix from (column, row, slice) to RAS+ millimetres.

        Args:
            step: From one slice to the next; as everything here in DICOM's axes: to the left, the back and the head.
        """
        row_mm, column_mm = self.spacing_mm
        affine = np.eye(4)
        affine[:3, 0] = self.row_cosines * column_mm
        affine[:3, 1] = self.column_cosines * row_mm
        affine[:3, 2] = step
        affine[:3, 3] = self.position
        affine[:2] *= -1
        return affine + 0.0  # no zeros with a sign


def place_of(opened: OpenImage, frame: int) -> Place:
    """Return where a frame of a file lies.

    Raises:
        DecodeError: If the file does not say, or says what is impossible.
    """
    groups = opened.groups(frame)
    row_cosines, column_cosines = _cosines(groups)
    position = _numbers(groups.decimals("PlanePositionSequence", "ImagePositionPatient"), 3, "position")
    row_mm, column_mm = _numbers(groups.decimals("PixelMeasuresSequence", "PixelSpacing"), 2, "pixel spacing")
    if not 0 < min(row_mm, column_mm) <= max(row_mm, column_mm) < _MOST_MM or np.abs(position).max() > _MOST_MM:
        raise DecodeError("corrupt", "its orientation or spacing is impossible")
    thickness = groups.decimals("PixelMeasuresSequence", "SpacingBetweenSlices") or groups.decimals(
        "PixelMeasuresSequence", "SliceThickness"
    )
    size, spacing_mm = (opened.module.rows, opened.module.columns), (float(row_mm), float(column_mm))
    return Place(size, row_cosines, column_cosines, position, spacing_mm, thickness[0] if thickness else None)


def frame_places(opened: OpenImage) -> list[Place]:
    """Return where each frame of a file lies.

    Raises:
        DecodeError: If the file does not say, or has colours.
    """
    return [placed(opened, frame) for frame in range(opened.module.frames)]


def placed(opened: OpenImage, frame: int) -> Place:
    """Return where a frame lies that is to be a slice of a volume.

    Raises:
        DecodeError: If the file does not say, or has colours.
    """
    if not opened.module.grey:
        raise DecodeError("unsupported", "it has colours; a volume has levels of grey")
    return place_of(opened, frame)


def grids_of(opened: OpenImage) -> tuple[Grid, ...]:
    """Return where each frame of a file lies; empty where one does not say."""
    try:
        return tuple(place_of(opened, frame).grid for frame in range(opened.module.frames))
    except DecodeError:
        return ()


def directions_of(opened: OpenImage, frame: int, notes: list[str]) -> tuple[Affine | None, tuple[str, str] | None]:
    """Return the affine of a frame, or where it has none, the directions of its columns and rows alone.

    Args:
        opened: The file.
        frame: Which frame, counted from 0.
        notes: Gets one where what the file says is impossible.

    Returns:
        The affine, or None; and where it is None the directions that a file without position states, as letters.
    """
    groups = opened.groups(frame)
    for read in (_affine, _orientation, _patient_orientation):
        try:
            found = read(opened, frame, groups)
        except _UnstatedError:
            continue
        except DecodeError:
            if _CANNOT not in notes:
                notes.append(_CANNOT)
            continue
        return (None, found) if isinstance(found, tuple) else (found, None)
    return None, None


class _UnstatedError(DecodeError):
    """The file does not say."""


def _affine(opened: OpenImage, frame: int, groups: FrameGroups) -> Affine:
    return place_of(opened, frame).grid.affine


def _orientation(opened: OpenImage, frame: int, groups: FrameGroups) -> tuple[str, str]:
    """The directions of the columns and the rows, of a frame that has no place."""
    row_cosines, column_cosines = _cosines(groups)
    axes = np.stack([row_cosines, column_cosines, np.cross(row_cosines, column_cosines)], axis=1)
    column, row, _ = axis_codes(axes * [[-1.0], [-1.0], [1.0]])
    return column, row


def _patient_orientation(opened: OpenImage, frame: int, groups: FrameGroups) -> tuple[str, str]:
    """The directions that a radiograph states; of several letters the first, which is the nearest, is taken."""
    text = groups.data_set.text("PatientOrientation")
    if not text.strip("\\ "):
        raise _UnstatedError("corrupt", "it has no patient orientation")
    letters = [_first_letter(part.strip()) for part in text.split("\\")]
    if len(letters) != 2 or len({_AXES.get(letter) for letter in letters} - {None}) != 2:
        raise DecodeError("corrupt", "its patient orientation is impossible")
    return letters[0], letters[1]


def _first_letter(text: str) -> str:
    return _AS_IN_NIFTI.get(text[0], text[0]) if _LETTERS.fullmatch(text) else ""


def _cosines(groups: FrameGroups) -> tuple[_Vector, _Vector]:
    both = _numbers(groups.decimals("PlaneOrientationSequence", "ImageOrientationPatient"), 6, "orientation")
    row, column = both[:3], both[3:]
    with np.errstate(over="ignore"):
        products = np.array([row @ row, column @ column, 1 + row @ column])
        if not np.abs(products - 1).max() <= 10 * SAME_DIRECTION:
            raise DecodeError("corrupt", "its orientation or spacing is impossible")
    return row, column


def _numbers(found: tuple[float, ...], count: int, what: str) -> _Vector:
    if not found:
        raise _UnstatedError("corrupt", f"it has no {what}")
    if len(found) != count:
        raise DecodeError("corrupt", f"its {what} has {len(found)} numbers")
    return np.array(found)
