"""What an object made from DICOM images must repeat of them: whose they are, of which study, and where they lie.

A segmentation or report belongs to the study of its images. This is the one place that reads names and identifiers
to hand them on: they come from whoever sent the image, go back to them alone, and are in no message and no log.

Source: DICOM PS3.3, sections C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.2.2 (Patient Study), C.7.4.1 (Frame of
Reference).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.checks import check_encoded, choose_page, guard
from medloom.imaging.dicom_header import header_of, known_uid
from medloom.imaging.dicom_image import OpenImage, open_image
from medloom.imaging.places import Place, place_of
from medloom.imaging.registry import sniff
from medloom.imaging.series import ordered_slices
from medloom.imaging.types import DEFAULT_BUDGET, Budget

__all__ = ["SourceFrame", "Sources", "read_source", "read_source_series"]

_FEW_MM = 1e-3
_OTHER = "OT"
"""The modality of an image that does not say it as the standard has it."""

_OWNER = ("PatientID", "StudyInstanceUID")


class _Found(NamedTuple):
    """A frame of a file, and where it lies."""

    opened: OpenImage
    number: int
    place: Place | None


@dataclass(frozen=True)
class SourceFrame:
    """An image, or a frame of one, from which something was made.

    Args:
        sop_class: Its SOPClassUID.
        instance: Its SOPInstanceUID.
        frame: Its number from 1 among the frames of the file; None where the file has one alone.
        number: InstanceNumber; 0 where the file does not say.
        position_mm: Of the first pixel, along DICOM's axes; None where the file does not say.
    """

    sop_class: str
    instance: str
    frame: int | None = None
    number: int = 0
    position_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Sources:
    """Images of one series, in the order of the slices of the volume that they are.

    Args:
        frames: Each of them; at least one.
        rows: Of each.
        columns: Of each.
        series: SeriesInstanceUID.
        modality: Such as ``MR``.
        header: Texts of patient and study by keyword, as far as the standard allows what they hold; empty texts are
            left out. Never to be logged.
        frame_of_reference: FrameOfReferenceUID; empty where the images do not say how they lie.
        cosines: ImageOrientationPatient; None where the images do not say how they lie.
        spacing_mm: PixelSpacing; None likewise.
        thickness_mm: SliceThickness; None where it is not known.
        step_mm: Distance from one slice to the next; None for one image.
    """

    frames: tuple[SourceFrame, ...]
    rows: int
    columns: int
    series: str
    modality: str
    header: Mapping[str, str]
    frame_of_reference: str = ""
    cosines: tuple[float, ...] | None = None
    spacing_mm: tuple[float, float] | None = None
    thickness_mm: float | None = None
    step_mm: float | None = None

    @property
    def placed(self) -> bool:
        """Whether the images say where they lie, in a frame of reference that others can be compared by."""
        return bool(self.frame_of_reference) and self.cosines is not None

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError, KeyError, TypeError: If it is no such value.
        """
        rest = dict(plain)
        frames = tuple(_frame(one) for one in rest.pop("frames"))
        cosines, spacing = (
            None if (one := rest.pop(key)) is None else _numbers(one) for key in ("cosines", "spacing_mm")
        )
        header = {str(key): str(value) for key, value in rest.pop("header").items()}
        return cls(frames, header=header, cosines=cosines, spacing_mm=spacing, **rest)


def read_source(data: bytes, *, page: int | None = None, budget: Budget = DEFAULT_BUDGET) -> Sources | None:
    """Read what a DICOM file, or one frame of it, hands on to what is made from it.

    Args:
        data: The encoded file.
        page: Which frame, counted from 0; None for a file that has one alone.
        budget: What it may cost.

    Returns:
        What it says; None for another format.

    Raises:
        DecodeError: If it is damaged, over the budget, or lacks what an object made from it must repeat.
    """
    check_encoded(data, budget)
    if sniff(data) != "dicom":
        return None
    with guard("dicom"):
        opened = open_image(data, budget)
        number = choose_page(page, opened.module.frames)
        try:
            place = place_of(opened, number)
        except DecodeError:  # radiographs have no place
            place = None
        return _sources([_Found(opened, number, place)], None)


