"""What segmentations and reports share: the images as data sets, identifiers that repeat, and who made them.

Everything that identifies an object follows from the images, the model and the answer, so that the same request gives
the same object again, byte by byte, and an archive that has it knows it. Dates are those of the images, for the
same reason.

Source: DICOM PS3.5, annex B.2 (UUID derived UID); PS3.3, section C.12.1 (SOP Common).
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from medloom.extras import require
from medloom.imaging.dicom_seg import SEGMENTATIONS
from medloom.imaging.dicom_sources import Sources
from medloom.inference.forms.base import Made
from medloom.inference.forms.codes import SCHEME, Code

__all__ = [
    "coded",
    "data_sets",
    "decimal",
    "directions",
    "evidence",
    "file_bytes",
    "highdicom",
    "make_uid",
    "maker",
    "name_sources",
    "own_scheme",
    "placeholder",
    "series_uid",
    "text",
]

_WHEN = ("Content", "Acquisition", "Series", "Study")
_NO_DATE, _NO_TIME = "19000101", "000000"
_MAKER = "Medloom"
_SERIES = {"seg": 9001, "seg-fractional": 9002, "sr": 9003, "seg-labelmap": 9004}
"""Numbers of the series, far above those of scanners."""

_PLACES = "2.25.0."
_PLACED, _UNPLACED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
"""Classes of images of one frame, one that must say where it lies (MR) and one that need not (Secondary Capture)."""

_METHOD = "DeidentificationMethod"
_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyID", "ReferringPhysicianName",
)  # fmt: skip
"""What every object has, if only without a value."""

_OF_THE_IMAGE = (
    "InstanceNumber", "Modality", "PatientOrientation", "ContentDate", "ContentTime", "AcquisitionDate",
    "AcquisitionTime", "SeriesDate", "SeriesTime",
)  # fmt: skip
"""What is read of an image and not repeated as its own."""

_LONGEST = 64
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f\\]")


def highdicom() -> ModuleType:
    """Import what writes the objects; only when one is asked for, because it takes a second.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return require("highdicom", "serve")


def make_ready() -> None:
    """Import what writes the objects, and let it read the tables of the standard, as it does for its first object.

    Raises:
        MissingExtraError: If it is not installed.
    """
    uid = make_uid("the first one")
    highdicom().SOPClass(uid, uid, 1, uid, SEGMENTATIONS[0], 1, "SEG", "Medloom")


