"""GIF with one picture, unpacked by Pillow after every block was walked to the end of the file.

A palette of greys alone comes out as one channel, any other as RGB; a transparent colour adds a last channel.

Source: CompuServe, GIF89a specification.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import PIL
from PIL import GifImagePlugin

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.palette import channels_of, expanded
from medloom.imaging.types import Budget, Format, Header, Image, Pixels

__all__ = ["FORMAT", "codec", "decode", "inspect"]

_SCREEN, _PICTURE = struct.Struct("<HHBBB"), struct.Struct("<HHHHB")
_EXTENSION, _SEPARATOR, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_HAS_TABLE, _SIZE_OF_TABLE, _HAS_TRANSPARENT = 0x80, 0x07, 0x01
_MAX_BLOCKS = 200_000  # of 255 bytes; 25 MiB have half as many


@dataclass(frozen=True)
class _Layout:
    """What comes before the pixels; ``transparent`` is an index, or -1."""

    height: int
    width: int
    colours: Pixels
    transparent: int

    @property
    def channels(self) -> int:
        return channels_of(self.colours) + (self.transparent >= 0)


def codec() -> str:
    """Name and version of what decodes it."""
    return f"Pillow {PIL.__version__}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Walk the blocks to the end of the file, and check the picture against the budget."""
    return _read(data, budget)[1]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return the pixels of the one picture."""
    layout, header = _read(data, budget)
    choose_page(page, 1)
    with GifImagePlugin.GifImageFile(io.BytesIO(data)) as image:
        indices = np.array(image).astype(np.uint8, copy=False)
    if indices.shape != (layout.height, layout.width):
        raise DecodeError("corrupt", f"the image decodes to {indices.shape}, not what its header says")
    indices = indices[..., np.newaxis]
    pixels, notes = expanded(indices, layout.colours), ["palette expanded"]
    if layout.transparent >= 0:
        opaque = (indices != layout.transparent) * np.uint8(255)
        pixels = np.concatenate([pixels, opaque], axis=2)
        notes.append("transparency expanded to a last channel")
    return Image(pixels, header.format, notes=tuple(notes), indices=indices)


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    walk = _Walk(data)
    height, width, colours = walk.screen()
    check_header(Header("gif", height, width, 1, "uint8"), len(data), budget)
    layout = walk.picture(height, width, colours)
    return layout, check_header(Header("gif", height, width, layout.channels, "uint8"), len(data), budget)


class _Walk:
    """Steps over the blocks of a file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 6

    def screen(self) -> tuple[int, int, Pixels]:
        """Return height and width, and the colours of all pictures; none where each has its own."""
        width, height, flags, _, _ = _SCREEN.unpack(self._take(_SCREEN.size))
        return height, width, self._table(flags)

    def picture(self, height: int, width: int, colours: Pixels) -> _Layout:
        """Return the one picture, after all blocks were seen up to the end of the file."""
        transparent, found = -1, list[_Layout]()
        while (kind := self._take(1)[0]) != _TRAILER:
            if kind == _EXTENSION:
                label = self._take(1)[0]
                body = self._blocks(keep=label == _CONTROL)
                if label == _CONTROL and len(body) == 4 and not found:
                    transparent = body[3] if body[0] & _HAS_TRANSPARENT else -1
            elif kind == _SEPARATOR:
                found.append(self._described(height, width, colours, transparent))
            else:
                raise DecodeError("corrupt", "a block of the GIF is of no kind that there is")
        if len(found) != 1:
            raise DecodeError(
                "unsupported" if found else "corrupt", f"the GIF has {len(found)} pictures; expected one",
                hint="Save the pictures that matter as PNG files.",
            )  # fmt: skip
        return found[0]

    def _described(self, height: int, width: int, colours: Pixels, transparent: int) -> _Layout:
        left, top, columns, rows, flags = _PICTURE.unpack(self._take(_PICTURE.size))
        own = self._table(flags)
        self._take(1)
        self._blocks(keep=False)
        if (left, top, columns, rows) != (0, 0, width, height):
            raise DecodeError("unsupported", "the picture of the GIF does not fill its screen", hint="Save it as PNG.")
        colours = own if len(own) else colours
        if not len(colours):
            raise DecodeError("corrupt", "the GIF has no palette")
        return _Layout(height, width, colours, transparent)

    def _table(self, flags: int) -> Pixels:
        count = 2 << (flags & _SIZE_OF_TABLE) if flags & _HAS_TABLE else 0
        return np.frombuffer(self._take(3 * count), np.uint8).reshape(-1, 3)

    def _blocks(self, *, keep: bool) -> bytes:
        """Step over sub-blocks up to the empty one; return what they hold, if asked to."""
        body = b""
        for _ in range(_MAX_BLOCKS):
            length = self._take(1)[0]
            if not length:
                return body
            piece = self._take(length)
            body = body + piece if keep and len(body) < 256 else body
        raise DecodeError("too_large", f"a part of the GIF has more than {_MAX_BLOCKS} blocks")

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise DecodeError("truncated", "the file ends before its end marker")
        self._at += count
        return piece


FORMAT = Format(
    name="gif",
    magics=((0, b"GIF87a"), (0, b"GIF89a")),
    suffixes=(".gif",),
    content_types=("image/gif",),
    codec=codec,
    inspect=inspect,
    decode=decode,
)
