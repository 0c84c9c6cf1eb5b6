"""The lookup tables of a DICOM file: palettes, plain or in segments, and the modality table.

A table has 65,536 entries at most, whatever its bytes say, and each segment makes one entry at least: so the work that
a table can ask for is bounded before it is begun.

Source: DICOM PS3.3, sections C.7.6.3.1.5 and C.7.6.3.1.6 (palettes), C.7.9.2 (segments) and C.11.1 (Modality LUT).
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.dicom_elements import DataSet
from medloom.imaging.types import Pixels

__all__ = ["Lut", "apply_lut", "read_lut", "read_modality_lut", "read_palette"]

_COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
_MOST_NUMBERS_AN_ENTRY = 6  # an indirect segment of bytes that copies one entry
_ROWS_AT_A_TIME = 256


class Lut(NamedTuple):
    """A lookup table: entries (n,), or colours (n, 3), and the stored value of the first."""

    entries: Pixels
    first: int


def read_palette(data_set: DataSet) -> Lut:
    """Return the three tables of a palette as one; uint8 where their entries have 8 bits.

    Raises:
        DecodeError: ``corrupt`` or ``unsupported``.
    """
    described = {data_set.integers(f"{colour}PaletteColorLookupTableDescriptor") for colour in _COLOURS}
    field = "RedPaletteColorLookupTableDescriptor"
    if len(described) != 1 or len(next(iter(described))) != 3:
        raise DecodeError("corrupt", "the palette is not described, or not the same for its colours", field=field)
    entries, first, bits = next(iter(described))
    colours = [_colour(data_set, colour, entries or 2**16, _checked_bits(bits, field)) for colour in _COLOURS]
    return Lut(np.stack(colours, axis=1), first)


def read_modality_lut(data_set: DataSet, *, signed: bool) -> Lut | None:
    """Return the table from stored values to those that they mean, or None where the file has none.

    Args:
        data_set: What may hold the table's sequence.
        signed: Whether stored values have a sign; the first one that the table maps has it, too.

    Returns:
        The table, uint8 or uint16.

    Raises:
        DecodeError: ``corrupt`` or ``unsupported``.
    """
    items = data_set.items("ModalityLUTSequence")
    if not items:
        return None
    if len(items) > 1:
        raise DecodeError("corrupt", f"there are {len(items)} modality tables; expected 1", field="ModalityLUTSequence")
    return read_lut(items[0], (8, 16), signed=signed)[0]


def read_lut(item: DataSet, known_bits: Container[int], *, signed: bool) -> tuple[Lut, int]:
    """Read the table that an item of a sequence describes.

    Args:
        item: Holds LUTDescriptor and LUTData.
        known_bits: How many bits an entry may have.
        signed: Whether the first value that is mapped has a sign.

    Returns:
        The table, uint8 or uint16, and the bits of its entries.

    Raises:
        DecodeError: ``corrupt`` or ``unsupported``.
    """
    described = item.integers("LUTDescriptor")
    if len(described) != 3:
        raise DecodeError("corrupt", "the lookup table is not described", field="LUTDescriptor")
    entries, first, bits = described
    bits = _checked_bits(bits, "LUTDescriptor", known_bits)
    table = _plain(item.bytes_of("LUTData"), entries or 2**16, bits, _order(item), "LUTData")
    return Lut(table, first - 2**16 if signed and first >= 2**15 else first), bits


def apply_lut(stored: Pixels, lut: Lut) -> Pixels:
    """Look every pixel up; values below and above the table get its first and last entry.

    Args:
        stored: Array of whole numbers.
        lut: Entries (n,).

    Returns:
        Array of the same shape in the type of the entries.
    """
    pixels = np.empty(stored.shape, lut.entries.dtype)
    for top in range(0, len(stored), _ROWS_AT_A_TIME):  # by rows, so that the wide indices take little memory
        rows = slice(top, top + _ROWS_AT_A_TIME)
        indices = stored[rows].astype(np.int64)
        indices -= lut.first
        np.take(lut.entries, indices, out=pixels[rows], mode="clip")
    return pixels


def _checked_bits(bits: int, field: str, known: Container[int] = (8, 16)) -> int:
    if bits not in known:
        raise DecodeError(
            "unsupported", f"a lookup table with entries of {bits} bits is not read; expected 8 or 16", field=field
        )
    return bits


def _order(data_set: DataSet) -> str:
    return "<" if data_set.reader.little else ">"


def _colour(data_set: DataSet, colour: str, entries: int, bits: int) -> Pixels:
    """Return the table of one colour, from its plain data or, failing that, from segments."""
    field = f"{colour}PaletteColorLookupTableData"
    plain, segmented = data_set.bytes_of(field), data_set.bytes_of(f"Segmented{field}")
    if plain or not segmented:
        return _plain(plain, entries, bits, _order(data_set), field)
    return _from_segments(segmented, entries, bits, _order(data_set), f"Segmented{field}")


def _plain(value: bytes, entries: int, bits: int, order: str, field: str) -> Pixels:
    """Return a table; entries of 8 bits come as bytes, or each in a word of its own."""
    if bits == 8 and len(value) in (entries, entries + entries % 2):
        packed = np.frombuffer(value, np.uint8)
        return (packed if order == "<" else packed.reshape(-1, 2)[:, ::-1].reshape(-1))[:entries]
    if len(value) != 2 * entries:
        raise DecodeError(
            "corrupt", f"a lookup table has {len(value)} bytes for {entries} entries of {bits} bits", field=field
        )
    table = np.frombuffer(value, f"{order}u2")
    return (table & 0xFF).astype(np.uint8) if bits == 8 else table.astype(np.uint16)


def _from_segments(value: bytes, entries: int, bits: int, order: str, field: str) -> Pixels:
    """Expand segments; there must be exactly the entries that were announced."""
    if len(value) > bits // 8 * (_MOST_NUMBERS_AN_ENTRY * entries + 1):
        raise DecodeError("corrupt", f"a palette of {entries} entries has {len(value)} bytes of segments", field=field)
    if bits == 8 and order == ">":
        raise DecodeError("unsupported", "a palette in segments of bytes is not read in big-endian files", field=field)
    if bits == 16 and len(value) % 2:
        raise DecodeError("corrupt", f"a palette of 16 bits has {len(value)} bytes", field=field)
    numbers = np.frombuffer(value, np.uint8 if bits == 8 else f"{order}u2").tolist()
    table = _expanded(numbers, entries, bits, field)
    if len(table) != entries:
        raise DecodeError("corrupt", f"the segments of a palette make {len(table)} of {entries} entries", field=field)
    return np.array(table, np.uint8 if bits == 8 else np.uint16)


def _expanded(numbers: list[int], most: int, bits: int, field: str) -> list[int]:
    """Expand one segment after the other. The last number may be padding: no segment is that short."""
    table, starts, at = list[int](), set[int](), 0
    while at + 1 < len(numbers):
        starts.add(at)
        if numbers[at] != _INDIRECT:
            at = _add_segment(numbers, at, table, most, field)
            continue
        count, source, at = _pointer(numbers, at, bits, field)
        if count == 0 or source not in starts:
            raise DecodeError("corrupt", "a segment of a palette copies what is no segment before it", field=field)
        for _ in range(count):
            source = _add_segment(numbers, source, table, most, field)
    return table


def _pointer(numbers: list[int], at: int, bits: int, field: str) -> tuple[int, int, int]:
    """Return how many segments an indirect one copies, where they begin, and where the next one does."""
    width = 4 if bits == 8 else 2  # the offset has 32 bits and counts bytes, the lower half first
    parts = numbers[at + 2 : at + 2 + width]
    if len(parts) < width:
        raise DecodeError("truncated", "a palette ends within a segment", field=field)
    offset = sum(part << bits * place for place, part in enumerate(parts))
    source = offset if bits == 8 else offset // 2 if offset % 2 == 0 else -1
    return numbers[at + 1], source, at + 2 + width


def _add_segment(numbers: list[int], at: int, table: list[int], most: int, field: str) -> int:
    """Append what a discrete or linear segment makes; return where the next one begins."""
    kind, length = (*numbers[at : at + 2], -1, -1)[:2]
    end = at + 2 + (length if kind == _DISCRETE else 1)
    if kind not in (_DISCRETE, _LINEAR) or length == 0 or (kind == _LINEAR and not table):
        raise DecodeError("corrupt", "a segment of a palette is of no kind that is possible there", field=field)
    if end > len(numbers):
        raise DecodeError("truncated", "a palette ends within a segment", field=field)
    if len(table) + length > most:
        raise DecodeError("corrupt", f"the segments of a palette make more than {most} entries", field=field)
    table += numbers[at + 2 : end] if kind == _DISCRETE else _line(table[-1], numbers[end - 1], length)
    return end


def _line(before: int, last: int, length: int) -> list[int]:
    """Return a straight line from the entry before it, which it leaves out, to its last, in rounded steps."""
    step = (last - before) / length
    start = before + step
    slope = (last - start) / max(length - 1, 1)
    return [*(round(number * slope + start) for number in range(length - 1)), last]
