"""JPEG, decoded by libjpeg-turbo after its markers were walked to the end of the image.

libjpeg fills what is missing with grey and only warns. Here a warning is an error, and the markers are walked first,
so that no part of an image is taken for the whole.

A picture that will be shrunk anyway can be decoded at 1/2, 1/4 or 1/8 of its size: the inverse cosine transform then
makes 4, 2 or 1 pixels of each 8, with the detail left out that they could not show.

Source: ITU-T T.81; libjpeg-turbo, ``usage.txt`` (scale_num, scale_denom).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import simplejpeg

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.orientation import exif_orientation, flips, orient, swaps_axes
from medloom.imaging.types import Budget, Format, Header, Image, Pixels, Reduction

__all__ = ["FACTORS", "FORMAT", "MARGIN", "codec", "decode", "decode_reduced", "decode_stream", "inspect"]

_SOI, _EOI, _SOS, _APP1, _APP2, _DNL = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xDC
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range
_DECODED_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive with Huffman coding
_COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_ALONE = {0x01, *range(0xD0, 0xD8)}
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in entropy-coded data: neither stuffing, fill nor restart
_AFTER_JUNK = re.compile(rb"\xff[^\x00\xff]")  # between segments
_ADOBE = b"\xff\xee"
_EXIF = b"Exif\x00\x00"
_PROFILE = b"ICC_PROFILE\x00"
_MAX_SEGMENTS = 4096
# The reduced picture stays this many times as large as what is made of it. Measured on radiographs and photographs
# shrunk by a triangle filter: 0.3 to 0.5 grey levels of mean difference to the whole picture shrunk, below 0.7 for each
# single image; without the margin up to 1.0.
MARGIN = (4, 3)
FACTORS = (8, 4, 2)
_MAX_SCANS = 64  # an ordinary progressive file has about ten; each scan costs a pass over the image


@dataclass(frozen=True)
class _Layout:
    height: int
    width: int
    components: int
    orientation: int
    notes: tuple[str, ...]
    without: tuple[tuple[int, int], ...] = ()
    """Start and end of what says nothing about the pixels and libjpeg warns of: damaged segments, junk between them."""


def codec() -> str:
    """Name and version of what decodes it."""
    return f"simplejpeg {version('simplejpeg')}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Walk the markers to the end of the image, and check its frame against the budget."""
    return _read(data, budget)[1]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return grey or RGB pixels as they are meant to be seen."""
    return decode_reduced(data, page, budget, None)


def decode_reduced(data: bytes, page: int | None, budget: Budget, at_least: tuple[int, int] | None, /) -> Image:
    """Return the same at the smallest fraction of its size that serves a picture of this size; see `decoding.decode`.

    Args:
        data: The encoded image.
        page: None or 0.
        budget: What the whole picture may cost.
        at_least: Height and width, as the picture is meant to be seen; None for the whole picture.
    """
    layout, header = _read(data, budget)
    choose_page(page, 1)
    factor = 1 if at_least is None else _factor(header, at_least)
    pixels = _pixels(data, layout, factor)
    if layout.components == 4:
        pixels = _rgb_from_cmyk(pixels)
    pixels = orient(pixels, layout.orientation)
    if factor == 1:
        return Image(pixels, header.format, notes=layout.notes)
    notes = (*layout.notes, f"decoded at 1/{factor} of its size")
    return Image(pixels, header.format, notes=notes, reduction=_reduction(header, pixels, factor, layout.orientation))


def decode_stream(data: bytes, budget: Budget, /) -> Pixels:
    """Return the pixels of a JPEG within another file, as strictly as those of a file; not turned.

    Raises:
        DecodeError: If it is cut, damaged, over the budget, or not read.
    """
    return _pixels(data, _walk(data, budget))


def _factor(header: Header, at_least: tuple[int, int]) -> int:
    """The largest fraction that leaves both sides the margin; 1 where none does."""
    more, of = MARGIN
    sides = tuple(zip((header.height, header.width), at_least, strict=True))
    return next((one for one in FACTORS if all(side * of >= least * one * more for side, least in sides)), 1)


def _reduction(header: Header, pixels: Pixels, factor: int, orientation: int) -> Reduction:
    """Say where the picture lies: its last stored row and column of pixels may be there in part only."""
    height, width = header.height / factor, header.width / factor
    rows, columns = flips(orientation)
    top = pixels.shape[0] - height if rows else 0.0
    left = pixels.shape[1] - width if columns else 0.0
    return Reduction(header.height, header.width, (left, top, left + width, top + height))


def _pixels(data: bytes, layout: _Layout, factor: int = 1) -> Pixels:
    """Decode with every warning an error; the text of one names no content, but stays in the chain all the same."""
    for start, end in reversed(layout.without):
        data = data[:start] + data[end:]
    height, width = -(-layout.height // factor), -(-layout.width // factor)
    try:
        # It takes the smallest of the sizes it can make that is not below the least; factor 1 is no reduction.
        least = {} if factor == 1 else {"min_height": height, "min_width": width}
        pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace=_COLOURS[layout.components], strict=True, **least)
    except ValueError as error:
        raise DecodeError(
            "corrupt", "its compressed pixels are damaged or incomplete", hint="Export it again."
        ) from error
    if pixels.shape != (height, width, layout.components):
        raise DecodeError("corrupt", f"the image decodes to {pixels.shape}, not what its header says")
    return pixels


def _rgb_from_cmyk(stored: Pixels) -> Pixels:
    """Convert CMYK, which JPEG files store inverted (as Adobe does), to RGB without a colour profile."""
    pixels = np.empty((*stored.shape[:2], 3), np.uint8)
    black = stored[..., 3].astype(np.uint16)
    for channel in range(3):
        pixels[..., channel] = (stored[..., channel] * black + np.uint16(127)) // np.uint16(255)
    return pixels


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    layout = _walk(data, budget)
    height, width = layout.height, layout.width
    if swaps_axes(layout.orientation):
        height, width = width, height
    return layout, Header("jpeg", height, width, min(layout.components, 3), "uint8")


def _walk(data: bytes, budget: Budget) -> _Layout:
    """Step over every segment and scan up to the end-of-image marker."""
    position, scans, frame, exif, profile = 2, 0, None, b"", list[tuple[bytes, int, int]]()
    start, junk = 0, list[tuple[int, int]]()
    for _ in range(_MAX_SEGMENTS):
        position = _after_junk(data, start, position, junk)
        marker, position = _next_marker(data, position)
        if marker == _EOI:
            return _layout(frame, exif, scans, profile, junk)
        if marker in _ALONE:
            continue
        start = position - 2
        body, position = _segment(data, position)
        if marker in _FRAMES:
            frame = _frame(marker, body, frame, len(data), budget)
        elif marker == _APP1 and body.startswith(_EXIF):
            exif = exif or body[len(_EXIF) :]
        elif marker == _APP2 and body.startswith(_PROFILE):
            profile.append((body[len(_PROFILE) :], start, position))
        elif marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS or frame is None:
                raise DecodeError("corrupt", f"scan {scans} does not belong to an image", field="SOS")
            position = _end_of_scan(data, position)
        elif marker in (_SOI, _DNL):
            raise DecodeError("unsupported", f"marker {marker:#x} within the image is not read")
    raise DecodeError("too_large", f"the file has more than {_MAX_SEGMENTS} segments")


def _after_junk(data: bytes, before: int, position: int, junk: list[tuple[int, int]]) -> int:
    """Return where the next marker is, and keep what lies before it, as every reader skips it.

    Args:
        data: The file.
        before: Where the last segment begins.
        position: Where it ends.
        junk: Start and end of what is skipped; added to.

    Raises:
        DecodeError: ``corrupt`` if it looks like a part of the image, ``truncated`` if no marker comes.
    """
    if data[position : position + 1] in (b"\xff", b""):
        return position
    found = _AFTER_JUNK.search(data, position)
    if found is None:
        raise DecodeError("truncated", "the file ends before its end marker", field="EOI")
    start = found.start()
    # A segment whose marker is damaged, or the rest of one whose length is, that says how to show the image.
    a_segment = int.from_bytes(data[position + 2 : position + 4], "big") + 2 == start - position
    if a_segment or data.startswith(_ADOBE, before) or _EXIF in data[before:start]:
        raise DecodeError("corrupt", "a segment of the JPEG is damaged")
    junk.append((position, start))
    return start


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    while data[position : position + 1] == b"\xff":
        position += 1
    if position >= len(data):
        raise DecodeError("truncated", "the file ends before its end marker", field="EOI")
    return data[position], position + 1


def _segment(data: bytes, position: int) -> tuple[bytes, int]:
    length = int.from_bytes(data[position : position + 2], "big")
    if position + max(length, 2) > len(data):
        raise DecodeError("truncated", "the file ends within a segment")
    if length < 2:
        raise DecodeError("corrupt", "a segment of the JPEG has no length")
    return data[position + 2 : position + length], position + length


def _end_of_scan(data: bytes, position: int) -> int:
    found = _MARKER.search(data, position)
    if found is None:
        raise DecodeError("truncated", "the file ends within its pixels", field="EOI")
    return found.start()


def _frame(
    marker: int, body: bytes, earlier: tuple[int, int, int] | None, encoded: int, budget: Budget
) -> tuple[int, int, int]:
    """Return height, width and components, after they were found acceptable."""
    if earlier is not None or len(body) < 6:
        raise DecodeError("corrupt", "the frame header is damaged", field="SOF")
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    if marker not in _DECODED_FRAMES or precision != 8:
        raise DecodeError(
            "unsupported", f"JPEG process {marker - 0xC0} with {precision} bits is not read", field="SOF",
            hint="Save it as baseline or progressive JPEG with 8 bits, or as PNG.",
        )  # fmt: skip
    if components not in (1, 3, 4):
        raise DecodeError("unsupported", f"the image has {components} components; expected 1, 3 or 4", field="SOF")
    check_header(Header("jpeg", height, width, components, "uint8"), encoded, budget)
    return height, width, components


def _layout(
    frame: tuple[int, int, int] | None, exif: bytes, scans: int, profile: list[tuple[bytes, int, int]],
    junk: list[tuple[int, int]],
) -> _Layout:  # fmt: skip
    if frame is None or not scans:
        raise DecodeError("corrupt", "the file ends before an image came", field="SOF")
    orientation, notes = exif_orientation(exif)
    if frame[2] == 4:
        notes = (*notes, "CMYK converted to RGB")
    without = list(junk)
    if junk:
        notes = (*notes, "bytes between the segments of the JPEG skipped")
    if not _is_whole(profile):  # no pixel depends on it, but libjpeg warns
        notes = (*notes, "damaged colour profile was ignored")
        without += [(start, end) for _, start, end in profile]
    return _Layout(*frame, orientation, notes, tuple(sorted(without)))


def _is_whole(profile: list[tuple[bytes, int, int]]) -> bool:
    """Whether the parts of a colour profile are all there: each begins with its number and how many there are."""
    parts = sorted(body[:2] for body, _, _ in profile)
    expected = [bytes([number, len(parts)]) for number in range(1, len(parts) + 1)] if len(parts) < 256 else []
    return not parts or (parts == expected and any(len(body) > 2 for body, _, _ in profile))


FORMAT = Format(
    name="jpeg",
    magics=((0, b"\xff\xd8\xff"),),
    suffixes=(".jpg", ".jpeg"),
    content_types=("image/jpeg", "image/jpg"),
    codec=codec,
    inspect=inspect,
    decode=decode,
    decode_reduced=decode_reduced,
)
