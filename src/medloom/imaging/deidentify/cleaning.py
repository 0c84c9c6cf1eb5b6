"""One DICOM file in, the same picture without the patient out."""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
import struct
import uuid
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medloom.errors import DecodeError, UserError
from medloom.imaging.checks import check_encoded, guard
from medloom.imaging.decoding import decode, inspect
from medloom.imaging.deidentify.burned_in import has_text
from medloom.imaging.deidentify.profile import action_of, defined_terms, known_vr
from medloom.imaging.types import Budget

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DEFAULT_FILE_BUDGET", "Cleaned", "Deidentifier", "quiet_pydicom", "transfer_syntax"]

DEFAULT_FILE_BUDGET = Budget(max_bytes=512 * 2**20, max_frames=1_000_000)
"""Of a file at most three frames are decoded, one after the other, so it may be longer than one that is read whole."""

_DEFLATED = ("1.2.840.10008.1.2.1.99",)
_MAX_DEPTH = 16
_PREFIX_END = 132
_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_BURNED_MODALITIES = frozenset({"US", "SC", "XC", "OT", "ES", ""})
_BURNED_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.7",  # secondary capture, all of them
    "1.2.840.10008.5.1.4.1.1.6",  # ultrasound
    "1.2.840.10008.5.1.4.1.1.3",  # ultrasound multi-frame
)
_NEEDED = (0x00080016, 0x00080018, 0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280100)
_SIZE = (0x00280002, 0x00280010, 0x00280011, 0x00280100)
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_PATIENT_ID, _SOP_CLASS, _SOP_INSTANCE, _MODALITY = 0x00100020, 0x00080016, 0x00080018, 0x00080060
_IMAGE_TYPE, _BURNED_IN = 0x00080008, 0x00280301
_WORD = "ANONYMIZED"
_DUMMIES: dict[str, object] = {
    "AE": _WORD, "AS": "000Y", "CS": _WORD, "DA": "19000101", "DS": "0", "DT": "19000101000000", "FD": 0.0, "FL": 0.0,
    "IS": "0", "LO": _WORD, "LT": _WORD, "OB": b"\0\0", "PN": _WORD, "SH": _WORD, "ST": _WORD, "TM": "000000",
    "UC": _WORD, "UN": b"\0\0", "UR": _WORD, "US": 0, "UL": 0, "UT": _WORD,
}  # fmt: skip
_UNEXPORTED = "it is not exported, because nobody looked at its pixels; clean them, or allow it with --allow-burned-in"
_SEEN = (
    "text seems to be burned in: it is not exported; look at its pixels, clean them, or allow it with --allow-burned-in"
)


@dataclass(frozen=True)
class Cleaned:
    """A de-identified file.

    Args:
        data: The file's bytes.
        name: Relative path to write it to, made of pseudonyms: ``PATIENT/INSTANCE.dcm``.
        unseen: Whether its pixels cannot be decoded, so that nothing looked for text in them.
    """

    data: bytes
    name: str
    unseen: bool = False


