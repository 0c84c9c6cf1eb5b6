"""A DICOM file as a whole: preamble, file meta information, and the data set in its transfer syntax.

Source: DICOM PS3.10, section 7; PS3.5, annex A.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import imagecodecs

from medloom.errors import DecodeError
from medloom.imaging.dicom_elements import DataSet, Reader, Span
from medloom.imaging.dicom_tags import PIXELS, TAGS

__all__ = ["MAGICS", "SYNTAXES", "DicomFile", "Syntax", "open_file", "open_head", "transfer_syntaxes"]

Kind = Literal["raw", "rle", "jpeg", "jpeg_lossless", "jpeg_ls", "jpeg_2000"]

_PREFIX_AT, _PREFIX = 128, b"DICM"
_META_WITHOUT_PREAMBLE = b"\x02\x00\x00\x00UL\x04\x00"
# Data sets as they lie in a PACS or come from a network: their first element is one of these, of group 0008.
_FIRST_ELEMENTS = (0x00, 0x01, 0x05, 0x06, 0x08, *range(0x12, 0x19), 0x1A, 0x1B, *range(0x20, 0x24), 0x30, 0x50, 0x60)
_IMPLICIT, _EXPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_BARE = {**{bytes([8, 0, number, 0]): _EXPLICIT for number in _FIRST_ELEMENTS},
         **{bytes([0, 8, 0, number]): _BIG_ENDIAN for number in _FIRST_ELEMENTS}}  # fmt: skip
MAGICS: tuple[tuple[int, bytes], ...] = (
    (_PREFIX_AT, _PREFIX), (0, _META_WITHOUT_PREAMBLE), *((0, begin) for begin in _BARE),
)  # fmt: skip
"""How DICOM files begin, with a preamble and without."""

_PROGRAMS = (b"MZ", b"\x7fELF", b"#!")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MOST_HEADER_BYTES = 16 * 2**20  # inflated before the size of the pixels is known
_MOST_TRAILER_BYTES = 2**20
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Syntax:
    """A transfer syntax that is read: its name, how its pixels are stored, and in which order bytes and types come.

    ``lossy`` is one whose pixels may not be those that were compressed.
    """

    name: str
    kind: Kind
    little: bool = True
    implicit: bool = False
    lossy: bool = False


SYNTAXES: dict[str, Syntax] = {
    _IMPLICIT: Syntax("Implicit VR Little Endian", "raw", implicit=True),
    _EXPLICIT: Syntax("Explicit VR Little Endian", "raw"),
    _DEFLATED: Syntax("Deflated Explicit VR Little Endian", "raw"),
    _BIG_ENDIAN: Syntax("Explicit VR Big Endian", "raw", little=False),
    "1.2.840.10008.1.2.5": Syntax("RLE Lossless", "rle"),
    "1.2.840.10008.1.2.4.50": Syntax("JPEG Baseline", "jpeg", lossy=True),
    "1.2.840.10008.1.2.4.51": Syntax("JPEG Extended", "jpeg", lossy=True),
    "1.2.840.10008.1.2.4.57": Syntax("JPEG Lossless", "jpeg_lossless"),
    "1.2.840.10008.1.2.4.70": Syntax("JPEG Lossless SV1", "jpeg_lossless"),
    "1.2.840.10008.1.2.4.80": Syntax("JPEG-LS Lossless", "jpeg_ls"),
    "1.2.840.10008.1.2.4.81": Syntax("JPEG-LS Near-lossless", "jpeg_ls", lossy=True),
    "1.2.840.10008.1.2.4.90": Syntax("JPEG 2000 Lossless", "jpeg_2000"),
    "1.2.840.10008.1.2.4.91": Syntax("JPEG 2000", "jpeg_2000", lossy=True),
    "1.2.840.10008.1.2.4.201": Syntax("HTJ2K Lossless", "jpeg_2000"),
    "1.2.840.10008.1.2.4.202": Syntax("HTJ2K Lossless RPCL", "jpeg_2000"),
    "1.2.840.10008.1.2.4.203": Syntax("HTJ2K", "jpeg_2000", lossy=True),
}

_CODECS: dict[Kind, str] = {
    "rle": "packbits", "jpeg": "jpeg8", "jpeg_lossless": "jpeg8", "jpeg_ls": "jpegls", "jpeg_2000": "jpeg2k",
}  # fmt: skip

# What is stored as DICOM and is no image, by the beginning of its SOP class: DICOMDIR, waveforms, presentation
# states, reports, documents, raw data, radiotherapy other than images and dose, and others without pixels.
_CLASS = "1.2.840.10008.5.1.4.1.1."
_NOT_IMAGES = (
    "1.2.840.10008.1.3.10", *(f"{_CLASS}{number}." for number in (9, 11, 88, 104)), *(f"{_CLASS}66", f"{_CLASS}67"),
    *(f"{_CLASS}481.{number}" for number in (3, 4, 5, 6, 7, 8, 9)), f"{_CLASS}4.2", f"{_CLASS}78.", f"{_CLASS}79.",
)  # fmt: skip


@dataclass(frozen=True)
class DicomFile:
    """A file whose elements all lie within it, with its transfer syntax and the keyword of what holds its pixels."""

    data_set: DataSet
    syntax: Syntax
    pixels: str = "PixelData"
    notes: tuple[str, ...] = ()


def transfer_syntaxes() -> dict[str, str]:
    """Return the transfer syntaxes whose pixels decode on this machine.

    Returns:
        For each UID, its name and what decodes it.

    Example:
        >>> transfer_syntaxes()["1.2.840.10008.1.2.1"]
        'Explicit VR Little Endian: NumPy'
    """
    found = dict[str, str]()
    for uid, syntax in SYNTAXES.items():
        codec = _CODECS.get(syntax.kind)
        if codec is None:
            found[uid] = f"{syntax.name}: NumPy"
        elif getattr(imagecodecs, codec.upper()).available:
            found[uid] = f"{syntax.name}: {getattr(imagecodecs, f'{codec}_version')()}"
    return found


def open_file(data: bytes, check_pixels: Callable[[DataSet, str], int]) -> DicomFile:
    """Find the elements of a file.

    Args:
        data: The file.
        check_pixels: Called with a deflated data set up to its pixels, before these are inflated, and the keyword of
            what holds them; returns how many bytes they have, or raises.

    Raises:
        DecodeError: If it is cut or damaged, no image, or in a transfer syntax that is not read.
    """
    if data.startswith(_PROGRAMS):
        raise DecodeError(
            "unsupported", "the file is also a program: its preamble is that of an executable", field="preamble",
            hint="Do not run it. Export the image again.",
        )  # fmt: skip
    uid, stored_class, at = _meta(data, _start(data))
    guessed = not uid
    if guessed:
        uid = _guessed(data, at)
    syntax = SYNTAXES[uid]
    reader = Reader(data, syntax.little)
    if uid == _DEFLATED:
        reader = Reader(_inflated(data[at:], check_pixels), syntax.little)
        at = 0
    data_set = DataSet(reader, Span(at, len(reader.data)), _implicit(reader.data[at : at + 6], syntax))
    pixels = _pixels(data_set, stored_class)
    return DicomFile(data_set, syntax, pixels, _of_guess(data_set, syntax, pixels) if guessed else ())


def open_head(data: bytes) -> tuple[Reader, int, bool]:
    """Open the beginning of a file, whose elements then need not all be there.

    Args:
        data: The file, or its beginning.

    Returns:
        What reads its elements, where the first one is, and whether they do not say their types.

    Raises:
        DecodeError: If it is damaged, or in a transfer syntax that is not read.
    """
    uid, _, at = _meta(data, _start(data))
    uid = uid or _guessed(data, at)
    if uid == _DEFLATED:
        try:
            data, at = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[at:], _MOST_TRAILER_BYTES), 0
        except zlib.error as error:
            raise DecodeError("corrupt", "the deflated data set is damaged") from error
    syntax = SYNTAXES[uid]
    return Reader(data, syntax.little), at, _implicit(data[at : at + 6], syntax)


def _start(data: bytes) -> int:
    """Return where the file meta information begins, or the data set where there is none."""
    return _PREFIX_AT + len(_PREFIX) if data.startswith(_PREFIX, _PREFIX_AT) else 0


def _guessed(data: bytes, at: int) -> str:
    """Return the transfer syntax of a data set whose file does not say it, by its first element.

    Raises:
        DecodeError: ``truncated`` if there is no data set, ``corrupt`` if it is none that can be told.
    """
    if at >= len(data):
        raise DecodeError("truncated", "the file ends within its file meta information")
    head = data[at : at + 6]
    uid = _BARE.get(head[:4], "")
    if not uid or (uid == _BIG_ENDIAN and not (head[4:].isalpha() and head[4:].isupper())):
        raise DecodeError(
            "corrupt", "the file does not say how it is encoded: it has no transfer syntax", field="TransferSyntaxUID",
            hint="Export it again as a DICOM file with file meta information.",
        )  # fmt: skip
    return uid


def _of_guess(data_set: DataSet, syntax: Syntax, pixels: str) -> tuple[str, ...]:
    """Return the note of a file that does not say how it is encoded.

    Raises:
        DecodeError: ``unsupported`` if its pixels are compressed, for nothing says how.
    """
    if data_set.elements[TAGS[pixels]].end < 0:
        raise DecodeError(
            "unsupported", "the pixels are compressed, and the file does not say how: it has no transfer syntax",
            field="TransferSyntaxUID", hint="Export it again as a DICOM file with file meta information.",
        )  # fmt: skip
    name = SYNTAXES[_IMPLICIT].name if data_set.implicit else syntax.name
    return (f"no transfer syntax in the file: read as {name}",)


def _meta(data: bytes, start: int) -> tuple[str, str, int]:
    """Return the transfer syntax, the class of what is stored, each "" if not said, and where the data set begins."""
    reader, at = Reader(data, little=True), start
    while int.from_bytes(data[at : at + 2], "little") == 2:
        at = reader.after(reader.element(at, len(data), implicit=False), implicit=False)
    meta = DataSet(reader, Span(start, at), implicit=False)
    uid = meta.text("TransferSyntaxUID")
    if uid and uid not in SYNTAXES:
        shown = uid if _UID.fullmatch(uid) else "not a UID"
        raise DecodeError(
            "unsupported", f"unsupported_transfer_syntax: {shown}", field="TransferSyntaxUID",
            hint="Export it uncompressed (Explicit VR Little Endian).",
        )  # fmt: skip
    return uid, meta.text("MediaStorageSOPClassUID"), at


def _implicit(head: bytes, syntax: Syntax) -> bool:
    """Tell whether elements do not say their types. The first one shows it, and some writers declare the other."""
    return not (head[4:6].isalpha() and head[4:6].isupper()) if syntax.little else False


def _pixels(data_set: DataSet, stored_class: str) -> str:
    """Return the keyword of what holds the pixels."""
    found = [keyword for tag, keyword in PIXELS.items() if tag in data_set.elements]
    if len(found) == 1:
        return found[0]
    if found:
        raise DecodeError("corrupt", "the file has pixels of several types; expected one", field="PixelData")
    sop_class = data_set.text("SOPClassUID") or stored_class
    if sop_class.startswith(_NOT_IMAGES):
        shown = sop_class if _UID.fullmatch(sop_class) else "not a UID"
        raise DecodeError("unsupported", f"the file is no image: its SOP class is {shown}", field="SOPClassUID")
    raise DecodeError("truncated", "the file ends before any pixels; it was cut, or holds no image", field="PixelData")


def _inflated(deflated: bytes, check_pixels: Callable[[DataSet, str], int]) -> bytes:
    """Inflate what comes before the pixels, find out how long these may be, then inflate the rest and no more."""
    head, complete = _inflate(deflated, _MOST_HEADER_BYTES)
    if complete:
        return head
    try:
        before, keyword = DataSet(Reader(head, little=True), Span(0, len(head)), implicit=False).before_pixels()
    except DecodeError as error:
        if error.code != "truncated":
            raise
        raise DecodeError("too_large", f"more than {_MOST_HEADER_BYTES} bytes come before the pixels") from error
    whole, complete = _inflate(deflated, before.span.end + check_pixels(before, keyword) + _MOST_TRAILER_BYTES)
    if not complete:
        raise DecodeError("corrupt", "the file inflates to more than its header says", field="PixelData")
    return whole


def _inflate(deflated: bytes, limit: int) -> tuple[bytes, bool]:
    """Return at most ``limit`` bytes, and whether that is all."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = inflater.decompress(deflated, limit)
    except zlib.error as error:
        raise DecodeError("corrupt", "the deflated data set is damaged") from error
    if not inflater.eof and not inflater.unconsumed_tail and len(found) < limit:
        raise DecodeError("truncated", "the deflated data set ends before its end marker")
    after = inflater.unused_data
    if after not in (b"", b"\0") and after != _gzip_trailer(found):
        raise DecodeError("corrupt", "something follows the deflated data set")
    return found, inflater.eof


def _gzip_trailer(found: bytes) -> bytes:
    """Return what gzip appends, and some writers with it: checksum and length."""
    return zlib.crc32(found).to_bytes(4, "little") + (len(found) % 2**32).to_bytes(4, "little")
