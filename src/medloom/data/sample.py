"""What was found out about one sample, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medloom.data.layouts import Item, Problem
from medloom.data.pseudonyms import Entry

__all__ = ["Flaw", "Sample", "files_of", "sample_from_json"]


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong with one file of a sample.

    Args:
        part: Which file: its place among the images, or for a mask the number of images and its place among masks.
        kind: ``unreadable``, ``channels``, ``grid``, ``geometry``, ``ignored``, ``size`` or ``values``.
        detail: What came and what was expected; names no file, because it is kept in the cache.
    """

    part: int
    kind: str
    detail: str


@dataclass(frozen=True)
class Sample:
    """What was found out about one sample.

    Args:
        sha256: Of the image's bytes; of the files' hashes where each channel has a file; of hash and page where the
            image is a page of a file.
        mask_sha256: Of the mask's bytes, or of the hashes of several masks; empty without a mask.
        height: Of the image as it came.
        width: Of the image as it came.
        channels: Number of channels.
        dtype: NumPy name of the decoded type.
        axes: Directions in which columns and rows are counted, such as ``LP``; empty where the file does not say.
        spacing_mm: Row and column spacing as the network sees the image; None where the file does not say.
        foreground_px: Foreground pixels of the mask as it came.
        notes: What decoding did to the image that a careful reader should know, such as "orientation applied".
        mask_notes: The same of the mask.
        flaws: Why it cannot be used; empty if it can.
    """

    sha256: str = ""
    mask_sha256: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    axes: str = ""
    spacing_mm: tuple[float, float] | None = None
    foreground_px: int = 0
    notes: tuple[str, ...] = ()
    mask_notes: tuple[str, ...] = ()
    flaws: tuple[Flaw, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON types; ``dataclasses.asdict`` takes as long as decoding a mask."""
        return {**vars(self), "flaws": [vars(flaw) for flaw in self.flaws]}

    def problems(self, entry: Entry) -> list[Problem]:
        """Return the flaws with the names of the files that they are in."""
        names = files_of(entry.item)
        return [Problem(flaw.kind, names[flaw.part], flaw.detail) for flaw in self.flaws]


def sample_from_json(found: dict[str, Any]) -> Sample:
    """Take back what ``as_json`` returned."""
    tuples: dict[str, Any] = {key: tuple(found[key]) for key in ("notes", "mask_notes")}
    tuples["spacing_mm"] = tuple(found.get("spacing_mm") or ()) or None
    return Sample(**{**found, **tuples, "flaws": tuple(Flaw(**flaw) for flaw in found["flaws"])})


def files_of(item: Item) -> list[str]:
    """Return every file of a sample, the images first."""
    return [*item.images, *item.masks]
