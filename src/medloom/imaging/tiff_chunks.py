"""Strips and tiles of a TIFF, each found to be whole.

libtiff stops as soon as a strip has given as many bytes as it owes. So it never comes to the checksum, and a strip that
is damaged but long enough is decoded without a word. Here each is decoded to its end: checksums are compared, and what
comes out must be as long as the strip's rows. JPEG strips are walked to their end marker and decoded with every warning
an error, as JPEG files are. Fax compressions, which have no checksum, are left to libtiff.

Source: TIFF 6.0, sections 9, 13 and 15; TIFF Technical Note 2 (JPEG).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs

from medloom.errors import DecodeError
from medloom.imaging.jpeg import decode_stream
from medloom.imaging.types import Budget

__all__ = ["Chunk", "check_jpeg", "decoded", "is_decoded", "stored_bytes"]

_DECODERS: dict[int, Callable[..., Any]] = {
    5: imagecodecs.lzw_decode,
    8: imagecodecs.deflate_decode,  # compares the Adler-32 checksum
    32773: imagecodecs.packbits_decode,
    32946: imagecodecs.deflate_decode,
    50000: imagecodecs.zstd_decode,
}
_DAMAGE = (RuntimeError, ValueError, zlib.error)  # errors of imagecodecs are RuntimeErrors
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_MAX_TABLES = 16384  # eight tables of each kind are shorter


@dataclass(frozen=True, slots=True)
class Chunk:
    """One strip or tile.

    Args:
        start: Where its bytes begin.
        end: Where they end.
        rows: Rows that it must have.
        most: Rows that it may have: some writers fill up the last strip.
    """

    start: int
    end: int
    rows: int
    most: int


def is_decoded(compression: int) -> bool:
    """Whether `decoded` knows a compression."""
    return compression in _DECODERS


def decoded(
    data: bytes, chunks: Iterable[Chunk], compression: int, row_bytes: int, *, reverse: bool
) -> Iterator[bytes | bytearray]:
    """Decode each strip or tile to its end, and yield the bytes of its rows, which a predictor may have changed.

    Args:
        data: The file.
        chunks: Its strips or tiles.
        compression: One that ``is_decoded``.
        row_bytes: Length of a row.
        reverse: Whether the bits of each byte are stored in reverse (FillOrder 2).

    Raises:
        DecodeError: ``corrupt`` for one that is damaged, too short or too long.
    """
    decoder = _DECODERS[compression]
    for chunk in chunks:
        coded = data[chunk.start : chunk.end]
        if reverse:
            coded = coded.translate(_REVERSED)
        try:
            rows = decoder(coded, out=chunk.most * row_bytes + 1)  # a byte more shows what is too long
        except _DAMAGE as error:
            raise _damaged("a strip or tile cannot be decompressed to its end") from error
        if not chunk.rows * row_bytes <= len(rows) <= chunk.most * row_bytes:
            raise _damaged(f"a strip or tile does not decompress to its {chunk.rows * row_bytes} bytes")
        yield rows


def stored_bytes(data: bytes, chunks: Iterable[Chunk], row_bytes: int, *, reverse: bool) -> Iterator[bytes]:
    """Yield the rows of strips or tiles that are not compressed; the arguments are those of `decoded`.

    Raises:
        DecodeError: ``truncated`` for one that is shorter than its rows.
    """
    for chunk in chunks:
        rows = data[chunk.start : min(chunk.end, chunk.start + chunk.most * row_bytes)]
        if len(rows) < chunk.rows * row_bytes:
            raise DecodeError("truncated", "a strip or tile is shorter than its rows", field="StripByteCounts")
        yield rows.translate(_REVERSED) if reverse else rows


def check_jpeg(data: bytes, chunks: Iterable[Chunk], tables: bytes, width: int, budget: Budget) -> None:
    """Decode each strip or tile as strictly as a JPEG file, and compare its size.

    Args:
        data: The file.
        chunks: Its strips or tiles.
        tables: The tag JPEGTables: tables that the strips share, as a JPEG without an image; may be empty.
        width: Columns of a strip or tile.
        budget: What each may cost.

    Raises:
        DecodeError: ``truncated`` or ``corrupt`` for one that is cut, damaged or of another size.
    """
    shared = _shared_tables(tables)
    for chunk in chunks:
        coded = data[chunk.start : chunk.end]
        if not coded.startswith(_JPEG_START):
            raise _damaged("a strip or tile is no JPEG")
        height, columns = decode_stream(b"".join([_JPEG_START, shared, coded[2:]]), budget).shape[:2]
        if columns != width or not chunk.rows <= height <= chunk.most:
            raise _damaged(f"a strip or tile is a JPEG of {height}×{columns}; expected {chunk.rows}×{width}")


def _shared_tables(tables: bytes) -> bytes:
    """Return the segments between the markers of start and end."""
    if not tables:
        return b""
    end = tables.rfind(_JPEG_END)
    if not tables.startswith(_JPEG_START) or end < 0 or len(tables) > _MAX_TABLES:
        raise DecodeError("corrupt", "the shared tables of the JPEG strips are damaged", field="JPEGTables")
    return tables[2:end]


def _damaged(message: str) -> DecodeError:
    return DecodeError("corrupt", message, field="StripOffsets", hint="Export it again.")
