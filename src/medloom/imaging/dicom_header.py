"""Texts of a DICOM header that say whose an image is, decoded in its characters and checked against the standard.

Source: DICOM PS3.5, section 6.2 (Value Representation); PS3.3, section C.12.1.1.2 (Specific Character Set).
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from medloom.errors import DecodeError
from medloom.imaging.dicom_elements import DataSet

__all__ = ["HEADER", "header_of", "known_uid", "unlogged"]

HEADER: dict[str, tuple[int, str]] = {
    "StudyDate": (0x00080020, "DA"),
    "SeriesDate": (0x00080021, "DA"),
    "AcquisitionDate": (0x00080022, "DA"),
    "ContentDate": (0x00080023, "DA"),
    "StudyTime": (0x00080030, "TM"),
    "SeriesTime": (0x00080031, "TM"),
    "AcquisitionTime": (0x00080032, "TM"),
    "ContentTime": (0x00080033, "TM"),
    "AccessionNumber": (0x00080050, "SH"),
    "ReferringPhysicianName": (0x00080090, "PN"),
    "StudyDescription": (0x00081030, "LO"),
    "PatientName": (0x00100010, "PN"),
    "PatientID": (0x00100020, "LO"),
    "IssuerOfPatientID": (0x00100021, "LO"),
    "PatientBirthDate": (0x00100030, "DA"),
    "PatientSex": (0x00100040, "SEX"),
    "PatientAge": (0x00101010, "AS"),
    "PatientSize": (0x00101020, "DS"),
    "PatientWeight": (0x00101030, "DS"),
    "PatientIdentityRemoved": (0x00120062, "YES/NO"),
    "DeidentificationMethod": (0x00120063, "LO"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "StudyID": (0x00200010, "SH"),
    "InstanceNumber": (0x00200013, "IS"),
    "Modality": (0x00080060, "CS"),
    "PatientOrientation": (0x00200020, "ORIENTATION"),
    "PositionReferenceIndicator": (0x00201040, "LO"),
    "LossyImageCompressionRatio": (0x00282112, "DS"),
    "LossyImageCompressionMethod": (0x00282114, "CS"),
}
"""Tag and type of each; dates and times other than the study's say when the image came about."""

_CHARACTERS = 0x00080005
_NEEDED = ("StudyInstanceUID",)
_IDENTIFIERS = ("PatientName", "PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyInstanceUID")
"""Where they cannot be repeated as they are, what is made would be filed under somebody else."""

_LOGGERS = ("pydicom", "highdicom", "highdicom.base")
"""What they log of a value quotes it."""

_silent = threading.local()

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_TIME = r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"
_TEXT = r"[^\x00-\x1f\x7f\\]"
_VALID = {
    "SH": re.compile(rf"{_TEXT}{{1,16}}"),
    "LO": re.compile(rf"{_TEXT}{{1,64}}"),
    "CS": re.compile(r"[A-Z0-9_ ]{1,16}"),
    "PN": re.compile(rf"{_TEXT}{{1,64}}(={_TEXT}{{0,64}}){{0,2}}"),
    "DA": re.compile(r"(19|20)\d{6}"),
    "TM": re.compile(_TIME),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "DS": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?"),
    "IS": re.compile(r"\d{1,9}"),
    "SEX": re.compile(r"[MFO]"),
    "YES/NO": re.compile(r"YES|NO"),
    "ORIENTATION": re.compile(r"[LRAPHF]{1,3}\\[LRAPHF]{1,3}"),
    "UI": _UID,
}
_LONGEST = {"DS": 16, "UI": 64}


def _is_logged(record: logging.LogRecord) -> bool:
    return not getattr(_silent, "depth", 0)


@contextmanager
def unlogged() -> Iterator[None]:
    """Let nothing of what this thread does in the block be logged by libraries that quote the values of a header."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_logged)  # once: a filter that is there is not added again
    _silent.depth = getattr(_silent, "depth", 0) + 1
    try:
        yield
    finally:
        _silent.depth -= 1


def known_uid(text: str) -> bool:
    """Whether a text is a UID as the standard has them."""
    return len(text) <= _LONGEST["UI"] and bool(_UID.fullmatch(text))


def header_of(data_set: DataSet) -> dict[str, str]:
    """Return the texts of a data set that are in ``HEADER``, by keyword.

    A text that the standard does not allow there, such as a date that is none, is left out.

    Raises:
        DecodeError: If there is no StudyInstanceUID, or an identifier cannot be repeated as it is. None is quoted.
    """
    tags = {tag for tag, _ in HEADER.values()}
    start, implicit = data_set.span.start, data_set.implicit
    values = data_set.reader.values(start, {_CHARACTERS, *tags}, implicit=implicit)
    characters = values.get(_CHARACTERS, b"").decode("ascii", "replace").strip(" \0")
    found = dict[str, str]()
    for keyword, (tag, kind) in HEADER.items():
        text = _decoded(values.get(tag, b""), kind, characters)
        if text and _allowed(text, kind):
            found[keyword] = text
        elif text and keyword in _IDENTIFIERS:
            raise DecodeError(
                "unsupported", f"{keyword} is not as the standard has it: it cannot be repeated", field=keyword
            )
    for keyword in _NEEDED:
        if keyword not in found:
            raise DecodeError("unsupported", f"the image has no {keyword}: nothing can join its study", field=keyword)
    return found


def _decoded(value: bytes, kind: str, characters: str) -> str:
    if not value.strip(b" \0"):
        return ""
    if kind not in ("SH", "LO", "PN") or not characters or (value.isascii() and b"\x1b" not in value):
        return value.decode("ascii", "replace").strip(" \0")
    from pydicom.charset import convert_encodings, decode_bytes  # it takes as long to import as the rest of the room
    from pydicom.valuerep import PersonName

    with unlogged(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote the value
        try:
            encodings = convert_encodings([part.strip() for part in characters.split("\\")])
            if kind == "PN":
                return str(PersonName(value.rstrip(b" \0"), encodings)).strip(" \0")
            return decode_bytes(value, encodings, {ord("\\")}).strip(" \0")
        except (LookupError, UnicodeError, ValueError):
            return "\ufffd"


def _allowed(text: str, kind: str) -> bool:
    if "\ufffd" in text or len(text) > _LONGEST.get(kind, len(text)) or not _VALID[kind].fullmatch(text):
        return False
    if kind == "DA":
        try:
            datetime.strptime(text, "%Y%m%d")
        except ValueError:
            return False
    return True
