"""What files are, without saying whose: nothing here holds a name, an identifier, a date or a path."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from medloom.errors import DecodeError, UserError
from medloom.imaging.checks import check_encoded, guard
from medloom.imaging.decoding import decode, read_volume
from medloom.imaging.dicom_image import open_image
from medloom.imaging.places import Place, frame_places
from medloom.imaging.registry import FORMATS, sniff
from medloom.imaging.series import why_no_volume
from medloom.imaging.types import DEFAULT_BUDGET, Budget, Header, Image

__all__ = ["CollectionFacts", "FileFacts", "Kind", "Refusal", "SeriesFacts", "inspect_data", "inspect_many"]

_MODALITIES = frozenset({
    "BI", "BMD", "CR", "CT", "DG", "DMS", "DX", "ES", "GM", "IO", "IVOCT", "IVUS", "KER", "LEN", "LS", "MG", "MR", "NM",
    "OAM", "OCT", "OP", "OPM", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "OT", "PT", "PX", "RF", "RG", "RTDOSE",
    "RTIMAGE", "SC", "SEG", "SM", "TG", "US", "VA", "XA", "XC",
})  # fmt: skip
"""Of images; what is not listed may be anything and is not repeated."""


@dataclass(frozen=True)
class FileFacts:
    """One file.

    Args:
        format: ``dicom``, ``nifti``, ``tiff`` …; "" where it is none that is read.
        height: Rows.
        width: Columns.
        channels: Channels.
        dtype: NumPy name of the type that decoding gives.
        pages: Pages, frames or slices.
        minimum: Smallest value of all pages.
        maximum: Largest value of all pages.
        spacing_mm: Row and column spacing; None where it is unknown.
        modality: DICOM modality, such as ``CT``; "" if there is none or it is not one of the standard.
        transfer_syntax: Name of the DICOM transfer syntax.
        notes: What a careful reader should know.
        refused: Code of the error that decoding ends with; "" if it decodes.
        reason: What is wrong with it and what to do.
    """

    format: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    pages: int = 0
    minimum: float | None = None
    maximum: float | None = None
    spacing_mm: tuple[float, float] | None = None
    modality: str = ""
    transfer_syntax: str = ""
    notes: tuple[str, ...] = ()
    refused: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Kind:
    """Files that are alike in all but their values; ``facts`` holds the range over all of them."""

    count: int
    facts: FileFacts


@dataclass(frozen=True)
class Refusal:
    """Files that are refused for the same reason."""

    count: int
    code: str
    reason: str


@dataclass(frozen=True)
class SeriesFacts:
    """A DICOM series.

    Args:
        slices: How many there are.
        no_volume: Why they make no volume, such as a gap; empty where they do.
    """

    slices: int
    no_volume: str


@dataclass(frozen=True)
class CollectionFacts:
    """Many files together.

    Args:
        files: How many there are.
        kinds: Those that decode, the most frequent kind first.
        refused: Those that do not, the most frequent reason first.
        series: Each DICOM series, the longest first.
    """

    files: int
    kinds: tuple[Kind, ...]
    refused: tuple[Refusal, ...]
    series: tuple[SeriesFacts, ...]


@dataclass
class _Found:
    """What is known of a file so far; ``series`` is its identifier, which never leaves this module."""

    facts: FileFacts = field(default_factory=FileFacts)
    series: str = ""
    places: list[Place] = field(default_factory=list)
    no_place: str = ""


@dataclass
class _Series:
    """What is known of a series so far."""

    slices: int = 0
    refused: int = 0
    places: list[Place] = field(default_factory=list)
    no_place: str = ""

    def add(self, found: _Found) -> None:
        """Count the slices of a file."""
        self.slices += max(found.facts.pages, 1)
        self.refused += bool(found.facts.refused)
        self.places += found.places
        self.no_place = self.no_place or found.no_place

    def facts(self) -> SeriesFacts:
        """Return what may be said of it."""
        if self.refused:
            return SeriesFacts(self.slices, f"{self.refused} of its files would be refused")
        return SeriesFacts(self.slices, self.no_place or why_no_volume(self.places))


def inspect_data(data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> FileFacts:
    """Say what a file is, and whether it would be refused; reads every pixel, and never raises for a bad file.

    Args:
        data: The file.
        budget: What it may cost.

    Returns:
        Its facts; of a refused file those that were found before.

    Example:
        >>> from medloom.imaging import encode_png
        >>> facts = inspect_data(encode_png(np.full((4, 6), 9, np.uint8)))
        >>> facts.format, facts.height, facts.width, facts.maximum
        ('png', 4, 6, 9.0)
    """
    return _found(data, budget).facts


def inspect_many(
    readers: Iterable[Callable[[], bytes]],
    *,
    budget: Budget = DEFAULT_BUDGET,
    progress: Callable[[int], None] | None = None,
) -> CollectionFacts:
    """Say what many files are.

    Args:
        readers: For each file, what gives its bytes; a `UserError` or `OSError` from it counts as refused.
        budget: What one file may cost.
        progress: Called with how many are done.

    Returns:
        Kinds, refusals and series with their counts.
    """
    kinds, refusals, files = dict[FileFacts, Kind](), Counter[tuple[str, str]](), 0
    series: dict[str, _Series] = defaultdict(_Series)
    for files, read in enumerate(readers, start=1):
        found = _read(read, budget)
        facts = found.facts
        if found.series:
            series[found.series].add(found)
        if facts.refused:
            refusals[facts.refused, facts.reason] += 1
        else:
            alike = replace(facts, minimum=None, maximum=None)
            kinds[alike] = _joined(kinds.get(alike), facts)
        if progress:
            progress(files)
    return CollectionFacts(
        files,
        tuple(sorted(kinds.values(), key=lambda kind: -kind.count)),
        tuple(Refusal(count, code, reason) for (code, reason), count in refusals.most_common()),
        tuple(sorted((item.facts() for item in series.values()), key=lambda item: -item.slices)),
    )


def _read(read: Callable[[], bytes], budget: Budget) -> _Found:
    try:
        data = read()
    except (UserError, OSError) as error:  # its message may name the file
        return _Found(FileFacts(refused="unreadable", reason=f"the file cannot be read ({type(error).__name__})"))
    return _found(data, budget)


def _joined(kind: Kind | None, facts: FileFacts) -> Kind:
    if kind is None:
        return Kind(1, facts)
    low, high = (kind.facts.minimum, facts.minimum), (kind.facts.maximum, facts.maximum)
    return Kind(
        kind.count + 1,
        replace(
            facts,
            minimum=min((value for value in low if value is not None), default=None),
            maximum=max((value for value in high if value is not None), default=None),
        ),
    )


def _found(data: bytes, budget: Budget) -> _Found:
    found = _Found()
    try:
        check_encoded(data, budget)
        name = sniff(data)
        found.facts = replace(found.facts, format=name)
        with guard(name):
            _look(data, name, budget, found)
    except DecodeError as error:
        reason = error.message + (f". {error.hint}" if error.hint else "")
        found.facts = replace(found.facts, refused=error.code, reason=reason)
    return found


def _look(data: bytes, name: str, budget: Budget, found: _Found) -> None:
    if name == "dicom":
        _look_at_series(data, budget, found)
    header = FORMATS[name].inspect(data, budget)
    found.facts = _with_header(found.facts, header)
    lows, highs, first = list[float](), list[float](), None
    for image in _images(data, header, budget):
        first = first or image
        lows.append(float(image.pixels.min()))
        highs.append(float(image.pixels.max()))
    if first:
        found.facts = replace(
            found.facts, minimum=min(lows), maximum=max(highs), spacing_mm=_rounded(first.spacing_mm), notes=first.notes
        )


def _with_header(facts: FileFacts, header: Header) -> FileFacts:
    return replace(
        facts, height=header.height, width=header.width, channels=header.channels, dtype=header.dtype,
        pages=header.pages,
    )  # fmt: skip


def _images(data: bytes, header: Header, budget: Budget) -> Iterator[Image]:
    """Decode every page; a compressed volume is inflated once, not once for each slice."""
    volume = read_volume(data, budget=budget)
    if volume is not None:
        yield Image(volume.voxels, volume.format, volume.plane_spacing_mm, volume.notes)
        return
    for page in range(header.pages):
        yield decode(data, page=page, budget=budget)


def _look_at_series(data: bytes, budget: Budget, found: _Found) -> None:
    opened = open_image(data, budget)
    file = opened.file
    modality = file.data_set.text("Modality")
    found.series = file.data_set.text("SeriesInstanceUID")
    found.facts = replace(
        found.facts, modality=modality if modality in _MODALITIES else "", transfer_syntax=file.syntax.name
    )
    try:
        found.places = frame_places(opened)
    except DecodeError as error:
        found.no_place = f"a slice cannot be placed in the patient: {error.message}"


def _rounded(spacing: tuple[float, float] | None) -> tuple[float, float] | None:
    return (float(np.round(spacing[0], 6)), float(np.round(spacing[1], 6))) if spacing else None
