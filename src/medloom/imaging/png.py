"""PNG, decoded by libpng after every chunk was accounted for."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import imagecodecs

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.types import Budget, Header, Image

__all__ = ["CONTENT_TYPES", "MAGICS", "SUFFIXES", "codec", "decode", "inspect"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAGICS: tuple[tuple[int, bytes], ...] = ((0, _SIGNATURE),)
SUFFIXES: tuple[str, ...] = (".png",)
CONTENT_TYPES: tuple[str, ...] = ("image/png",)

_IHDR = struct.Struct(">I4sIIBBBBBI")
_CHUNK = struct.Struct(">I4s")
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
_MAX_SIDE = 1_000_000  # libpng's own limit
_MAX_CHUNKS = 100_000  # 25 MiB in 8 KiB chunks are 3,200


@dataclass(frozen=True)
class _Layout:
    height: int
    width: int
    depth: int
    colour: int
    chunks: frozenset[bytes]

    @property
    def transparent(self) -> bool:
        return b"tRNS" in self.chunks and self.colour in (0, 2, _PALETTE)

    @property
    def notes(self) -> tuple[str, ...]:
        found = (
            (self.colour == _PALETTE, "palette expanded"),
            (self.transparent, "transparency expanded to a last channel"),
            (self.colour != _PALETTE and self.depth < 8, f"{self.depth}-bit grey scaled to 0–255"),
            (b"acTL" in self.chunks, "animated: only the first image was read"),
        )
        return tuple(text for there, text in found if there)


def codec() -> str:
    """Name and version of what decodes it."""
    return str(imagecodecs.png_version())


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Walk the chunks to the end, checking the header against the budget first."""
    return _read(data, budget)[1]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return the pixels; of an animated PNG the default image, with a note."""
    layout, header = _read(data, budget)
    choose_page(page, 1)
    pixels = imagecodecs.png_decode(data).reshape(header.height, header.width, -1)
    if pixels.shape != header.shape or pixels.dtype != header.dtype:
        raise DecodeError("corrupt", f"the image decodes to {pixels.dtype} {pixels.shape}, not what its header says")
    return Image(pixels, "png", notes=layout.notes)


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    layout = _layout(data, frozenset())
    check_header(_header(layout), len(data), budget)
    layout = _layout(data, _walk(data))
    return layout, check_header(_header(layout), len(data), budget)


def _header(layout: _Layout) -> Header:
    channels = _CHANNELS[layout.colour] + layout.transparent
    return Header("png", layout.height, layout.width, channels, "uint16" if layout.depth == 16 else "uint8")


def _layout(data: bytes, chunks: frozenset[bytes]) -> _Layout:
    if len(data) < 8 + _IHDR.size:
        raise DecodeError("truncated", "the file ends within its header", field="IHDR")
    length, kind, width, height, depth, colour, *_, checksum = _IHDR.unpack_from(data, 8)
    if kind != b"IHDR" or length != 13 or zlib.crc32(data[12:29]) != checksum:
        raise DecodeError("corrupt", "the header of the PNG is damaged", field="IHDR")
    if depth not in _DEPTHS.get(colour, ()):
        raise DecodeError("corrupt", f"colour type {colour} with {depth} bits does not exist", field="IHDR")
    if max(height, width) > _MAX_SIDE:
        raise DecodeError("too_large", f"the header says {height}×{width}; a side has at most {_MAX_SIDE}")
    return _Layout(height, width, depth, colour, chunks)


def _walk(data: bytes) -> frozenset[bytes]:
    """Step over every chunk up to IEND, so that a file cut anywhere is known before it is decoded."""
    position, seen, end = 8, set[bytes](), len(data)
    for _ in range(_MAX_CHUNKS):
        if position + _CHUNK.size > end:
            raise DecodeError("truncated", "the file ends before its end marker", field="IEND")
        length, kind = _CHUNK.unpack_from(data, position)
        position += 12 + length
        if position > end:
            raise DecodeError("truncated", "the file ends within a chunk")
        seen.add(kind)
        if kind == b"IEND":
            return frozenset(seen)
    raise DecodeError("too_large", f"the file has more than {_MAX_CHUNKS} chunks")
