"""The bytes of a NIfTI file, compressed with gzip or not: read in pieces, and never more than was announced."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from medloom.errors import DecodeError
from medloom.imaging.nifti_header import MOST_HEADER_BYTES, Layout

__all__ = ["GZIP", "beginning", "bytes_between", "check_length", "most_bytes"]

GZIP = b"\x1f\x8b"
"""How compressed content begins."""

_MAX_INFLATION = 1032  # what Deflate can do at most
_MAX_MEMBERS = 20_000  # blocked gzip of 512 MiB has 8,000
_PIECE_IN, _PIECE_OUT = 4096, 16384
_MOST_BEHIND = 2**18


def beginning(data: bytes) -> bytes:
    """Return the first bytes, inflated if need be: enough for any header, never more."""
    if not _is_gzip(data):
        return data[:MOST_HEADER_BYTES]
    found = bytearray()
    for piece in _inflated(data, strict=False):
        found += piece
        if len(found) >= MOST_HEADER_BYTES:
            break
    return bytes(found[:MOST_HEADER_BYTES])


def most_bytes(data: bytes) -> int:
    """Return how many bytes a file can hold at most, without looking."""
    return _MAX_INFLATION * len(data) if _is_gzip(data) else len(data)


def check_length(data: bytes, layout: Layout) -> tuple[str, ...]:
    """Refuse a file that is shorter than its header says, or damaged; counts every byte.

    Returns:
        A note where something follows the voxels.

    Raises:
        DecodeError: ``truncated`` or ``corrupt``.
    """
    return bytes_between(data, layout, layout.end, layout.end)[1]


def bytes_between(
    data: bytes, layout: Layout, first: int, last: int
) -> tuple[bytes | bytearray | memoryview, tuple[str, ...]]:
    """Return a stretch of the file, and a note where something follows the voxels.

    Raises:
        DecodeError: ``truncated`` or ``corrupt``; all of the file is looked at.
    """
    if not _is_gzip(data):
        written = any(memoryview(data)[layout.end : layout.end + _MOST_BEHIND])
        return memoryview(data)[first:last], _behind(len(data), written, layout)
    kept, written, position = bytearray(), False, 0
    for piece in _inflated(data, layout.end + _MOST_BEHIND + 1):
        kept += piece[max(0, first - position) : max(0, last - position)]
        written = written or any(piece[max(0, layout.end - position) :])
        position += len(piece)
    return kept, _behind(position, written, layout)


def _behind(have: int, written: bool, layout: Layout) -> tuple[str, ...]:
    """Return a note where bytes follow the voxels, as some programs append them.

    Whole slices that are more than zeros are no such thing: there the header is wrong.
    """
    if have < layout.end:
        raise DecodeError("truncated", f"the header announces {layout.end} bytes; {have} are there", field="dim")
    more = have - layout.end
    if more > _MOST_BEHIND or (more and written and more % layout.plane_bytes == 0):
        raise DecodeError("corrupt", f"the header announces {layout.end} bytes; more are there", field="dim")
    return ("bytes behind the voxels ignored",) if more else ()


def _inflated(data: bytes, most: int = MOST_HEADER_BYTES, *, strict: bool = True) -> Iterator[bytes]:
    """Inflate gzip in small pieces, at most about ``most`` bytes; checksums are compared by zlib.

    Raises:
        DecodeError: ``truncated`` or ``corrupt``; not if ``strict`` is false, when the pieces end there.
    """
    view, position, found, members = memoryview(data), 0, 0, 0
    while position < len(data) and found < most:
        members += 1
        if members > _MAX_MEMBERS or not data.startswith(GZIP, position):
            if data[position:].strip(b"\0") and strict:
                raise DecodeError("corrupt", "there is something behind the compressed content")
            return
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not inflater.eof and found < most:
            piece = inflater.unconsumed_tail or view[position : position + _PIECE_IN]
            position += 0 if inflater.unconsumed_tail else len(piece)
            if not piece:
                if strict:
                    raise DecodeError("truncated", "the compressed content ends too early")
                return
            try:
                out = inflater.decompress(piece, _PIECE_OUT)
            except zlib.error as error:
                raise DecodeError("corrupt", "the compressed content is damaged") from error
            found += len(out)
            yield out
        position -= len(inflater.unused_data)


def _is_gzip(data: bytes) -> bool:
    return data.startswith(GZIP)
