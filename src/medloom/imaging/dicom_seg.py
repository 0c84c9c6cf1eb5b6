"""DICOM segmentations: frames of segments put together to one value for each voxel, the number of its segment.

Frames that hold nothing are left out of such files, so their slices may have gaps, and begin and end where the
segments do: all that is not there is background.

Pixels are taken as they are stored, since they are numbers of segments and no levels of grey: a label map calls its
background by the value of padding, and may have a palette to be drawn with.

Source: DICOM PS3.3, sections A.51 and C.8.20 (Segmentation); Supplement 243 (Label Map).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError
from medloom.imaging.checks import check_encoded, guard
from medloom.imaging.dicom_frames import read_frame
from medloom.imaging.dicom_image import OpenImage, open_image
from medloom.imaging.dicom_segments import segments_of, values_by_name
from medloom.imaging.geometry import Grid
from medloom.imaging.places import SAME_DIRECTION, Place, place_of
from medloom.imaging.registry import sniff
from medloom.imaging.types import DEFAULT_BUDGET, FILE_BUDGET, Budget

__all__ = ["SEGMENTATIONS", "SEGMENTATION_BUDGET", "Segmentation", "is_segmentation", "read_segmentation"]

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Classes of such files: Segmentation Storage, and Label Map Segmentation Storage."""

SEGMENTATION_BUDGET = replace(FILE_BUDGET, max_frames=20_000)
"""What a file may cost that has a frame for each slice of each segment."""

_LABEL_MAP = "LABELMAP"
_SAME_PLACE_MM = 0.01
_UNEVEN = 0.1
"""A slice may be this share of a step beside its place: positions are written with few digits."""

_UNEVEN_PART = 0.02
_MOST_PARTS = 4
_MOST_SLICES = 20_000
_MOST_BYTES = 2 * 2**30

Values = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The segments of a file; beyond its slices there is background as well.

    Args:
        values: (D, H, W) uint16: the number of the segment of each voxel, or the value of its name; 0 where there is
            none.
        grid: Where they lie in the patient.
        left_out: How many segments the file describes that are called by none of the names; 0 where none were given.
    """

    values: Values
    grid: Grid
    left_out: int = 0


def read_segmentation(
    data: bytes, *, named: Mapping[str, int] | None = None, budget: Budget = DEFAULT_BUDGET
) -> Segmentation | None:
    """Read a DICOM segmentation, BINARY or LABELMAP.

    Args:
        data: The encoded file.
        named: Value of each segment by its name, see `Segment.called`; segments of other names are left out. None takes
            the numbers of all segments.
        budget: What it may cost; a file has a frame for each slice of each segment.

    Returns:
        The segments; None for any other file.

    Raises:
        DecodeError: If it is damaged, fractional, segments that are read overlap, or its frames are no slices of one
            volume.
    """
    check_encoded(data, budget)
    if sniff(data) != "dicom":
        return None
    with guard("dicom"):
        opened = open_image(data, budget)
        if opened.file.data_set.text("SOPClassUID") not in SEGMENTATIONS:
            return None
        kind = _kind(opened)
        if named is None:
            return _put_together(opened, kind, None)
        described = segments_of(opened.file.data_set)
        if kind == _LABEL_MAP:
            described.pop(_background(opened), None)
        values = values_by_name(described, named)
        told = {number: values.get(number, 0) for number in described}
        return replace(_put_together(opened, kind, told), left_out=len(told.keys() - values.keys()))


def is_segmentation(data: bytes, *, budget: Budget = SEGMENTATION_BUDGET) -> bool:
    """Return whether a file is a DICOM segmentation of any kind.

    Raises:
        DecodeError: If it is DICOM and damaged, or over the budget.
    """
    check_encoded(data, budget)
    if sniff(data) != "dicom":
        return False
    with guard("dicom"):
        return open_image(data, budget).file.data_set.text("SOPClassUID") in SEGMENTATIONS


def _kind(opened: OpenImage) -> str:
    kind = opened.file.data_set.text("SegmentationType")
    if kind not in ("BINARY", _LABEL_MAP):
        raise DecodeError(
            "unsupported", f"the segmentation is {kind or 'of no type'}; expected BINARY or LABELMAP",
            field="SegmentationType", hint="Decide from which fraction on a voxel is in the segment.",
        )  # fmt: skip
    return kind


def _put_together(opened: OpenImage, kind: str, told: Mapping[int, int] | None) -> Segmentation:
    if opened.module.samples != 1:
        raise DecodeError("unsupported", "the segmentation has colours; expected numbers of segments in its pixels")
    places = [place_of(opened, frame) for frame in range(opened.module.frames)]
    numbers, grid = _slices(places)
    columns, rows, depth = grid.sides
    if 2 * columns * rows * depth > _MOST_BYTES:
        raise DecodeError("too_large", f"the segmentation would decode to {depth}x{rows}x{columns} voxels")
    values = np.zeros((depth, rows, columns), np.uint16)
    for frame, number in enumerate(numbers):
        segment = _segment(opened, frame, kind)
        if told is None or not segment or _told(segment, told):
            found = _valued(_stored(opened, frame, kind), segment, told)
            _add(values[number], found, united=told is not None)
    return Segmentation(values, grid)


def _stored(opened: OpenImage, frame: int, kind: str) -> NDArray[Any]:
    """The pixels of a frame as they are stored, 0 for background."""
    stored, _ = read_frame(opened.file, opened.module, frame)
    if stored.shape != (opened.module.rows, opened.module.columns, 1):
        raise DecodeError("corrupt", "a frame of the segmentation is not of the size that its header says")
    pixels: NDArray[Any] = stored[..., 0]
    background = _background(opened) if kind == _LABEL_MAP else 0
    return np.where(pixels == background, pixels.dtype.type(0), pixels) if background else pixels


def _background(opened: OpenImage) -> int:
    """The value of pixels that are in no segment: that of padding in a label map, 0 where it names none."""
    return opened.file.data_set.integer("PixelPaddingValue", 0)


def _segment(opened: OpenImage, frame: int, kind: str) -> int:
    """The number by which the frame's segment is known; 0 where the pixels say it themselves."""
    if kind == _LABEL_MAP:
        return 0
    number = opened.groups(frame).find("SegmentIdentificationSequence", "ReferencedSegmentNumber")
    return number.integer("ReferencedSegmentNumber")


