"""PNG, unpacked by Pillow after every chunk was accounted for.

Pillow sees a file of the header and the pixel chunks alone; palettes, transparency and 16 bits, which it would
narrow, are dealt with here, and so is the orientation that an eXIf chunk says. (imagecodecs is as fast, but each PNG
that it refuses costs a reference to ``None``, and a process of Python 3.11 ends when these run out.)

Source: PNG specification, third edition, sections 5 and 11.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import PIL
from PIL import PngImagePlugin

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.orientation import exif_orientation, orient, swaps_axes
from medloom.imaging.types import Budget, Format, Header, Image, Pixels

__all__ = ["FORMAT", "codec", "decode", "inspect"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_IHDR = struct.Struct(">IIBBBBB")
_CHUNK = struct.Struct(">I4s")
_HEADER_END = 8 + _CHUNK.size + _IHDR.size + 4
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GREY_ALPHA: (8, 16), _RGBA: (8, 16)}
_USED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf")
_ANYWHERE = (b"IDAT", b"eXIf")
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE_BYTES = 2**20
_MAX_CHUNKS = 100_000  # 25 MiB in 8 KiB chunks are 3,200


@dataclass(frozen=True)
class _Head:
    """The IHDR chunk."""

    width: int
    height: int
    depth: int
    colour: int
    interlace: int


@dataclass(frozen=True)
class _Layout:
    """All of a file but its pixels: colours (n, 3), transparency as stored, where the pixel chunks are."""

    head: _Head
    colours: bytes
    transparency: bytes
    pixel_chunks: tuple[slice, ...]
    animated: bool
    orientation: int
    exif_notes: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        found = (
            (self.head.colour == _PALETTE, "palette expanded"),
            (bool(self.transparency), "transparency expanded to a last channel"),
            (self.head.colour == _GREY and self.head.depth < 8, f"{self.head.depth}-bit grey scaled to 0–255"),
            (self.animated, "animated: only the first image was read"),
        )
        return (*(text for there, text in found if there), *self.exif_notes)


def codec() -> str:
    """Name and version of what decodes it."""
    return f"Pillow {PIL.__version__}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Check the header against the budget, then walk the chunks to the end."""
    return _read(data, budget)[1]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return the pixels; of an animated PNG the default image, with a note."""
    layout, header = _read(data, budget)
    choose_page(page, 1)
    _check_complete(data, layout)
    levels, indices = _levels(data, layout), None
    if layout.head.colour == _PALETTE:
        pixels, indices = _expanded(levels, layout), orient(levels, layout.orientation)
    else:
        scale = 255 // (2**layout.head.depth - 1) if layout.head.depth < 8 else 1
        pixels = _with_alpha(levels, layout, scale)
    height, width, channels = header.shape
    stored = (width, height, channels) if swaps_axes(layout.orientation) else header.shape
    if pixels.shape != stored or pixels.dtype != header.dtype:
        raise DecodeError("corrupt", f"the image decodes to {pixels.dtype} {pixels.shape}, not what its header says")
    return Image(orient(pixels, layout.orientation), "png", notes=layout.notes, indices=indices)


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    head = _head(data)
    check_header(_header(head, b"", 1), len(data), budget)
    layout = _walk(data, head)
    return layout, check_header(_header(head, layout.transparency, layout.orientation), len(data), budget)


def _header(head: _Head, transparency: bytes, orientation: int) -> Header:
    height, width = (head.width, head.height) if swaps_axes(orientation) else (head.height, head.width)
    channels = (3 if head.colour == _PALETTE else _SAMPLES[head.colour]) + bool(transparency)
    return Header("png", height, width, channels, "uint16" if head.depth == 16 else "uint8")


def _head(data: bytes) -> _Head:
    if len(data) < _HEADER_END:
        raise DecodeError("truncated", "the file ends within its header", field="IHDR")
    length, kind = _CHUNK.unpack_from(data, 8)
    if kind != b"IHDR" or length != _IHDR.size:
        raise DecodeError("corrupt", "the file does not begin with a header", field="IHDR")
    width, height, depth, colour, compression, filtering, interlace = _IHDR.unpack(_body(data, 8, length, kind))
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise DecodeError("corrupt", f"colour type {colour} with {depth} bits does not exist", field="IHDR")
    return _Head(width, height, depth, colour, interlace)


def _body(data: bytes, position: int, length: int, kind: bytes) -> bytes:
    """Return a chunk's content, after its checksum was found right."""
    end = position + _CHUNK.size + length
    if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
        raise DecodeError("corrupt", "the checksum of a chunk is wrong", field=kind.decode("latin-1"))
    return data[position + _CHUNK.size : end]


