"""WebP with one picture, decoded by libwebp (through Pillow) after every chunk was walked.

Source: Google, WebP container specification and WebP lossless bitstream specification; RFC 6386 (VP8).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import PIL
from PIL import WebPImagePlugin, features

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.orientation import exif_orientation, orient, swaps_axes
from medloom.imaging.types import Budget, Format, Header, Image

__all__ = ["FORMAT", "codec", "decode", "inspect"]

_CHUNK = struct.Struct("<4sI")
_FIRST_CHUNK = 12
_MAX_CHUNKS = 4096
_ANIMATION, _ALPHA = 0x02, 0x10
_LOSSLESS, _LOSSY, _EXTENDED = b"VP8L", b"VP8 ", b"VP8X"
_LOSSLESS_START, _LOSSY_START = 0x2F, b"\x9d\x01\x2a"
_EXIF = b"Exif\0\0"


@dataclass(frozen=True)
class _Layout:
    height: int
    width: int
    channels: int
    lossy: bool
    orientation: int
    exif_notes: tuple[str, ...]

    @property
    def header(self) -> Header:
        turned = swaps_axes(self.orientation)
        height, width = (self.width, self.height) if turned else (self.height, self.width)
        return Header("webp", height, width, self.channels, "uint8")


def codec() -> str:
    """Name and version of what decodes it."""
    return f"libwebp {features.version('webp')} (Pillow {PIL.__version__})"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Walk the chunks to the end of the file, and check the picture against the budget."""
    return _read(data, budget)[1]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return RGB pixels, with a last channel where the picture says that it is transparent somewhere."""
    layout, header = _read(data, budget)
    choose_page(page, 1)
    with WebPImagePlugin.WebPImageFile(io.BytesIO(data)) as image:
        pixels = np.array(image)
    if pixels.shape != (layout.height, layout.width, layout.channels):
        raise DecodeError("corrupt", f"the image decodes to {pixels.shape}, not what its header says")
    notes = ("lossy compression",) if layout.lossy else ()
    return Image(orient(pixels, layout.orientation), header.format, notes=(*notes, *layout.exif_notes))


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    layout = _layout(_chunks(data))
    return layout, check_header(layout.header, len(data), budget)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks by name, the first of each; all lie in the file, and it ends with them."""
    size = int.from_bytes(data[4:8], "little")
    if len(data) < _FIRST_CHUNK or len(data) < size + 8:
        raise DecodeError("truncated", "the file ends before its end", field="RIFF")
    found, at, end = dict[bytes, bytes](), _FIRST_CHUNK, size + 8
    for _ in range(_MAX_CHUNKS):
        if at == end or at == end - 1:
            return found
        if at + _CHUNK.size > end:
            break
        name, length = _CHUNK.unpack_from(data, at)
        if at + _CHUNK.size + length > end:
            break
        found.setdefault(name, data[at + _CHUNK.size : at + _CHUNK.size + length])
        at += _CHUNK.size + length + length % 2
    raise DecodeError("corrupt", "a chunk does not fit into the file", field="RIFF")


def _layout(chunks: dict[bytes, bytes]) -> _Layout:
    extended = chunks.get(_EXTENDED, bytes(10))
    if len(extended) < 10:
        raise DecodeError("corrupt", "the header is too short", field="VP8X")
    if extended[0] & _ANIMATION or b"ANMF" in chunks:
        raise DecodeError("unsupported", "the file is animated; expected one picture", hint="Save one picture as PNG.")
    if (_LOSSLESS in chunks) == (_LOSSY in chunks):
        raise DecodeError("corrupt", "the file has no picture, or two", field="VP8")
    lossy = _LOSSY in chunks
    width, height, alpha = _size_of_lossy(chunks[_LOSSY]) if lossy else _size_of_lossless(chunks[_LOSSLESS])
    if _EXTENDED in chunks:
        canvas = tuple(1 + int.from_bytes(extended[at : at + 3], "little") for at in (4, 7))
        if canvas != (width, height):
            raise DecodeError("corrupt", "the picture does not have the size of the file", field="VP8X")
        alpha = bool(extended[0] & _ALPHA)
    exif = chunks.get(b"EXIF", b"").removeprefix(_EXIF)
    return _Layout(height, width, 3 + alpha, lossy, *exif_orientation(exif))


def _size_of_lossless(body: bytes) -> tuple[int, int, bool]:
    if len(body) < 5 or body[0] != _LOSSLESS_START:
        raise DecodeError("corrupt", "the picture does not begin as one", field="VP8L")
    packed = int.from_bytes(body[1:5], "little")
    return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF), bool(packed >> 28 & 1)


def _size_of_lossy(body: bytes) -> tuple[int, int, bool]:
    if len(body) < 10 or body[3:6] != _LOSSY_START:
        raise DecodeError("corrupt", "the picture does not begin as one", field="VP8")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF, False


FORMAT = Format(
    name="webp",
    magics=((8, b"WEBP"),),
    suffixes=(".webp",),
    content_types=("image/webp",),
    codec=codec,
    inspect=inspect,
    decode=decode,
)
