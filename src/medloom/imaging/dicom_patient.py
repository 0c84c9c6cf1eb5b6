"""Whose image a DICOM file is: read from the elements before its pixels, and never more of them than that.

The rest of the room never decodes an identifier, so that none can be in a message; whoever asks here replaces what
comes back by pseudonyms and repeats it nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from medloom.errors import DecodeError
from medloom.imaging.dicom_file import open_head
from medloom.imaging.registry import sniff

__all__ = ["PatientHeader", "patient_header"]

_PATIENT_ID, _STUDY = 0x00100020, 0x0020000D
_PERSON = (0x00100010, 0x00100030, 0x00100040)
"""Name, birth date, sex."""


@dataclass(frozen=True)
class PatientHeader:
    """What a file says about whose it is.

    Args:
        patient_id: PatientID (0010,0020), without the blanks around it; empty where there is none.
        person: Name, birth date and sex as stored, to be compared and not to be read.
        study: StudyInstanceUID.
    """

    patient_id: str
    person: tuple[bytes, ...]
    study: str


def patient_header(head: bytes) -> PatientHeader | None:
    """Read whose image a file is.

    Args:
        head: The file, or its beginning.

    Returns:
        What it says; None for a file that is not DICOM.

    Raises:
        DecodeError: ``truncated`` if ``head`` ends before these elements; otherwise if the file is damaged.
    """
    try:
        if sniff(head) != "dicom":
            return None
    except DecodeError:
        return None
    reader, at, implicit = open_head(head)
    found = reader.values(at, (_PATIENT_ID, _STUDY, *_PERSON), implicit=implicit)
    person = tuple(found.get(tag, b"").strip(b" \0") for tag in _PERSON)
    return PatientHeader(_text(found.get(_PATIENT_ID, b"")), person, _text(found.get(_STUDY, b"")))


def _text(value: bytes) -> str:
    """A short text; in which characters it is written matters only to what it is compared with."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.strip(" \0")