def _told(segment: int, told: Mapping[int, int]) -> int:
    """The value of a segment, 0 for one that is left out; one that the file does not describe may be anything."""
    if segment not in told:
        raise DecodeError("corrupt", f"segment {segment} is nowhere described", field="SegmentNumber")
    return told[segment]


def _valued(pixels: NDArray[Any], segment: int, told: Mapping[int, int] | None) -> Values:
    """The values of a frame of one segment, or of a map of several; 0 where none is told."""
    if segment:
        return np.where(pixels != 0, np.uint16(segment if told is None else told[segment]), np.uint16(0))
    if told is None:
        return pixels.astype(np.uint16)
    found = np.zeros(pixels.shape, np.uint16)
    for number in np.unique(pixels[pixels != 0]).tolist():
        _told(number, told)
    for number, value in told.items():
        found[pixels == number] = value
    return found


def _add(plane: Values, found: Values, *, united: bool) -> None:
    """Join a frame to its slice; segments of one name may overlap where they are united."""
    here = found != 0
    if (here & (plane != 0) & (plane != found if united else here)).any():
        raise DecodeError(
            "unsupported", "segments overlap, or a slice of one comes twice; a voxel can have one value",
            field="ReferencedSegmentNumber", hint="Write segments that overlap to files of their own.",
        )  # fmt: skip
    plane[here] = found[here]


def _slices(places: Sequence[Place]) -> tuple[list[int], Grid]:
    """Return the number of the slice of each frame, and the grid of all slices."""
    first = places[0]
    if any(not _alike(place, first) for place in places):
        raise DecodeError("unsupported", "frames of the segmentation have several sizes, spacings or orientations")
    heights = np.array([float(place.position @ first.normal) for place in places])
    lowest = places[int(heights.argmin())]
    step_mm = _step_mm(np.unique(heights), first.thickness_mm)
    steps = (heights - heights.min()) / step_mm
    numbers = np.rint(steps).astype(np.int64)
    step = step_mm * first.normal
    off_mm = [
        np.abs(place.position - lowest.position - number * step).max()
        for place, number in zip(places, numbers, strict=True)
    ]
    if np.abs(steps - numbers).max() > _UNEVEN or max(off_mm) > max(_UNEVEN * step_mm, _SAME_PLACE_MM):
        raise DecodeError("unsupported", "the slices of the segmentation are unevenly far apart or stacked at a slant")
    depth = int(numbers.max()) + 1
    if depth > _MOST_SLICES:
        raise DecodeError("too_large", f"the segmentation spans {depth} slices; at most {_MOST_SLICES} are read")
    rows, columns = first.size
    return numbers.tolist(), Grid(lowest.affine(step), (columns, rows, depth))


def _alike(place: Place, first: Place) -> bool:
    return (
        place.size == first.size
        and np.allclose(place.spacing_mm, first.spacing_mm, rtol=SAME_DIRECTION)
        and np.allclose(place.row_cosines, first.row_cosines, atol=SAME_DIRECTION)
        and np.allclose(place.column_cosines, first.column_cosines, atol=SAME_DIRECTION)
    )


def _step_mm(heights: NDArray[np.float64], stated_mm: float | None) -> float:
    """Return the distance of slices, of which all gaps are multiples: as stated, else a part of the smallest gap."""
    gaps = np.diff(heights)
    gaps = gaps[gaps > _SAME_PLACE_MM]
    if not len(gaps):
        return stated_mm or 1.0
    smallest = float(gaps.min())
    if stated_mm and stated_mm > _SAME_PLACE_MM and _multiples(gaps / stated_mm, _UNEVEN):
        return stated_mm
    parts = (smallest / part for part in range(1, _MOST_PARTS + 1))
    return next((step for step in parts if _multiples(gaps / step, _UNEVEN_PART)), smallest)


def _multiples(steps: NDArray[np.float64], tolerance: float) -> bool:
    whole = np.rint(steps)
    return bool((np.abs(steps - whole) <= tolerance).all() and whole.min() >= 1)