def read_source_series(
    files: Mapping[str, bytes] | Iterable[bytes], *, series: str | None = None, budget: Budget = DEFAULT_BUDGET
) -> Sources:
    """Read what a DICOM series hands on, with its slices in the order of `medloom.imaging.read_series`.

    Args:
        files: DICOM files of one frame or several.
        series: Which series, by its index or UID; None where there is one alone.
        budget: What each file may cost.

    Raises:
        DataError: If the files are not one whole series.
        DecodeError: If they lack what an object made from them must repeat.
    """
    slices, step = ordered_slices(files, series=series, budget=budget)
    with guard("dicom"):
        return _sources([_Found(one.opened, one.frame, one.place) for one in slices], float(np.linalg.norm(step)))


def _sources(found: list[_Found], step_mm: float | None) -> Sources:
    opened, number, place = found[0]
    top = opened.file.data_set
    headers = {id(one.opened): header_of(one.opened.file.data_set) for one in _files(found)}
    _check_one_study(_files(found), headers)
    reference = top.text("FrameOfReferenceUID")
    if place is None or not known_uid(reference):
        reference, place = "", None
    thickness = opened.groups(number).decimals("PixelMeasuresSequence", "SliceThickness")
    return Sources(
        tuple(_frame_of(one, headers[id(one.opened)]) for one in found),
        opened.module.rows,
        opened.module.columns,
        _required(opened, "SeriesInstanceUID"),
        headers[id(opened)].get("Modality", _OTHER),
        headers[id(opened)],
        reference,
        None if place is None else tuple(map(float, (*place.row_cosines, *place.column_cosines))),
        None if place is None else place.spacing_mm,
        thickness[0] if thickness and thickness[0] > 0 else None,
        step_mm if step_mm is not None and step_mm > _FEW_MM else None,
    )


def _files(found: list[_Found]) -> list[_Found]:
    """Return one frame of each file."""
    return list({id(one.opened): one for one in found}.values())


def _check_one_study(files: list[_Found], headers: Mapping[int, Mapping[str, str]]) -> None:
    """Refuse slices of several patients, studies or frames of reference, to which no one object can belong."""
    owners = {tuple(headers[id(one.opened)].get(key) for key in _OWNER) for one in files}
    if len(owners) > 1:
        raise DecodeError("unsupported", "the slices belong to several patients or studies; expected one")
    if len({one.opened.file.data_set.text("FrameOfReferenceUID") for one in files}) > 1:
        raise DecodeError("unsupported", "the slices have several frames of reference; expected one")


def _frame_of(found: _Found, header: Mapping[str, str]) -> SourceFrame:
    opened, number, place = found
    position = None if place is None else (float(place.position[0]), float(place.position[1]), float(place.position[2]))
    return SourceFrame(
        _required(opened, "SOPClassUID"),
        _required(opened, "SOPInstanceUID"),
        number + 1 if opened.module.frames > 1 else None,
        int(header.get("InstanceNumber", "0")),
        position,
    )


def _required(opened: OpenImage, keyword: str) -> str:
    uid = opened.file.data_set.text(keyword)
    if not known_uid(uid):
        raise DecodeError(
            "unsupported", f"the image has no sound {keyword}, by which another object could name it", field=keyword
        )
    return uid


def _frame(plain: Mapping[str, Any]) -> SourceFrame:
    position = plain["position_mm"]
    x, y, z = (None, None, None) if position is None else map(float, position)
    placed = None if x is None or y is None or z is None else (x, y, z)
    return SourceFrame(**{**plain, "position_mm": placed})


def _numbers(values: Iterable[float]) -> Any:  # noqa: ANN401 - a pair or six numbers, as the field says
    return tuple(map(float, values))
