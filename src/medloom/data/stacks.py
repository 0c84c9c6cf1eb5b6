"""What says where the slices of a data set lie: their place in the patient, their page, or the number in their name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from medloom.data.context import OrderError, Spot, joined_ids, numbered, surroundings
from medloom.data.page_reader import PageReader
from medloom.data.pseudonyms import Entry
from medloom.data.sources import Source
from medloom.errors import DataError, DecodeError
from medloom.imaging import FILE_BUDGET, Image, sniff, strip_suffix
from medloom.imaging.canonical import Orientation, Plane, cut_axis, plane_of
from medloom.imaging.geometry import Affine, Grid, axis_codes
from medloom.imaging.registry import FORMATS
from medloom.imaging.series import series_uid
from medloom.wording import counted

if TYPE_CHECKING:  # a server has no tables, and need not wait for them
    import pandas as pd

__all__ = ["Beside", "counts_up", "file_spot", "image_spot", "name_spots", "page_spot", "with_context"]

_HEAD = 2**12
_UPWARDS = frozenset("LPS")
"""Slices are counted to the left, the back and the head of the patient, however a file stores them."""

_TO_DICOM = np.array([-1.0, -1.0, 1.0])
"""From RAS+ to the axes of DICOM: to the left, the back and the head."""

_HINT = (
    "data.context needs slices whose order is known: pages of a file (data.page: all), DICOM or NIfTI that say where "
    "they lie, or numbered files of one patient, such as {patient}/{sample}.png with slice_1.png, slice_2.png"
)


@dataclass(frozen=True)
class Beside:
    """A catalogue whose slices know which lie beside them.

    Args:
        catalogue: With the column ``context``.
        facts: As in ``prepare.json``; empty without context.
        warnings: One sentence for each thing that a user should know.
    """

    catalogue: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def with_context(
    catalogue: pd.DataFrame,
    entries: Sequence[Entry],
    source: Source,
    reach: int,
    *,
    cut: Plane | None,
    orientation: Orientation | None,
) -> Beside:
    """Find the slices beside each sample of a catalogue that has its parts.

    Args:
        catalogue: With ``sample_id`` and ``split``.
        entries: Where each sample lies; those that are not in the catalogue were set aside, and are missing.
        source: The files, of which headers are read.
        reach: The recipe's ``data.context``.
        cut: The plane that volumes are cut into.
        orientation: The plane in which the network sees images.

    Raises:
        OrderError: If nothing says in which order they lie.
        DataError: If slices of one stack are in several parts.
    """
    if not reach:
        return Beside(catalogue)
    known = {entry.sample_id: entry for entry in entries}
    chosen = [known[sample] for sample in catalogue["sample_id"]]
    spots = _spots(chosen, source, cut, orientation)
    try:
        found = surroundings(spots, reach)
    except OrderError as error:
        raise OrderError(f"{error}. {_HINT}") from None
    parts = catalogue["split"].to_numpy()
    if (parts[found.index] != parts[:, None]).any():
        raise DataError(
            "slices of one stack are in several parts, so that some would be seen beside others that they are tested "
            "by; with data.context divide by patient (split.by), and name the patient of every image"
        )
    missing = int(found.missing.sum())
    facts = {
        "slices": reach,
        "stacks": found.stacks,
        "order": dict(Counter(spot.by for spot in spots)),
        "beside_missing": missing,
    }
    said = (
        f"Beside {missing:,} of {counted(len(spots), 'slice')} one is missing between others of its stack: the next "
        "one towards it was taken twice."
    )
    ids = catalogue["sample_id"].tolist()
    column = list(joined_ids(found.index, ids))
    return Beside(catalogue.assign(context=column), {"context": facts}, (said,) if missing else ())


def _spots(entries: Sequence[Entry], source: Source, cut: Plane | None, orientation: Orientation | None) -> list[Spot]:
    """Where each sample lies; OrderError for one of which nothing says so."""
    reader = PageReader(source.read)
    found = [_placed(entry, reader, source, cut, orientation) for entry in entries]
    unplaced = [number for number, spot in enumerate(found) if spot is None]
    by_name = name_spots([_place_and_name(entries[number]) for number in unplaced])
    for number, spot in zip(unplaced, by_name, strict=True):
        found[number] = spot
    lost = found.count(None)
    if lost:
        raise OrderError(f"nothing says where {counted(lost, 'image lies', 'images lie')} in its stack. {_HINT}")
    return [spot for spot in found if spot is not None]


def _placed(
    entry: Entry, reader: PageReader, source: Source, cut: Plane | None, orientation: Orientation | None
) -> Spot | None:
    """Where a sample lies by its file; None where the file does not say."""
    item, name = entry.item, entry.file
    says = _says_places(source.head(name, _HEAD))
    if item.page is None and not says:
        return None
    reader.only([name])
    grids = reader.grids(name) if says else ()
    if item.page is not None:
        return page_spot((entry.patient_id, *item.images), item.page, grids, cut, orientation)
    folder = str(PurePosixPath(name).parent)
    return file_spot((entry.patient_id, folder), reader.data(name), grids, orientation)


def _says_places(head: bytes) -> bool:
    """Whether a file is of a format that can say where its pixels lie."""
    try:
        return FORMATS[sniff(head)].grids is not None
    except DecodeError:
        return False


def page_spot(
    stack: tuple[str, ...], page: int, grids: Sequence[Grid], cut: Plane | None, orientation: Orientation | None
) -> Spot:
    """Return where a page of a file lies.

    Args:
        stack: What tells the file from others.
        page: Counted from 0.
        grids: Of all pages, or one for each; empty where the file does not say.
        cut: The plane that volumes are cut into; None for pages as they are.
        orientation: The plane in which the network sees images; None for the order of the file.
    """
    if len(grids) > 1:
        return Spot(stack, _height(grids[page].affine, orientation), "position")
    axis, codes = 2, axis_codes(grids[0].affine) if grids else ("", "", "")
    if grids and cut is not None and plane_of(codes) != cut:
        axis = cut_axis(codes, cut)
    forwards = orientation is None or not grids or codes[axis] in _UPWARDS
    return Spot(stack, float(page if forwards else -page), "page")


def file_spot(
    stack: tuple[str, ...], data: bytes, grids: Sequence[Grid], orientation: Orientation | None
) -> Spot | None:
    """Return where the one slice of a file lies; None where it does not say.

    Args:
        stack: What tells its folder from others.
        data: The file.
        grids: Where its voxels lie.
        orientation: The plane in which the network sees images.
    """
    if len(grids) != 1 or grids[0].sides[2] != 1:
        return None
    series = series_uid(data, budget=FILE_BUDGET) if sniff(data) == "dicom" else ""
    codes = "".join(axis_codes(grids[0].affine))
    return Spot((*stack, series, plane_of(codes)), _height(grids[0].affine, orientation), "position")


def image_spot(image: Image, orientation: Orientation | None) -> Spot | None:
    """Return where a decoded image lies among the slices of its stack; None where its file does not say."""
    if image.affine is None:
        return None
    return Spot((plane_of(axis_codes(image.affine)),), _height(image.affine, orientation), "position")


def counts_up(affine: Affine, orientation: Orientation | None) -> bool:
    """Whether the slices of a volume, as they are stored, follow one another in the order of places."""
    return orientation is None or axis_codes(affine)[2] in _UPWARDS


def _height(affine: Affine, orientation: Orientation | None) -> float:
    """Millimetres along the normal: to the left, the back or the head; as rows and columns say where it is None."""
    columns, rows, _, start = (affine[:3, place] * _TO_DICOM for place in range(4))
    normal = np.cross(columns, rows)
    normal = normal / np.linalg.norm(normal)
    largest = normal[int(np.argmax(np.abs(normal)))]
    return float(start @ normal) * (-1.0 if orientation is not None and largest < 0 else 1.0)


def _place_and_name(entry: Entry) -> tuple[tuple[str, ...], str]:
    folder = str(PurePosixPath(entry.file).parent)
    return (entry.patient_id, folder), strip_suffix(PurePosixPath(entry.item.sample).name)


def name_spots(names: Sequence[tuple[tuple[str, ...], str]]) -> list[Spot | None]:
    """Return where slices lie by the numbers in their names.

    Args:
        names: What tells the folder of each from others, and its name without the suffix.

    Returns:
        None for a name without a number.
    """
    folders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, (folder, _) in enumerate(names):
        folders[folder].append(number)
    spots: list[Spot | None] = [None] * len(names)
    for folder, members in folders.items():
        for number, spot in zip(members, _in_folder(folder, [names[one][1] for one in members]), strict=True):
            spots[number] = spot
    return spots


def _in_folder(folder: tuple[str, ...], names: Sequence[str]) -> Iterator[Spot | None]:
    for found in numbered(names):
        yield None if found is None else Spot((*folder, *found[0]), found[1], "name")
