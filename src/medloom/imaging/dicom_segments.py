"""What the segments of a DICOM segmentation are called.

Source: DICOM PS3.3, section C.8.20.4 (Segment Description).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from medloom.errors import DecodeError
from medloom.imaging.dicom_elements import DataSet

__all__ = ["Segment", "segments_of", "values_by_name"]


@dataclass(frozen=True)
class Segment:
    """A segment.

    Args:
        number: By which its frames or its voxels are known.
        meaning: Its property type, a term of the standard such as ``Liver``; empty where the file does not say.
        label: As stored, to be compared with names and never to be shown: it may hold anything.
    """

    number: int
    meaning: str
    label: bytes

    @property
    def plain(self) -> str:
        """A name that every segment has, ``segment-`` and its number."""
        return f"segment-{self.number}"

    def called(self, names: Collection[str]) -> str | None:
        """Return which of several names is its own: its label, else its property type, else its number.

        Example:
            >>> Segment(3, "Neoplasm", b"GTV-1").called(["Heart", "neoplasm"])
            'neoplasm'
        """
        plain = {name.strip().casefold(): name for name in names}
        own = (self.label.decode("utf-8", "replace"), self.meaning, self.plain)
        return next((plain[name] for text in own if (name := text.strip(" \0").casefold()) in plain), None)


def segments_of(data_set: DataSet) -> dict[int, Segment]:
    """Return the segments that a segmentation describes, by number.

    Raises:
        DecodeError: If the description is damaged.
    """
    found: dict[int, Segment] = {}
    for item in data_set.items("SegmentSequence"):
        kinds = item.items("SegmentedPropertyTypeCodeSequence")
        meaning = kinds[0].text("CodeMeaning") if kinds else ""
        number = item.integer("SegmentNumber")
        if number in found:
            raise DecodeError("corrupt", f"segment {number} is described twice", field="SegmentNumber")
        found[number] = Segment(number, meaning, item.bytes_of("SegmentLabel").strip(b" \0"))
    return found


def values_by_name(segments: Mapping[int, Segment], named: Mapping[str, int]) -> dict[int, int]:
    """Return the value of each segment that is called by a name; others are in no class.

    Args:
        segments: By number.
        named: Value of each name.
    """
    called = {number: segment.called(named) for number, segment in segments.items()}
    return {number: named[name] for number, name in called.items() if name is not None}
