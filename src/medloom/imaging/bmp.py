"""BMP of every depth, not compressed: the header first, then rows of a length that it announces.

A BMP has no levels of grey but as a palette. A palette of greys alone comes out as one channel, any other as RGB.

Source: Microsoft, "Bitmap Header Types" (BITMAPCOREHEADER to BITMAPV5HEADER) and "Bitmap Compression".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.palette import channels_of, expanded
from medloom.imaging.types import Budget, Format, Header, Image, Pixels

__all__ = ["FORMAT", "codec", "decode", "inspect"]

_FILE_HEADER = 14
_CORE, _INFO, _WITH_MASKS, _WITH_ALPHA = 12, 40, 52, 56
_HEADERS = (_CORE, _INFO, _WITH_MASKS, _WITH_ALPHA, 64, 108, 124)
_RAW, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 3, 6
_COMPRESSIONS = {1: "RLE8", 2: "RLE4", 4: "JPEG", 5: "PNG"}
_PALETTES = (1, 4, 8)
_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}


@dataclass(frozen=True)
class _Layout:
    """The header, understood. Masks say which bits of a pixel are red, green, blue and, if there, opaque."""

    height: int
    width: int
    upwards: bool
    bits: int
    start: int
    masks: tuple[int, ...]
    colours: Pixels

    @property
    def row_bytes(self) -> int:
        return -(-self.width * self.bits // 32) * 4

    @property
    def channels(self) -> int:
        if self.bits in _PALETTES:
            return channels_of(self.colours)
        return len(self.masks) or 3


def codec() -> str:
    """Name and version of what decodes it."""
    return f"NumPy {np.__version__}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Parse the header, check it against the budget, and count the bytes that are there."""
    return _read(data, budget)[1]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return the pixels, the top row first."""
    layout, header = _read(data, budget)
    choose_page(page, 1)
    rows = np.frombuffer(data, np.uint8, layout.height * layout.row_bytes, layout.start)
    rows = rows.reshape(layout.height, layout.row_bytes)[:: -1 if layout.upwards else 1]
    if layout.bits not in _PALETTES:
        return Image(_true_colours(rows, layout), header.format)
    levels = imagecodecs.packints_decode(np.ascontiguousarray(rows).tobytes(), np.uint8, layout.bits)
    levels = levels.reshape(layout.height, -1)[:, : layout.width, np.newaxis]
    pixels = expanded(levels, layout.colours)
    return Image(pixels, header.format, notes=("palette expanded",), indices=np.ascontiguousarray(levels))


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    layout = _layout(data)
    header = Header("bmp", layout.height, layout.width, layout.channels, "uint8")
    check_header(header, len(data), budget)
    if layout.start + layout.height * layout.row_bytes > len(data):
        raise DecodeError("truncated", "the file ends within its pixels", field="bfOffBits")
    return layout, header


def _layout(data: bytes) -> _Layout:
    if len(data) < _FILE_HEADER + _CORE:
        raise DecodeError("truncated", "the file ends within its header")
    start, size = struct.unpack_from("<II", data, 10)
    if size not in _HEADERS:
        raise DecodeError("corrupt", f"the header says that it has {size} bytes", field="biSize")
    if len(data) < _FILE_HEADER + size:
        raise DecodeError("truncated", "the file ends within its header")
    kind, compression, used = ("<HHHH", _RAW, 0) if size == _CORE else ("<iiHH", *_compression(data))
    width, height, planes, bits = struct.unpack_from(kind, data, 18)
    if planes != 1 or bits not in (*_PALETTES, 16, 24, 32) or width < 1 or height == 0:
        raise DecodeError(
            "corrupt", f"{bits} bits, {planes} planes and a width of {width} are no image", field="biSize"
        )
    masks = _masks(data, size, compression, bits)
    after = _FILE_HEADER + size + (4 * len(masks) if size == _INFO and compression != _RAW else 0)
    if start < after:
        raise DecodeError("corrupt", "the pixels begin within the header", field="bfOffBits")
    colours = _colours(data[after:start], used or 2**bits, 3 if size == _CORE else 4) if bits in _PALETTES else None
    nothing = np.empty((0, 3), np.uint8)
    return _Layout(abs(height), width, height > 0, bits, start, masks, nothing if colours is None else colours)


def _compression(data: bytes) -> tuple[int, int]:
    """Return the compression, and how many colours of a palette are used; 0 for all."""
    (compression,) = struct.unpack_from("<I", data, 30)
    if compression not in (_RAW, _BIT_FIELDS, _ALPHA_BIT_FIELDS):
        name = _COMPRESSIONS.get(compression, compression)
        raise DecodeError(
            "unsupported", f"a BMP with the compression {name} is not read", field="biCompression",
            hint="Save it as PNG.",
        )  # fmt: skip
    return compression, int(struct.unpack_from("<I", data, 46)[0])


def _masks(data: bytes, size: int, compression: int, bits: int) -> tuple[int, ...]:
    """Return the bits of each colour, of 16 and 32 bits."""
    if compression == _RAW:
        return _MASKS.get(bits, ())
    alpha = compression == _ALPHA_BIT_FIELDS or size >= _WITH_ALPHA
    at = _FILE_HEADER + _INFO
    if bits not in _MASKS or at + 16 > len(data):
        raise DecodeError("corrupt", f"bit masks do not belong to {bits} bits", field="biCompression")
    masks = struct.unpack_from("<IIII" if alpha else "<III", data, at)
    masks = masks if masks[-1] or not alpha else masks[:3]
    if not all(masks) or any(one & other for number, one in enumerate(masks) for other in masks[:number]):
        raise DecodeError("corrupt", "the bit masks of the colours overlap or are empty", field="bV5RedMask")
    return masks


def _colours(table: bytes, count: int, step: int) -> Pixels:
    """Return the palette (n, 3) as RGB; it is stored as blue, green, red."""
    found = np.frombuffer(table[: len(table) // step * step], np.uint8).reshape(-1, step)[:count, 2::-1]
    if not len(found):
        raise DecodeError("corrupt", "the file has no palette", field="biClrUsed")
    return found


def _true_colours(rows: Pixels, layout: _Layout) -> Pixels:
    if layout.bits == 24:
        return np.ascontiguousarray(rows[:, : 3 * layout.width].reshape(layout.height, layout.width, 3)[..., ::-1])
    kind = np.dtype("<u2" if layout.bits == 16 else "<u4")
    stored = np.ascontiguousarray(rows).view(kind)[:, : layout.width].astype(np.uint64)
    pixels = np.empty((layout.height, layout.width, len(layout.masks)), np.uint8)
    for channel, mask in enumerate(layout.masks):
        lowest = mask & -mask
        pixels[..., channel] = (
            (stored & np.uint64(mask)) // np.uint64(lowest) * np.uint64(255) // np.uint64(mask // lowest)
        )
    return pixels


FORMAT = Format(
    name="bmp",
    magics=((0, b"BM"),),
    suffixes=(".bmp", ".dib"),
    content_types=("image/bmp", "image/x-ms-bmp"),
    codec=codec,
    inspect=inspect,
    decode=decode,
)
