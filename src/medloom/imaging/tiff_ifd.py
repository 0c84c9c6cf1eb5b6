"""The directories of a TIFF file: tags and their values, never pixels.

Reads classic TIFF and BigTIFF in both byte orders, from bytes that can lie: every offset and count is
compared with the length of the file, and a loop of directories ends. EXIF blocks have the same form.

Source: TIFF 6.0, section 2; BigTIFF as libtiff writes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from medloom.errors import DecodeError

__all__ = ["TiffFile", "TiffTags", "directory_offsets", "is_reduced", "open_file", "read_tags"]

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # BYTE, SHORT, LONG, IFD, LONG8, IFD8
_TEXT = (1, 2, 7)
_SUBFILE_TYPES = {254: (1, 1), 255: (0xFFFF, 2)}  # the bits to look at, and what they are in a smaller copy
_FIRST_ENTRIES = 256  # entries are in order of their tags, so these two are among them
_MAX_SAMPLES = 65535  # values of a tag with one value for each channel


@dataclass(frozen=True, slots=True)
class TiffFile:
    """The bytes of a file, their order and size of numbers, and where the first directory is."""

    data: bytes
    order: Literal["<", ">"]
    big: bool
    first: int

    @property
    def field_bytes(self) -> int:
        """Size of an offset, and of a value that stands in an offset's place."""
        return 8 if self.big else 4


@dataclass(frozen=True, slots=True)
class TiffTags:
    """The tags of one directory: type, number of values, the value or its offset, and where that field is."""

    file: TiffFile
    entries: dict[int, tuple[int, int, int, int]]

    def integer(self, tag: int, default: int | None = None) -> int:
        """Return a tag's value, where all of its values are the same.

        Raises:
            DecodeError: If the tag is missing and has no default, or its values differ.
        """
        if default is not None and tag not in self.entries:
            return default
        values = self.integers(tag, _MAX_SAMPLES)
        if len(values) > 1 and min(values) != max(values):
            raise DecodeError("unsupported", "the channels differ in kind", field=f"tag {tag}")
        return values[0]

    def integers(self, tag: int, most: int) -> tuple[int, ...]:
        """Return all values of a tag, which has at most ``most``.

        Raises:
            DecodeError: If the tag is missing, not of integers, too long, or reaches past the end of the file.
        """
        kind, count, field, at = self.entries.get(tag, (0, 0, 0, 0))
        code = _INTEGERS.get(kind)
        if code is None or not 1 <= count <= most:
            raise DecodeError("corrupt", "a directory entry is missing or has no such value", field=f"tag {tag}")
        form = f"{self.file.order}{count}{code}"
        length = struct.calcsize(form)
        start = at if length <= self.file.field_bytes else field
        if start + length > len(self.file.data):
            raise DecodeError("truncated", "the file ends within a directory entry", field=f"tag {tag}")
        return struct.unpack_from(form, self.file.data, start)

    def text(self, tag: int) -> bytes:
        """Return the bytes of a text tag, empty where it is missing."""
        kind, count, field, at = self.entries.get(tag, (0, 0, 0, 0))
        start = at if count <= self.file.field_bytes else field
        return self.file.data[start : start + count] if kind in _TEXT else b""


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
    size, form = (20, "HHQQ") if file.big else (12, "HHII")
    field_at = start + size - file.field_bytes
    entries: dict[int, tuple[int, int, int, int]] = {}
    for tag, kind, number, field in struct.iter_unpack(file.order + form, file.data[start : start + count * size]):
        if tag in entries:
            raise DecodeError("corrupt", "a directory entry comes twice", field=f"tag {tag}")
        entries[tag] = kind, number, field, field_at
        field_at += size
    return TiffTags(file, entries)


def directory_offsets(file: TiffFile, limit: int) -> list[int]:
    """Return where every directory of the chain is, in order.

    Raises:
        DecodeError: ``truncated``, ``corrupt`` for a chain that is empty or runs in a circle, ``too_large``.
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


def is_reduced(file: TiffFile, offset: int) -> bool:
    """Tell whether the page of a directory is a smaller copy of another one; looks at few entries.

    Raises:
        DecodeError: ``truncated`` if the directory reaches past the end of the file.
    """
    start, count = _extent(file, offset)
    size, width = (20, 8) if file.big else (12, 4)
    for at in range(start, start + size * min(count, _FIRST_ENTRIES), size):
        tag, kind = struct.unpack_from(f"{file.order}HH", file.data, at)
        if tag in _SUBFILE_TYPES and kind in _INTEGERS:
            bits, reduced = _SUBFILE_TYPES[tag]
            (value,) = struct.unpack_from(file.order + _INTEGERS[kind], file.data, at + size - width)
            if value & bits == reduced:
                return True
    return False


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
