"""Shared libraries read as files, so that those of another processor can be looked at too.

Source: Tool Interface Standard, Executable and Linking Format (1995), and its 64-bit form in the System V ABI
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["needed_by", "with_needed", "without_sections"]

_MAGIC = b"\x7fELF\x02\x01"
"""An ELF file of 64 bits, little-endian, as those of x86-64 and arm64 are."""

_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRINGS = 1, 5


def without_sections(library: bytes) -> bytes:
    """Return a library without what only debuggers and linkers read: symbols and debugging information at its end.

    A process is loaded by segments alone. What is no ELF file of 64 bits, little-endian, comes back as it is.
    """
    if not library.startswith(_MAGIC):
        return library
    table, entry, count = _program_headers(library)
    end = max(table + entry * count, *(offset + size for _, offset, _, size in _segments(library)))
    kept = bytearray(library[:end])
    struct.pack_into("<Q", kept, 40, 0)
    struct.pack_into("<HH", kept, 60, 0, 0)
    return bytes(kept)


def needed_by(library: bytes) -> list[str]:
    """Return the names of the libraries that one is linked to; none of what is no such file."""
    if not library.startswith(_MAGIC):
        return []
    segments = _segments(library)
    dynamic = next(((offset, size) for kind, offset, _, size in segments if kind == _DYNAMIC), None)
    if dynamic is None:
        return []
    entries = list(struct.iter_unpack("<qQ", library[dynamic[0] : sum(dynamic)]))
    address = next(value for tag, value in entries if tag == _STRINGS)
    strings = next(
        address - start + offset
        for kind, offset, start, size in segments
        if kind == _LOAD and start <= address < start + size
    )
    places = [strings + value for tag, value in entries if tag == _NEEDED]
    return [library[place : library.index(b"\0", place)].decode() for place in places]


def with_needed(libraries: Sequence[Path], others: Mapping[str, Path]) -> set[Path]:
    """Return libraries with those that they need, and what these need.

    Args:
        libraries: The ones to begin with.
        others: Libraries that may be needed, by their names; what is not among them is the system's.
    """
    found, todo = set[Path](), list(libraries)
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [others[name] for name in needed_by(path.read_bytes()) if name in others]
    return found


def _program_headers(library: bytes) -> tuple[int, int, int]:
    """Where the table of segments is, how long an entry is, and how many there are."""
    return (*struct.unpack_from("<Q", library, 32), *struct.unpack_from("<HH", library, 54))


def _segments(library: bytes) -> list[tuple[int, int, int, int]]:
    """Kind, place in the file, address, and size in the file of each segment."""
    table, entry, count = _program_headers(library)
    return [struct.unpack_from("<I4xQQ8xQ", library, table + entry * number) for number in range(count)]
