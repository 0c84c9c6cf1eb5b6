"""A split that is published in text files, a line for each image or patient, such as NIH's ``test_list.txt``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from medloom.data.layouts.base import Item, Listing, Problem, Read
from medloom.errors import DataError
from medloom.imaging import strip_suffix
from medloom.wording import counted, nearest

__all__ = ["as_listed"]

Part = Literal["train", "validation", "test"]

_TEXTS = (".txt", ".csv", ".lst", ".list")


def as_listed(listing: Listing, lists: Mapping[Part, str], names: Sequence[str], read: Read) -> Listing:
    """Give each sample the part in whose list it is named; without lists nothing changes.

    A line names an image by its path, by the end of it, or by its file's name, each with or without extension; or a
    patient. Blank lines count for nothing.

    Args:
        listing: What a layout found.
        lists: Path of the list of each part, or its end; the recipe's ``split.lists``.
        names: All files.
        read: Gives the bytes of a list.

    Returns:
        The samples with their parts; those in no list or in several are problems, and lines that name nothing are
        counted in a note.

    Raises:
        DataError: If a list is not there, several files are meant, or it is no text in UTF-8.
    """
    if not lists:
        return listing
    parts, unused = _parts(listing.items, {part: _lines(end, names, read) for part, end in lists.items()})
    items, problems = [], []
    for place, item in enumerate(listing.items):
        found = sorted(parts.get(place, ()))
        if len(found) == 1:
            items.append(replace(item, published=found[0]))
        else:
            problems.append(Problem("split", item.images[0] or item.mask, _said(found)))
    notes = tuple(f"{counted(count, 'line')} of {part} in split.lists: no such image" for part, count in unused)
    return replace(listing, items=tuple(items), problems=(*listing.problems, *problems), notes=(*listing.notes, *notes))


def _said(found: Sequence[str]) -> str:
    return f"in the lists of {' and '.join(found)}; expected one" if found else "in none of split.lists"


def _lines(end: str, names: Sequence[str], read: Read) -> list[str]:
    texts = [name for name in names if name.lower().endswith(_TEXTS)]
    found = [name for name in names if name == end] or [name for name in names if name.endswith(f"/{end}")]
    if len(found) != 1:
        there = f"{len(found)} files end in {end}" if found else f"there is no {end} in the data{nearest(end, texts)}"
        raise DataError(f"split.lists: {there}", (found or texts)[:20])
    try:
        text = read(found[0]).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"split.lists: {end} is no text in UTF-8") from error
    return [line.strip().replace("\\", "/").removeprefix("./") for line in text.splitlines() if line.strip()]


def _parts(
    items: Sequence[Item], lines: Mapping[Part, Sequence[str]]
) -> tuple[dict[int, set[str]], list[tuple[str, int]]]:
    """The parts of each sample by its place, and how many lines of each part name none."""
    called: dict[str, set[int]] = defaultdict(set)
    for place, item in enumerate(items):
        for name in _called(item):
            called[name].add(place)
    found: dict[int, set[str]] = defaultdict(set)
    unused = list[tuple[str, int]]()
    for part, said in lines.items():
        missed = 0
        for line in said:
            places = _meant(called.get(line, set()) or called.get(strip_suffix(line), set()), items, line)
            missed += not places
            for place in places:
                found[place].add(part)
        unused += [(part, missed)] if missed else []
    return found, unused


def _meant(places: set[int], items: Sequence[Item], line: str) -> set[int]:
    """Refuse a line that may mean images of several people."""
    if len(places) > 1 and len({items[place].patient for place in places}) > 1:
        raise DataError(f"split.lists: {len(places)} images of several patients are called alike; give folders", [line])
    return places


def _called(item: Item) -> Iterator[str]:
    """Everything that a line may call a sample."""
    yield item.patient
    for path in filter(None, item.images):
        folders = path.split("/")
        for place in range(len(folders)):
            end = "/".join(folders[place:])
            yield end
            yield strip_suffix(end)