class Deidentifier:
    """Removes who the patient is from DICOM files; the same identifier gets the same pseudonym in every file.

    Identifiers are replaced by keyed hashes. The key is drawn anew for each object and stored nowhere, so no one can
    find out an original by trying, and two exports cannot be joined.

    Args:
        allow_burned_in: Export also images that may have text in their pixels, and look at none. Pixels are never
            changed.
        key: 32 secret bytes; drawn at random if None, which is what a user wants.
        budget: ``max_bytes`` and ``max_decoded_bytes`` limit a file and what it inflates to; all limits hold for the
            frames that are looked at.

    Example:
        >>> cleaned = Deidentifier().clean(data)  # doctest: +SKIP

    Source: DICOM PS3.15 2024b, Annex E, Basic Application Level Confidentiality Profile.
    """

    def __init__(
        self, *, allow_burned_in: bool = False, key: bytes | None = None, budget: Budget = DEFAULT_FILE_BUDGET
    ) -> None:
        self._allow_burned_in = allow_burned_in
        self._key = secrets.token_bytes(32) if key is None else key
        self._budget = budget

    def clean(self, data: bytes) -> Cleaned:
        """De-identify one file.

        Args:
            data: A DICOM file with its header of 132 bytes.

        Returns:
            The new file and its name; the bytes of the pixel data are those that came in.

        Raises:
            DecodeError: If it is no sound DICOM image.
            UserError: If it may have text burned into its pixels, by what it says about itself or by what it shows.
        """
        check_encoded(data, self._budget)
        with guard("dicom"), quiet_pydicom():
            _check_inflated(data, transfer_syntax(data), self._budget)
            result = self._cleaned(data)
        if isinstance(result, str):
            raise UserError(result)
        return result

    def uid(self, original: str) -> str:
        """Return the UID that takes the place of another; those of the standard itself stay as they are."""
        from pydicom._uid_dict import UID_dictionary

        plain = original.strip(" \0")
        if not plain or plain in UID_dictionary:
            return plain
        return f"2.25.{uuid.UUID(bytes=self._hash('uid', plain)[:16], version=5).int}"

    def patient(self, original: str) -> str:
        """Return the pseudonym of a patient ID; "" for none."""
        plain = original.strip(" \0")
        return f"P{self._hash('patient', plain).hex()[:16].upper()}" if plain else ""

    def _hash(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}:{text}".encode(), hashlib.sha256)

    def _cleaned(self, data: bytes) -> Cleaned | str:
        """Return the new file, or why it is withheld."""
        from pydicom import dcmread

        dataset = dcmread(io.BytesIO(data))
        _check_image(dataset)
        unseen = False
        if not self._allow_burned_in:
            withheld = _burned_in(dataset)
            seen = None if withheld else self._sees_text(data)
            if withheld or seen:
                return withheld or _SEEN
            unseen = seen is None
        self._clean(dataset, depth=0)
        if any(tag not in dataset for tag in _NEEDED) or not any(tag in dataset for tag in _PIXELS):
            raise DecodeError("corrupt", "an attribute that every image has is missing or of another type")
        _check_pixels(dataset)
        _say_so(dataset)
        patient = _text(dataset, _PATIENT_ID) or "unknown"
        return Cleaned(_written(dataset), f"{patient}/{_text(dataset, _SOP_INSTANCE)}.dcm", unseen)

    def _sees_text(self, data: bytes) -> bool | None:
        """Look at the first, the middle and the last frame; None if they cannot be decoded."""
        try:
            frames = inspect(data, budget=self._budget).pages
            numbers = sorted({0, frames // 2, frames - 1})
            return any(has_text(decode(data, page=number, budget=self._budget).pixels) for number in numbers)
        except DecodeError:
            return None

    def _clean(self, dataset: Dataset, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise DecodeError("unsupported", f"sequences are nested more than {_MAX_DEPTH} deep")
        for tag in list(dataset.keys()):
            element = dataset.get_item(tag)
            action = action_of(int(tag), element.VR, element.value if isinstance(element.value, bytes) else None)
            if action == "remove":
                del dataset[tag]
            elif action == "terms":
                _keep_terms(dataset, int(tag))
            elif action == "recurse":
                for item in dataset[tag].value:  # understands the sequence where it was not yet
                    self._clean(item, depth + 1)
            elif action != "keep":
                _put(dataset, int(tag), self._replacement(dataset, int(tag), action))

    def _replacement(self, dataset: Dataset, tag: int, action: str) -> object:
        from pydicom import Dataset

        if action == "empty":
            return None
        if action == "uid":
            return [self.uid(part) for part in _text(dataset, tag).split("\\")]
        if tag == _PATIENT_ID:
            return self.patient(_text(dataset, tag))
        vr = known_vr(tag)
        if vr == "UI":
            return self.uid(_text(dataset, tag) or "0")
        return [Dataset()] if vr == "SQ" else _DUMMIES[vr.split(" or ")[0]]


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning: its warnings quote what they are about."""
    import logging

    logger = logging.getLogger("pydicom")
    was = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was


def transfer_syntax(data: bytes) -> str:
    """Return the UID of the transfer syntax, read without pydicom, which inflates whatever a file holds.

    Raises:
        DecodeError: If it is no DICOM file or names none.
    """
    if not data.startswith(b"DICM", 128):
        raise DecodeError("unsupported", "the file is no DICOM file with a header of 132 bytes")
    position = _PREFIX_END
    while position + 8 <= len(data):
        group, element, vr, length = struct.unpack_from("<HH2sH", data, position)
        if group != 2:
            break
        position += 8
        if vr in _LONG_VRS:
            length = int.from_bytes(data[position : position + 4], "little")
            position += 4
        if element == 0x10:
            return data[position : position + length].decode("ascii", "replace").strip(" \0")
        position += length
    raise DecodeError("corrupt", "the file names no transfer syntax", field="TransferSyntaxUID")


def _dataset_start(data: bytes) -> int:
    position = _PREFIX_END
    while position + 8 <= len(data):
        group, _, vr, length = struct.unpack_from("<HH2sH", data, position)
        if group != 2:
            break
        position += 8 + (
            4 + int.from_bytes(data[position + 8 : position + 12], "little") if vr in _LONG_VRS else length
        )
    return position


def _check_inflated(data: bytes, syntax: str, budget: Budget) -> None:
    """Count what a deflated file inflates to before pydicom does it in one go."""
    if syntax not in _DEFLATED:
        return
    inflater, found, position = zlib.decompressobj(-zlib.MAX_WBITS), 0, _dataset_start(data)
    while not inflater.eof:
        piece = inflater.unconsumed_tail or data[position : position + 4096]
        position += 0 if inflater.unconsumed_tail else len(piece)
        if not piece:
            raise DecodeError("truncated", "the deflated part ends too early")
        found += len(inflater.decompress(piece, 65536))
        if found > budget.max_decoded_bytes or found > max(budget.ratio_above_bytes, budget.max_ratio * len(data)):
            raise DecodeError("too_large", f"{len(data)} bytes would inflate to more than {found}")


def _text(dataset: Dataset, tag: int) -> str:
    """Return a value as text without asking pydicom to understand it."""
    if tag not in dataset:
        return ""
    value = dataset.get_item(tag).value
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(" \0")
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return "\\".join(map(str, value)) if several else str(value or "")


def _check_image(dataset: Dataset) -> None:
    from pydicom._uid_dict import UID_dictionary

    if not any(tag in dataset for tag in _PIXELS):
        raise DecodeError("unsupported", "the file holds no pixels; only images are exported", field="PixelData")
    if dataset.file_meta.get("TransferSyntaxUID") not in UID_dictionary:
        raise DecodeError("unsupported", "the transfer syntax is private or unknown", field="TransferSyntaxUID")
    if _text(dataset, _SOP_CLASS) not in UID_dictionary:
        raise DecodeError("unsupported", "the kind of object is private or unknown", field="SOPClassUID")
    if not _text(dataset, _SOP_INSTANCE):
        raise DecodeError("corrupt", "the image has no instance UID", field="SOPInstanceUID")


def _check_pixels(dataset: Dataset) -> None:
    """Refuse pixels that are not all there, or that something else follows, which nobody would look at."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated or _PIXELS[0] not in dataset:
        return
    samples, rows, columns, bits = (int(dataset[tag].value) for tag in _SIZE)
    frames = int(dataset.get("NumberOfFrames") or 1)
    expected = -(-samples * rows * columns * frames * bits // 8)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        expected = expected * 2 // 3
    have = len(dataset.get_item(_PIXELS[0]).value)
    if have < expected:
        raise DecodeError("truncated", f"{expected} bytes of pixels are announced; {have} are there", field="PixelData")
    if have > expected + 1:
        raise DecodeError("corrupt", f"{expected} bytes of pixels are announced; {have} are there", field="PixelData")


def _burned_in(dataset: Dataset) -> str:
    """Return why an image may have text in its pixels; "" if nothing says so."""
    stated = _text(dataset, _BURNED_IN).upper()
    if stated == "YES":
        return f"the image says that text is burned into its pixels (BurnedInAnnotation YES); {_UNEXPORTED}"
    screen = "SCREEN SAVE" in _text(dataset, _IMAGE_TYPE).upper()
    kind = _text(dataset, _SOP_CLASS)
    suspect = _text(dataset, _MODALITY).upper() in _BURNED_MODALITIES or any(
        kind == other or kind.startswith(f"{other}.") for other in _BURNED_CLASSES
    )
    if screen or (suspect and stated != "NO"):
        return f"images of this kind often have text burned in, and it does not say NO; {_UNEXPORTED}"
    return ""


def _keep_terms(dataset: Dataset, tag: int) -> None:
    """Leave of a coded string the values that the standard defines; without one, and not empty before, it goes."""
    text = _text(dataset, tag)
    terms = defined_terms(tag, text)
    if any(terms):
        _put(dataset, tag, terms)
    elif text:
        del dataset[tag]


def _put(dataset: Dataset, tag: int, value: object) -> None:
    from pydicom.dataelem import DataElement

    vr = known_vr(tag).split(" or ")[0]
    dataset[tag] = DataElement(tag, vr, [] if value is None and vr == "SQ" else value)


def _say_so(dataset: Dataset) -> None:
    """State what was done, as the profile asks."""
    from pydicom import Dataset

    code = Dataset()
    code.CodeValue = "113100"
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = ["Medloom", "DICOM PS3.15 Annex E Basic Profile", "pixels unchanged"]
    dataset.DeidentificationMethodCodeSequence = [code]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def _written(dataset: Dataset) -> bytes:
    """Write with a preamble of zeros and file meta information of our own."""
    from pydicom.dataset import FileMetaDataset

    meta: Any = FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = _text(dataset, _SOP_CLASS)
    meta.MediaStorageSOPInstanceUID = _text(dataset, _SOP_INSTANCE)
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
