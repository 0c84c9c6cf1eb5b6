"""DICOM series as volumes: slices ordered by where they lie in the patient, never by a name or a number.

Source: DICOM PS3.3, sections C.7.6.2 (Image Plane) and C.7.6.16.2.3 (Plane Position).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DataError, DecodeError
from medloom.imaging.checks import check_encoded, check_finite, guard
from medloom.imaging.dicom_image import OpenImage, open_image
from medloom.imaging.dicom_values import decode_frame
from medloom.imaging.places import SAME_DIRECTION, Place, frame_places, placed
from medloom.imaging.registry import sniff
from medloom.imaging.types import DEFAULT_BUDGET, Budget, DisplayTable, Image, Pixels, Volume

__all__ = [
    "MOST_VOLUME_BYTES",
    "SeriesSlice",
    "are_slices",
    "ordered_slices",
    "read_frames",
    "read_series",
    "series_uid",
    "why_no_volume",
]

MOST_VOLUME_BYTES = 4 * 2**30

_SAME_PLACE_MM = 1e-3
_EVEN_STEPS = 0.02  # share of a step: scanners write positions with few digits
_LEAST_MM = 0.01
_ROUNDED_MM = 0.1  # some programs write positions with one decimal: then two are this much off each other at most
_ROUNDED_STEPS = 0.5  # share of a step: that much is no rounding but a slice that is missing
_ROUNDING_DIGITS = 1e-4
_MAX_SHEAR = 0.01  # sideways over forwards, 0.6 degrees
_MOST_LISTED = 20
_MOST_IN_A_SENTENCE = 3

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SeriesSlice:
    """One frame of one file, and where it lies."""

    opened: OpenImage
    frame: int
    place: Place


@dataclass
class _Stack:
    """Slices as they are decoded one after the other."""

    voxels: Pixels
    notes: dict[str, None] = field(default_factory=dict)
    windows: list[tuple[float, float] | None] = field(default_factory=list)
    tables: list[DisplayTable | None] = field(default_factory=list)
    value_ranges: list[tuple[float, float] | None] = field(default_factory=list)


def read_series(
    files: Mapping[str, bytes] | Iterable[bytes],
    *,
    series: str | None = None,
    budget: Budget = DEFAULT_BUDGET,
    most_bytes: int = MOST_VOLUME_BYTES,
) -> Volume:
    """Read the slices of one series as a volume.

    Slices are ordered by their position along the normal of ImageOrientationPatient, from low to high. Their distances
    may differ by 2 %, or by 0.1 mm where all positions are written with one decimal; the mean is taken. Names of
    files and instance numbers are not looked at. Nothing is resampled or filled in: slices that are missing, doubled,
    of different sizes, or stacked at a slant are errors. Values are those of `decode`; no window is applied.

    Args:
        files: DICOM files of one frame or several, in any order; the keys of a mapping are not used.
        series: Which series, where there are several: its index as in the error that lists them, such as ``"0"``,
            or its SeriesInstanceUID. Series are counted in the order of their UIDs.
        budget: What each file may cost.
        most_bytes: Size of the volume.

    Returns:
        The volume. Row cosines, column cosines and steps between slices make up its affine.

    Raises:
        DataError: If the files are not one whole series; says every problem, and names no person.

    Example:
        >>> volume = read_series([file.read_bytes() for file in folder.glob("*.dcm")])  # doctest: +SKIP
        >>> volume.voxels.shape, volume.spacing_mm  # doctest: +SKIP
        ((24, 512, 512), (5.0, 0.49, 0.49))

    Source: DICOM PS3.3, section C.7.6.2.1.1.
    """
    slices, step = ordered_slices(files, series=series, budget=budget)
    first = slices[0].place
    spacing_mm = (float(np.linalg.norm(step)), *first.spacing_mm)
    stack = _stacked(slices, most_bytes)
    return Volume(
        stack.voxels, spacing_mm, first.affine(step), "dicom",
        notes=(*stack.notes, *_rounding_note([item.place for item in slices])),
        plane_spacing_mm=first.spacing_mm,
        windows=tuple(stack.windows) if any(stack.windows) else (),
        tables=tuple(stack.tables) if any(stack.tables) else (),
        value_ranges=tuple(stack.value_ranges) if any(stack.value_ranges) else (),
    )  # fmt: skip


def ordered_slices(
    files: Mapping[str, bytes] | Iterable[bytes], *, series: str | None = None, budget: Budget = DEFAULT_BUDGET
) -> tuple[list[SeriesSlice], NDArray[np.float64]]:
    """Return the slices of one series in the order of `read_series`, and the step from one to the next.

    Args:
        files: As for `read_series`.
        series: Likewise.
        budget: Likewise.

    Returns:
        The slices, none of them decoded, and the step in millimetres along DICOM's axes.

    Raises:
        DataError: If the files are not one whole series.
    """
    slices = _located(_chosen(_by_series(files, budget), series))
    places = [item.place for item in slices]
    _check_alike(places)
    slices = sorted(slices, key=lambda item: _height(item.place, places[0]))
    return slices, _step([item.place for item in slices])


def series_uid(data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> str:
    """Return the SeriesInstanceUID of a DICOM image; empty where it says none.

    Raises:
        DecodeError: If it is no DICOM image, or over the budget.
    """
    return _opened(data, budget).file.data_set.text("SeriesInstanceUID")


def why_no_volume(places: Sequence[Place]) -> str:
    """Say why `read_series` would refuse slices that lie there, in any order; empty where they are a volume.

    Args:
        places: At least one.
    """
    try:
        _check_alike(places)
        _step(sorted(places, key=lambda place: _height(place, places[0])))
    except DataError as error:
        said = _few(list(error.problems), _MOST_IN_A_SENTENCE)
        return error.summary + (f": {'; '.join(said)}" if said else "")
    return ""


def read_frames(data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> Volume | None:
    """Read the frames of one DICOM file as a volume, such as those of an enhanced CT or MR image.

    Args:
        data: The encoded file.
        budget: What it may cost.

    Returns:
        The volume, as `read_series` gives it; None for another format, for one frame, and for frames that do not say
        where they lie or are no slices of one volume, such as those of a film.

    Raises:
        DecodeError: If it is a damaged DICOM file, or over the budget.
        DataError: If a frame cannot be decoded.
    """
    check_encoded(data, budget)
    if sniff(data) != "dicom":
        return None
    return read_series([data], budget=budget) if are_slices(_opened(data, budget)) else None


def are_slices(opened: OpenImage) -> bool:
    """Return whether the frames of a file are the slices of a volume."""
    try:
        return opened.module.frames > 1 and not why_no_volume(frame_places(opened))
    except DecodeError:
        return False


def _height(place: Place, first: Place) -> float:
    return float(place.position @ first.normal)


def _by_series(files: Mapping[str, bytes] | Iterable[bytes], budget: Budget) -> dict[str, list[OpenImage]]:
    """Open every file; return them by the UID of their series, in the order of these."""
    found, problems = dict[str, list[OpenImage]](), list[str]()
    for number, data in enumerate(files.values() if isinstance(files, Mapping) else files):
        try:
            opened = _opened(data, budget)
        except DecodeError as error:
            problems.append(f"file {number}: {error}")
            continue
        found.setdefault(opened.file.data_set.text("SeriesInstanceUID"), []).append(opened)
    if problems:
        raise DataError(f"{len(problems)} files are no DICOM images that can be read", _few(problems))
    if not found:
        raise DataError("there are no files; expected those of a DICOM series")
    return dict(sorted(found.items()))


def _opened(data: bytes, budget: Budget) -> OpenImage:
    check_encoded(data, budget)
    name = sniff(data)
    if name != "dicom":
        raise DecodeError("unsupported", f"the input is {name}; expected DICOM")
    with guard(name):
        return open_image(data, budget)


def _chosen(by_series: dict[str, list[OpenImage]], series: str | None) -> list[OpenImage]:
    if series is None and len(by_series) == 1:
        return next(iter(by_series.values()))
    if series in by_series:
        return by_series[series]
    if series is not None and series.isdecimal() and int(series) < len(by_series):
        return list(by_series.values())[int(series)]
    counts = [sum(item.module.frames for item in opened) for opened in by_series.values()]
    listed = _few([f"series {number}: {count} slices" for number, count in enumerate(counts)])
    if series is None:
        raise DataError(
            f"the files belong to {len(counts)} series; choose one by its index or UID (--series)",
            listed,
        )
    raise DataError(f"the series that was asked for is not among the {len(counts)} in these files", listed)


def _located(opened: list[OpenImage]) -> list[SeriesSlice]:
    """Return every frame of every file with its place."""
    found, problems = list[SeriesSlice](), list[str]()
    for number, item in enumerate(opened):
        for frame in range(item.module.frames):
            try:
                found.append(SeriesSlice(item, frame, placed(item, frame)))
            except DecodeError as error:
                problems.append(f"slice {number}, frame {frame}: {error.message}")
    if problems:
        raise DataError("the slices cannot be placed in the patient", _few(problems))
    return found


def _check_alike(slices: Sequence[Place]) -> None:
    """Refuse slices of several sizes, spacings or orientations."""
    first, problems = slices[0], list[str]()
    sizes = {item.size for item in slices}
    if len(sizes) > 1:
        problems.append(f"mixed sizes: {', '.join(_few([f'{rows}×{columns}' for rows, columns in sorted(sizes)]))}")
    if any(not np.allclose(item.spacing_mm, first.spacing_mm, rtol=SAME_DIRECTION) for item in slices):
        problems.append("mixed pixel spacings")
    turned = sum(
        not np.allclose(item.row_cosines, first.row_cosines, atol=SAME_DIRECTION)
        or not np.allclose(item.column_cosines, first.column_cosines, atol=SAME_DIRECTION)
        for item in slices
    )
    if turned:
        problems.append(f"mixed orientations: {turned} of {len(slices)} slices are turned against the first")
    if problems:
        raise DataError("the slices of the series do not fit together", problems)


def _step(slices: Sequence[Place]) -> _Vector:
    """Return the vector from one slice to the next, after the slices were found to be equally far apart.

    Raises:
        DataError: For positions that come twice, gaps, and gantry tilt.
    """
    first = slices[0]
    if len(slices) == 1:
        if not first.thickness_mm or first.thickness_mm <= 0:
            raise DataError("the series has one slice and does not say how thick it is")
        return first.normal * first.thickness_mm
    positions = np.array([item.position for item in slices])
    steps_mm = np.diff(positions @ first.normal)
    apart = np.sort(steps_mm[steps_mm > _SAME_PLACE_MM])
    usual_mm = float(apart[(len(apart) - 1) // 2]) if len(apart) else 0.0
    uneven_mm = _uneven_mm(positions, first.normal, usual_mm)
    problems = [
        f"slices {number} and {number + 1} are at the same position"
        for number, step_mm in enumerate(steps_mm)
        if step_mm <= _SAME_PLACE_MM
    ] or [
        f"between slices {number} and {number + 1} there are {step_mm:.3f} mm; elsewhere {usual_mm:.3f} mm"
        for number, step_mm in enumerate(steps_mm)
        if abs(step_mm - usual_mm) > uneven_mm
    ]
    if problems:
        kind = "positions that come twice" if usual_mm == 0 or steps_mm.min() <= _SAME_PLACE_MM else "gaps"
        raise DataError(f"the series has {kind} (slices are counted from 0 along their normal)", _few(problems))
    step: _Vector = (positions[-1] - positions[0]) / (len(slices) - 1)
    _check_straight(positions, step, first.normal)
    return step


def _uneven_mm(positions: _Vector, normal: _Vector, usual_mm: float) -> float:
    """Return by how much a distance between slices may differ from the usual one."""
    even_mm = max(_EVEN_STEPS * usual_mm, _LEAST_MM)
    if not _rounded(positions):
        return even_mm
    rounded_mm = _ROUNDED_MM * float(np.abs(normal).sum()) + _LEAST_MM  # each coordinate is off by half of it
    return max(even_mm, min(rounded_mm, _ROUNDED_STEPS * usual_mm))


def _rounded(positions: _Vector) -> bool:
    """Whether positions are written with one decimal."""
    tenths = positions / _ROUNDED_MM
    return bool((np.abs(tenths - tenths.round()) < _ROUNDING_DIGITS).all())


def _rounding_note(slices: Sequence[Place]) -> tuple[str, ...]:
    """Say it where slices are equally far apart only because their positions are rounded."""
    steps_mm = np.diff([item.position @ slices[0].normal for item in slices])
    if not len(steps_mm) or np.ptp(steps_mm) <= max(2 * _EVEN_STEPS * steps_mm.mean(), 2 * _LEAST_MM):
        return ()
    return ("positions of the slices are rounded to 0.1 mm: their mean distance was taken",)


def _check_straight(positions: _Vector, step: _Vector, normal: _Vector) -> None:
    forwards = float(step @ normal)
    sideways = float(np.linalg.norm(step - forwards * normal))
    off_mm = float(np.abs(positions - positions[0] - np.arange(len(positions))[:, np.newaxis] * step).max())
    slack_mm = _ROUNDED_MM if _rounded(positions) else 0.0  # of a position against another one, along each axis
    if sideways > max(_MAX_SHEAR * forwards, _SAME_PLACE_MM, math.sqrt(3) * slack_mm / (len(positions) - 1)):
        raise DataError(
            f"the series has gantry tilt: its slices are stacked at {np.degrees(np.arctan2(sideways, forwards)):.1f} "
            "degrees to their normal. Correct it with a resampling tool first."
        )
    if off_mm > max(_EVEN_STEPS * 5 * forwards, _LEAST_MM, 2 * slack_mm):
        raise DataError("the slices of the series are shifted against each other: they do not lie on one line")


def _stacked(slices: list[SeriesSlice], most_bytes: int) -> _Stack:
    """Decode every slice into its place."""
    dtype = np.result_type(*{item.opened.header(item.frame).dtype for item in slices})
    shape = (len(slices), *slices[0].place.size)
    needed = math.prod(shape) * dtype.itemsize
    if needed > most_bytes:
        raise DataError(f"the series would decode to {needed} bytes; the limit is {most_bytes}")
    stack = _Stack(np.empty(shape, dtype))
    for number, image in enumerate(_decoded(slices)):
        stack.voxels[number] = image.pixels[..., 0]
        stack.notes.update(dict.fromkeys(image.notes))
        stack.windows.append(image.window)
        stack.tables.append(image.table)
        stack.value_ranges.append(image.value_range)
    return stack


def _decoded(slices: list[SeriesSlice]) -> Iterator[Image]:
    for number, item in enumerate(slices):
        try:
            with guard("dicom"):
                image = decode_frame(item.opened, item.frame)
                check_finite(image.pixels)
        except DecodeError as error:
            raise DataError(
                f"slice {number} (counted from 0 along the normal) cannot be decoded", [str(error)]
            ) from error
        yield image


def _few(problems: list[str], most: int = _MOST_LISTED) -> list[str]:
    """Return the first problems, and how many more there are."""
    rest = len(problems) - most
    return [*problems[:most], f"and {rest} more"] if rest > 0 else problems
