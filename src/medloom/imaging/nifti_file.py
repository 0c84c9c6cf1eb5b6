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


def check_length(data: bytes, layout: Layout) -> None:
    """Refuse a file that is shorter or longer than its header says, or damaged; counts every byte.

    Raises:
        DecodeError: ``truncated`` or ``corrupt``.
    """
    have = sum(map(len, _inflated(data, layout.end + 1))) if _is_gzip(data) else len(data)
    _compare(have, layout)


def _compare(have: int, layout: Layout) -> None:
    if have < layout.end:
        raise DecodeError("truncated", f"the header announces {layout.end} bytes; {have} are there", field="dim")
    if have > layout.end:
        raise DecodeError("corrupt", f"the header announces {layout.end} bytes; more are there", field="dim")


def bytes_between(data: bytes, layout: Layout, first: int, last: int) -> bytes | bytearray | memoryview:
    """Return a stretch of the file, after all of the file was found to be there and sound."""
    if not _is_gzip(data):
        _compare(len(data), layout)
        return memoryview(data)[first:last]
    kept, position = bytearray(), 0
    for piece in _inflated(data, layout.end + 1):
        kept += piece[max(0, first - position) : max(0, last - position)]
        position += len(piece)
    _compare(position, layout)
    return kept


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
