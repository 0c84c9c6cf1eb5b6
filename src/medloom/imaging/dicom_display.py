"""How a DICOM file suggests to show its levels of grey: a window, or a lookup table (VOI LUT).

Source: DICOM PS3.3, sections C.11.2 (VOI LUT) and C.7.6.16.2.10 (Frame VOI LUT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.dicom_elements import DataSet
from medloom.imaging.dicom_lut import read_lut
from medloom.imaging.dicom_tags import TAGS
from medloom.imaging.types import DisplayTable

__all__ = ["FrameGroups", "table_of", "window_of"]

_SEQUENCE = "FrameVOILUTSequence"
_TABLE_BITS = range(8, 17)


@dataclass(frozen=True)
class FrameGroups:
    """Where the attributes of one frame are: its own group, the shared one, or the data set.

    Args:
        data_set: The data set.
        shared: The shared functional groups, if there are any.
        own: The functional groups of this frame, if there are any.
    """

    data_set: DataSet
    shared: DataSet | None
    own: DataSet | None

    def find(self, sequence: str, keyword: str) -> DataSet:
        """Return what holds an attribute: the first that has it, or the data set."""
        for group in (self.own, self.shared):
            items = group.items(sequence) if group else ()
            if items and keyword in items[0]:
                return items[0]
        return self.data_set

    def decimals(self, sequence: str, keyword: str) -> tuple[float, ...]:
        """Return the numbers of an attribute; empty where it is not there."""
        return self.find(sequence, keyword).decimals(keyword)


def window_of(groups: FrameGroups, mirror: float | None, notes: list[str]) -> tuple[float, float] | None:
    """Return the first window of the file as centre and width of a LINEAR one, in the values that come out.

    Args:
        groups: Where the attributes of the frame are.
        mirror: What a value of the file and the one that comes out add up to, where grey was inverted; else None.
        notes: Added to, where the window cannot be used.
    """
    group = groups.find(_SEQUENCE, "WindowCenter")
    centres, widths, kind = group.decimals("WindowCenter"), group.decimals("WindowWidth"), group.text("VOILUTFunction")
    if not centres or not widths:
        return None
    centre, width = centres[0], widths[0]
    if kind == "LINEAR_EXACT":
        centre, width = centre + 0.5, width + 1
    if kind not in ("", "LINEAR", "LINEAR_EXACT") or width < 1:
        notes.append("the window of the file cannot be used")
        return None
    return centre if mirror is None else mirror + 1 - centre, width


def table_of(groups: FrameGroups, mirror: float | None, notes: list[str], *, signed: bool) -> DisplayTable | None:
    """Return the first lookup table of the file that shows the values that come out, or None where there is none.

    Args:
        groups: Where the attributes of the frame are.
        mirror: As for `window_of`.
        notes: Added to, where the table cannot be used.
        signed: Whether values of the file may be below zero.
    """
    holder = groups.find(_SEQUENCE, "VOILUTSequence")
    if "VOILUTSequence" not in holder:
        return None
    try:
        first, entries = _read(holder.items("VOILUTSequence")[0], signed=signed)
    except (DecodeError, IndexError):  # the pixels are sound without it
        notes.append("the lookup table of the file to show it cannot be used")
        return None
    if mirror is None:
        return DisplayTable(first, entries)
    return DisplayTable(mirror - (first + len(entries) - 1), 1 - entries[::-1])


def _read(item: DataSet, *, signed: bool) -> tuple[float, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return the value of the first entry, and the entries from 0 for black to 1 for white."""
    described = item.elements.get(TAGS["LUTDescriptor"])
    signed = signed or (described is not None and described.vr == b"SS")
    lut, bits = read_lut(item, _TABLE_BITS, signed=signed)
    highest = 2**bits - 1
    if int(lut.entries.max()) > highest:
        raise DecodeError("corrupt", f"a lookup table of {bits} bits has larger entries", field="LUTData")
    return float(lut.first), (lut.entries / highest).astype(np.float32)