def make_uid(*parts: str | bytes) -> str:
    """Return a UID that follows from what it is given.

    Example:
        >>> make_uid("a", "b") == make_uid("a", "b") != make_uid("ab")
        True
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"2.25.{uuid.UUID(bytes=digest.digest()[:16], version=5).int}"


def series_uid(made: Made, form: str) -> str:
    """Return the series that an object of this form belongs to: one for each source series, model and form."""
    return make_uid("series", form, made.sources.series, made.algorithm.identity)


def data_sets(sources: Sources) -> list[Any]:
    """Return a data set for each frame, with what objects made from it repeat, and no pixels.

    Each is like an image of one frame, which highdicom takes in any number, and in the place of its UID has the number
    of its place among all: what is made of it gets UIDs, classes and numbers of frames by `name_sources`.
    """
    return [_data_set(sources, number) for number in range(len(sources.frames))]


def _data_set(sources: Sources, number: int) -> Any:  # noqa: ANN401 - pydicom is imported when it is needed
    frame, found = sources.frames[number], require("pydicom", "serve").Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _EMPTY:
        setattr(found, keyword, "")
    for keyword, value in sources.header.items():
        if keyword not in _OF_THE_IMAGE:
            setattr(found, keyword, value.split("\\") if keyword == _METHOD else value)
    if "PatientIdentityRemoved" in found and _METHOD not in found:
        found.DeidentificationMethod = "As of the source images"
    found.SOPClassUID, found.SOPInstanceUID = _PLACED if sources.placed else _UNPLACED, placeholder(number)
    found.SeriesInstanceUID, found.Modality = sources.series, sources.modality
    found.Rows, found.Columns = sources.rows, sources.columns
    if sources.placed and sources.cosines and frame.position_mm and sources.spacing_mm:
        found.FrameOfReferenceUID = sources.frame_of_reference
        found.ImageOrientationPatient = [decimal(one) for one in sources.cosines]
        found.ImagePositionPatient = [decimal(one) for one in frame.position_mm]
        found.PixelSpacing = [decimal(one) for one in sources.spacing_mm]
        found.SliceThickness = decimal(sources.thickness_mm or sources.step_mm or 1.0)
    else:
        found.PatientOrientation = directions(sources)
    return found


def evidence(sources: Sources) -> list[Any]:
    """Return a data set for each image file, as reports list them."""
    found = {}
    for number, frame in enumerate(sources.frames):
        if frame.instance not in found:
            found[frame.instance] = _data_set(sources, number)
            found[frame.instance].SOPInstanceUID = frame.instance
            found[frame.instance].SOPClassUID = frame.sop_class
    return list(found.values())


def placeholder(number: int) -> str:
    """Return what stands for a frame while an object is made: a UID that no image has."""
    return f"{_PLACES}{number + 1}"


def name_sources(made: Any, sources: Sources) -> None:  # noqa: ANN401 - a data set
    """Put the UIDs of the images in, and the numbers of frames where a file has several; each file is listed once."""
    for sequence, item in _references(made):
        number = int(item.ReferencedSOPInstanceUID.removeprefix(_PLACES)) - 1
        frame = sources.frames[number]
        item.ReferencedSOPInstanceUID, item.ReferencedSOPClassUID = frame.instance, frame.sop_class
        if frame.frame is not None and sequence == "SourceImageSequence":
            item.ReferencedFrameNumber = frame.frame
    for series in made.get("ReferencedSeriesSequence", ()):
        items = {one.ReferencedSOPInstanceUID: one for one in series.ReferencedInstanceSequence}
        series.ReferencedInstanceSequence = list(items.values())


def _references(data_set: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a data set
    """Every item that names a frame, with the sequence that holds it."""
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                if str(item.get("ReferencedSOPInstanceUID", "")).startswith(_PLACES):
                    yield element.keyword, item
                yield from _references(item)


def directions(sources: Sources) -> list[str]:
    """Return PatientOrientation, which images have that do not say where they lie, if only empty."""
    stated = sources.header.get("PatientOrientation")
    return stated.split("\\") if stated else []


def maker(made: Made, form: str, title: str) -> dict[str, Any]:
    """Return the arguments that say who made an object, when, and in which series it is.

    Args:
        made: The answer.
        form: Which form it is.
        title: What the series is called, before the name of the model.
    """
    algorithm, header, first = made.algorithm, made.sources.header, made.sources.frames[0]
    phantom = ", learned from phantoms: not for people" if algorithm.phantom else ""
    when = next((one for one in _WHEN if f"{one}Date" in header), None)
    return {
        "series_instance_uid": series_uid(made, form),
        "series_number": _SERIES[form],
        "instance_number": (first.number or 1) if len(made.sources.frames) == 1 else 1,
        "series_description": text(f"{title} {algorithm.name}{phantom}"),
        "manufacturer": _MAKER,
        "manufacturer_model_name": text(algorithm.name),
        "software_versions": text(f"Medloom {algorithm.software}"),
        "device_serial_number": algorithm.version,
        "content_date": _NO_DATE if when is None else header[f"{when}Date"],
        "content_time": _NO_TIME if when is None else header.get(f"{when}Time", _NO_TIME),
    }


def coded(code: Code) -> Any:  # noqa: ANN401 - highdicom is imported when it is needed
    """Return a term as highdicom takes it."""
    return highdicom().sr.CodedConcept(*code)


def own_scheme() -> Any:  # noqa: ANN401 - highdicom is imported when it is needed
    """Return what says whose the codes of our own scheme are."""
    return require("highdicom.coding_schemes", "serve").CodingSchemeIdentificationItem(
        SCHEME, name="Medloom", responsible_organization=_MAKER
    )


def decimal(value: float) -> Any:  # noqa: ANN401 - pydicom is imported when it is needed
    """Return a number in at most 16 characters, as the standard writes decimals."""
    return require("pydicom.valuerep", "serve").DSfloat(value, auto_format=True)


def text(said: str) -> str:
    """Return a text that may stand in a value of at most 64 characters."""
    return _NOT_SHOWN.sub(" ", said)[:_LONGEST].strip()


def file_bytes(made: Any) -> bytes:  # noqa: ANN401 - a data set
    """Return an object as a file. When it was written is left out: it would be another one each time."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in made:
            delattr(made, keyword)
    for item in made.get("ContributingEquipmentSequence", ()):
        del item.ContributionDateTime
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
