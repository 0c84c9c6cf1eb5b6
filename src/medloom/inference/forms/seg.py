"""DICOM segmentations of masks: a segment for each class, on the pixels and in the study of the images that came in.

The frames are those of the images, pixel for pixel, in their own orientation. Slices without any segment are left
out, as the standard has it. Where no slice has any, all of them are there and hold nothing: a file has at least one
frame, and a reader sees that each slice was looked at and which segments were looked for.

An image that does not say where it lies, such as a radiograph, is segmented by reference alone: pixel for pixel on the
one frame that is named, as the standard allows.

A label map has a frame for each slice, whatever was found there, and in each pixel the number of its segment: with
8 bits a pixel, which viewers and archives draw that do not draw frames of one bit. It is of a class of its own, younger
than the others (2024), which older software does not know.

Source: DICOM PS3.3, sections A.51 and C.8.20 (Segmentation); Supplement 243 (Label Map).
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medloom.extras import require
from medloom.inference.forms import dicom, masks
from medloom.inference.forms.base import FormError, Made
from medloom.inference.forms.codes import category_of, code_of
from medloom.palette import PALETTE

__all__ = ["build", "to_binary", "to_fractional", "to_label_map", "tracking_uid"]

_TYPES = {"seg": "BINARY", "seg-fractional": "FRACTIONAL", "seg-labelmap": "LABELMAP"}
"""SegmentationType of each form."""

_LARGEST_SHARE = 255


def to_binary(made: Made) -> bytes:
    """Return the segmentation of the mask as a file, BINARY."""
    return dicom.file_bytes(build(made))


def to_fractional(made: Made) -> bytes:
    """Return that of the probabilities of an image, FRACTIONAL, in 255 steps."""
    return dicom.file_bytes(build(made, "seg-fractional"))


def to_label_map(made: Made) -> bytes:
    """Return that of the mask as a label map, LABELMAP: a frame for each slice, in each pixel the segment's number."""
    return dicom.file_bytes(build(made, "seg-labelmap"))


def tracking_uid(made: Made, name: str) -> str:
    """Return by what the findings of one class in one series are known."""
    return dicom.make_uid("tracking", made.sources.series, made.algorithm.identity, name)


def build(made: Made, form: str = "seg") -> Any:  # noqa: ANN401 - highdicom is imported when it is needed
    """Return the segmentation as a data set of pydicom.

    Args:
        made: The answer, whose target is a mask.
        form: ``seg``, ``seg-fractional`` or ``seg-labelmap``.

    Raises:
        FormError: If the images cannot be segmented so, with the reason.
    """
    if form not in made.kept:
        made.kept[form] = _built(made, form, _pixels(made, form))
    return made.kept[form]


def _pixels(made: Made, form: str) -> NDArray[Any]:
    """The planes of the answer, found to be those of the images."""
    sources = made.sources
    pixels: NDArray[Any] = (masks.shares if form == "seg-fractional" else masks.planes)(made.prediction)
    if pixels.shape[:3] != (len(sources.frames), sources.rows, sources.columns):
        raise FormError("the mask does not have the slices of the DICOM images, so no segmentation can be laid on them")
    if len(sources.frames) > 1 and not sources.placed:
        raise FormError(
            "the images have no common frame of reference (FrameOfReferenceUID, ImagePositionPatient, "
            "ImageOrientationPatient): DICOM places a segmentation of several slices by it. Ask for one page"
        )
    return pixels


def _built(made: Made, form: str, pixels: NDArray[Any]) -> Any:  # noqa: ANN401 - as of build
    found = dicom.highdicom().seg.Segmentation(
        dicom.data_sets(made.sources),
        pixels,
        _TYPES[form],
        _segments(made),
        sop_instance_uid=_uid(made, form, pixels),
        max_fractional_value=_LARGEST_SHARE,
        omit_empty_frames=form != "seg-labelmap" and bool(pixels.any()),
        content_label="SEGMENTATION",
        content_description=dicom.text(f"Segmentation by {made.algorithm.name}"),
        pixel_measures=_measures(made),
        specific_character_set="ISO_IR 192",
        **dicom.maker(made, form, "Segmentation by"),
    )
    dicom.name_sources(found, made.sources)
    _settle(found, made)
    return found


def _uid(made: Made, form: str, pixels: NDArray[Any]) -> str:
    frames = (f"{one.instance} {one.frame}" for one in made.sources.frames)
    return dicom.make_uid(form, made.algorithm.identity, made.algorithm.software, pixels.tobytes(), *frames)


def _segments(made: Made) -> list[Any]:
    highdicom = dicom.highdicom()
    family = require("pydicom.sr.codedict", "serve").codes.DCM.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence(
        dicom.text(made.algorithm.name), family, made.algorithm.version, source="Medloom"
    )
    return [
        highdicom.seg.SegmentDescription(
            number,
            dicom.text(name) or f"segment-{number}",
            dicom.coded(category_of(name)),
            dicom.coded(code_of(name)),
            "AUTOMATIC",
            algorithm,
            tracking_uid=tracking_uid(made, name),
            tracking_id=dicom.text(f"{made.algorithm.name} {name}"),
            display_color=_colour(number),
        )
        for number, name in enumerate(made.target.foreground, start=1)
    ]


def _colour(number: int) -> Any:  # noqa: ANN401 - highdicom is imported when it is needed
    """A colour of the palette, vermillion first."""
    red, green, blue = bytes.fromhex(PALETTE[number % len(PALETTE)][1:])
    return dicom.highdicom().color.CIELabColor.from_rgb(red, green, blue)


def _measures(made: Made) -> Any | None:  # noqa: ANN401 - highdicom is imported when it is needed
    """Spacing and thickness of the frames; None where the images do not say how they lie."""
    sources = made.sources
    if not sources.placed or sources.spacing_mm is None:
        return None
    return dicom.highdicom().PixelMeasuresSequence(
        [dicom.decimal(one) for one in sources.spacing_mm],
        dicom.decimal(sources.thickness_mm or sources.step_mm or 1.0),
        None if sources.step_mm is None else dicom.decimal(sources.step_mm),
    )


def _settle(found: Any, made: Made) -> None:  # noqa: ANN401 - a data set
    """Leave out what is not known, and put a UID that follows from the object where highdicom makes one up."""
    sources = made.sources
    if sources.thickness_mm is None and sources.step_mm is None:
        for group in found.SharedFunctionalGroupsSequence:
            for item in group.get("PixelMeasuresSequence", ()):
                del item.SliceThickness
    if not sources.placed:
        found.PatientOrientation = dicom.directions(sources)
    uid = dicom.make_uid("dimensions", found.SOPInstanceUID)
    for item in (*found.DimensionOrganizationSequence, *found.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
