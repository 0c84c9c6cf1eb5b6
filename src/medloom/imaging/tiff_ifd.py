"""The directories of a TIFF file: tags and their values, never pixels.

Reads classic TIFF and BigTIFF in both byte orders, from bytes that can lie: every offset and count is
compared with the length of the file, and a loop of directories ends. EXIF blocks have the same form.

Source: TIFF 6.0, section 2; BigTIFF as libtiff writes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError

__all__ = ["TiffFile", "TiffTags", "directory_offsets", "open_file", "read_tags"]

_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # BYTE, SHORT, LONG, IFD, LONG8, IFD8
_TEXT = {2, 1, 7}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 11: 4, 13: 4}  # every other type has 8 bytes
_FAR = 2**62  # no file is that long; keeps sums of offsets within int64


@dataclass(frozen=True, slots=True)
class TiffFile:
    """The bytes of a file, their order and size of numbers, and where the first directory is."""

    data: bytes
    order: Literal["<", ">"]
    big: bool
    first: int


@dataclass(frozen=True, slots=True)
class TiffTags:
    """The tags of one directory: type, number of values and where they are."""

    file: TiffFile
    entries: dict[int, tuple[int, int, int]]

    def integer(self, tag: int, default: int | None = None) -> int:
        """Return a tag's value, where all of its values are the same.

        Raises:
            DecodeError: If the tag is missing and has no default, or its values differ.
        """
        if default is not None and tag not in self.entries:
            return default
        values = self.integers(tag)
        if len(values) > 1 and (values != values[0]).any():
            raise DecodeError("unsupported", "the channels differ in kind", field=f"tag {tag}")
        return int(values[0])

    def integers(self, tag: int) -> NDArray[np.int64]:
        """Return all values of a tag.

        Raises:
            DecodeError: If the tag is missing, not of integers, or reaches past the end of the file.
        """
        kind, count, position = self.entries.get(tag, (0, 0, 0))
        if kind not in _INTEGERS or not count:
            raise DecodeError("corrupt", "a directory entry is missing or not an integer", field=f"tag {tag}")
        code = _INTEGERS[kind]
        if position + count * int(code[1]) > len(self.file.data):
            raise DecodeError("truncated", "the file ends within a directory entry", field=f"tag {tag}")
        values = np.frombuffer(self.file.data, self.file.order + code, count, position)
        if code == "u8" and (values > _FAR).any():
            raise DecodeError("corrupt", "a directory entry points past any file", field=f"tag {tag}")
        return values.astype(np.int64)

    def text(self, tag: int) -> bytes:
        """Return the bytes of a text tag, empty where it is missing or damaged."""
        kind, count, position = self.entries.get(tag, (0, 0, 0))
        return self.file.data[position : position + count] if kind in _TEXT else b""


def open_file(data: bytes) -> TiffFile:
    """Read the file header.

    Raises:
        DecodeError: ``truncated`` or ``corrupt``.
    """
    orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
    order = orders.get(data[:2])
    big = data[2:4] in (b"\x2b\x00", b"\x00\x2b")
    if len(data) < (16 if big else 8):
        raise DecodeError("truncated", "the file ends within its header")
    if order is None:
        raise DecodeError("corrupt", "the byte order is neither II nor MM", field="header")
    form = "HHQ" if big else "I"
    *sizes, first = struct.unpack_from(order + form, data, 4)
    if big and sizes != [8, 0]:
        raise DecodeError("corrupt", "the BigTIFF header is damaged", field="header")
    return TiffFile(data, order, big, first)


def read_tags(file: TiffFile, offset: int) -> TiffTags:
    """Read the directory at ``offset``.

    Raises:
        DecodeError: ``truncated`` if it reaches past the end of the file, ``corrupt`` if a tag comes twice.
    """
    start, count = _extent(file, offset)
    size, inline, form = (20, 8, "HHQ8s") if file.big else (12, 4, "HHI4s")
    value_at, pointer = (12, "Q") if file.big else (8, "I")
    entries: dict[int, tuple[int, int, int]] = {}
    rows = struct.iter_unpack(file.order + form, file.data[start : start + count * size])
    for index, (tag, kind, number, raw) in enumerate(rows):
        position = start + index * size + value_at
        if number * _SIZES.get(kind, 8) > inline:
            (position,) = struct.unpack(file.order + pointer, raw)
        if tag in entries:
            raise DecodeError("corrupt", "a directory entry comes twice", field=f"tag {tag}")
        entries[tag] = kind, number, position
    return TiffTags(file, entries)


def directory_offsets(file: TiffFile, limit: int) -> list[int]:
    """Return where every directory of the chain is, in order.

    Raises:
        DecodeError: ``truncated``, ``corrupt`` for a chain that is empty or bites its tail, ``too_large``.
    """
    offsets: dict[int, None] = {}
    offset = file.first
    while offset:
        if offset in offsets:
            raise DecodeError("corrupt", "the directories form a loop", field="IFD")
        if len(offsets) == limit:
            raise DecodeError("too_large", f"the file has more than {limit} pages, which is the limit")
        offsets[offset] = None
        start, count = _extent(file, offset)
        after = start + count * (20 if file.big else 12)
        (offset,) = struct.unpack_from(file.order + ("Q" if file.big else "I"), file.data, after)
    if not offsets:
        raise DecodeError("corrupt", "the file has no directory", field="IFD")
    return list(offsets)


def _extent(file: TiffFile, offset: int) -> tuple[int, int]:
    """Return where the entries of a directory begin and how many there are; all of them are in the file."""
    width, entry, pointer = (8, 20, 8) if file.big else (2, 12, 4)
    start, length = offset + width, len(file.data)
    if start > length:
        raise DecodeError("truncated", "the file ends before its directory", field="IFD")
    count = int.from_bytes(file.data[offset:start], "little" if file.order == "<" else "big")
    if start + count * entry + pointer > length:
        raise DecodeError("truncated", "the file ends within its directory", field="IFD")
    return start, count