def _walk(data: bytes, head: _Head) -> _Layout:
    """Step over every chunk up to IEND, so that a file cut anywhere is known before it is decoded."""
    position, kinds, bodies, pixel_chunks = 8, set[bytes](), dict[bytes, bytes](), list[slice]()
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise DecodeError("truncated", "the file ends before its end marker", field="IEND")
        length, kind = _CHUNK.unpack_from(data, position)
        end = position + 12 + length
        if end > len(data):
            raise DecodeError("truncated", "the file ends within a chunk")
        kinds.add(kind)
        if kind == b"IEND":
            return _layout(head, bodies, pixel_chunks, animated=b"acTL" in kinds)
        if kind in _USED:
            body = _body(data, position, length, kind)
            if kind == b"IDAT":
                pixel_chunks.append(slice(position, end))
            elif bodies.setdefault(kind, body) is not body or (pixel_chunks and kind not in _ANYWHERE):
                raise DecodeError("corrupt", "a chunk comes twice or too late", field=kind.decode())
        elif not kind[0] & 0x20:
            raise DecodeError("unsupported", "the file needs a chunk that is not known")
        position = end
    raise DecodeError("too_large", f"the file has more than {_MAX_CHUNKS} chunks")


def _layout(head: _Head, bodies: dict[bytes, bytes], pixel_chunks: list[slice], *, animated: bool) -> _Layout:
    colours, transparency = bodies.get(b"PLTE", b""), bodies.get(b"tRNS", b"")
    if head.colour in (_GREY_ALPHA, _RGBA):
        transparency = b""
    expected = {_GREY: (2,), _RGB: (6,), _PALETTE: range(1, len(colours) // 3 + 1)}.get(head.colour, ())
    if transparency and len(transparency) not in expected:
        raise DecodeError("corrupt", "the transparency does not fit the colours", field="tRNS")
    if head.colour == _PALETTE and (not colours or len(colours) % 3 or len(colours) > 3 * 2**head.depth):
        raise DecodeError("corrupt", f"the palette has {len(colours)} bytes", field="PLTE")
    if not pixel_chunks:
        raise DecodeError("corrupt", "the file has no pixels", field="IDAT")
    orientation, notes = exif_orientation(bodies.get(b"eXIf", b""))
    return _Layout(head, colours, transparency, tuple(pixel_chunks), animated, orientation, notes)


def _check_complete(data: bytes, layout: _Layout) -> None:
    """Inflate the pixel chunks once, keeping nothing: Pillow leaves the rows black that are not there."""
    expected, found, inflater = _inflated_bytes(layout.head), 0, zlib.decompressobj()
    for chunk in layout.pixel_chunks:
        piece = data[chunk.start + _CHUNK.size : chunk.stop - 4]
        while piece and found <= expected:
            found += len(inflater.decompress(piece, _PIECE_BYTES))
            piece = inflater.unconsumed_tail
    found += len(inflater.flush(_PIECE_BYTES)) if found < expected else 0
    if found > expected:
        raise DecodeError("corrupt", f"there are more than the {expected} bytes of pixels", field="IDAT")
    if found < expected or not inflater.eof:
        raise DecodeError("truncated", f"the pixels end after {found} of {expected} bytes", field="IDAT")


def _inflated_bytes(head: _Head) -> int:
    """Return the length of all rows, each with its filter byte."""
    bits = head.depth * _SAMPLES[head.colour]
    passes = _ADAM7 if head.interlace else ((0, 0, 1, 1),)
    sides = [(-(-(head.width - x) // dx), -(-(head.height - y) // dy)) for x, y, dx, dy in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sides if columns > 0 and rows > 0)


def _levels(data: bytes, layout: _Layout) -> Pixels:
    """Return the stored samples (H, W, C), not scaled: a 2-bit grey is 0 to 3."""
    head, samples = layout.head, _SAMPLES[layout.head.colour]
    if head.depth == 16 and samples <= 2:  # two or four bytes a pixel: the same bytes as 8-bit grey-alpha or RGBA
        stored = _unpacked(data, layout, 8, _GREY_ALPHA if samples == 1 else _RGBA)
        return stored.view(">u2").astype(np.uint16)
    if head.depth == 16:
        high = _unpacked(data, layout, 16, head.colour, "B").astype(np.uint16)
        return high << np.uint16(8) | _unpacked(data, layout, 16, head.colour, "L")
    colour = _GREY if head.colour == _PALETTE else head.colour  # indices are unpacked as levels of grey are
    stored = _unpacked(data, layout, head.depth, colour).astype(np.uint8, copy=False)
    return stored // (255 // (2**head.depth - 1)) if head.depth in (2, 4) else stored


def _unpacked(data: bytes, layout: _Layout, depth: int, colour: int, byte: str = "") -> Pixels:
    """Let Pillow inflate and unfilter the pixel chunks under a header of the given depth and colour.

    Of 16-bit colours Pillow's unpackers keep one byte: the first for big-endian ("B"), the second for little ("L").
    """
    head = layout.head
    start = b"IHDR" + _IHDR.pack(head.width, head.height, depth, colour, 0, 0, head.interlace)
    header = _IHDR.size.to_bytes(4, "big") + start + zlib.crc32(start).to_bytes(4, "big")
    end = b"\0\0\0\0IEND\xae\x42\x60\x82"
    clean = b"".join([_SIGNATURE, header, *(data[chunk] for chunk in layout.pixel_chunks), end])
    with PngImagePlugin.PngImageFile(io.BytesIO(clean)) as image:
        if byte:
            image.tile = [tile._replace(args=f"{image.mode};16{byte}") for tile in image.tile]
        return np.array(image).reshape(head.height, head.width, -1)


def _expanded(indices: Pixels, layout: _Layout) -> Pixels:
    colours = np.frombuffer(layout.colours, np.uint8).reshape(-1, 3)
    if layout.transparency:
        alpha = np.full((len(colours), 1), 255, np.uint8)
        alpha[: len(layout.transparency), 0] = np.frombuffer(layout.transparency, np.uint8)
        colours = np.hstack([colours, alpha])
    if int(indices.max()) >= len(colours):
        raise DecodeError("corrupt", f"a pixel has colour {int(indices.max())} of {len(colours)}", field="PLTE")
    return colours[indices[..., 0]]


def _with_alpha(levels: Pixels, layout: _Layout, scale: int) -> Pixels:
    """Scale the levels; add a channel that is 0 where the pixel has the transparent colour."""
    pixels: Pixels = levels * levels.dtype.type(scale) if scale > 1 else levels
    if not layout.transparency:
        return pixels
    opaque = (levels != np.frombuffer(layout.transparency, ">u2")).any(axis=2, keepdims=True)
    return np.concatenate([pixels, opaque * np.iinfo(levels.dtype).max], axis=2, dtype=levels.dtype, casting="unsafe")


FORMAT = Format(
    name="png",
    magics=((0, _SIGNATURE),),
    suffixes=(".png",),
    content_types=("image/png",),
    codec=codec,
    inspect=inspect,
    decode=decode,
)
