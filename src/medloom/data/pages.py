"""Files of several pages: slices of a volume, frames of a DICOM, pages of a TIFF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from medloom.data.checks import FILE_ERRORS, explain
from medloom.data.layouts import Item, Listing, Problem
from medloom.data.sources import Source
from medloom.files import read_json, sha256_bytes, write_json
from medloom.imaging import FILE_BUDGET, inspect
from medloom.imaging.canonical import PLANES, Plane, cut_axis, plane_of
from medloom.imaging.decoding import is_volume, read_grids
from medloom.imaging.dicom_seg import is_segmentation
from medloom.imaging.geometry import axis_codes
from medloom.wording import counted

__all__ = ["PageRule", "Paged", "PlaneRule", "spoken_pages", "with_pages"]

PageRule = int | Literal["all"] | None
"""The recipe's ``data.page``."""

PlaneRule = Plane | Literal["auto", "stored"]
"""The recipe's ``data.plane``."""

_SHOWN = 5

_AT_ONCE = 64
"""Files whose headers are asked for together."""


@dataclass(frozen=True)
class _Pages:
    """What the header of a file says.

    Args:
        count: How many pages it has.
        codes: Directions of columns, rows and slices, such as ``RAS``; empty where it does not say.
        sides: Columns, rows and slices.
        volume: Whether its pages are the slices of a volume.
        segments: Whether it is a DICOM segmentation, whose frames are found by where they lie and not by their number.
    """

    count: int
    codes: str = ""
    sides: tuple[int, ...] = ()
    volume: bool = False
    segments: bool = False

    def cut_anew(self, cut: Plane | None) -> bool:
        """Return whether it is a volume that is stored in another plane."""
        return self.volume and cut is not None and plane_of(self.codes) != cut

    def slices(self, cut: Plane | None) -> int:
        """Return how many pages there are once it is cut."""
        return self.sides[cut_axis(self.codes, cut)] if cut is not None and self.cut_anew(cut) else self.count


class Paged(NamedTuple):
    """Samples with their pages, and the plane that volumes are cut into; None if pages are those of the files."""

    listing: Listing
    cut: Plane | None = None


def with_pages(listing: Listing, rule: PageRule, source: Source, cache: Path, plane: PlaneRule = "auto") -> Paged:
    """Give each sample its page; by the rule ``all`` every page of a file becomes a sample of its own.

    How many pages a file has is said by its header; smaller copies of a page, as TIFF has them, are none. The files of
    one sample, such as a volume and its mask, must have the same number of them: page k of one belongs to page k of the
    other; unless both say where they lie in the patient and are stored in other directions, when that decides.
    Volumes that are stored in another plane than the others are cut along it; their pages are counted along the side of
    the file that crosses it. Patient, labels and metadata are the file's.

    Args:
        listing: What a layout found.
        rule: The recipe's ``data.page``.
        source: Where the files are.
        cache: Folder that holds the stores, where the numbers of pages are kept until the files change.
        plane: The recipe's ``data.plane``.

    Returns:
        The samples; files that cannot be read, and files of one sample with different numbers of pages, are problems.
    """
    if rule != "all":
        return Paged(replace(listing, items=tuple(replace(item, page=rule) for item in listing.items)))
    found = _look(sorted({name for item in listing.items for name in _files_of(item)}), source, cache)
    cut = _common_plane([found[_files_of(item)[0]] for item in listing.items], plane)
    items: list[Item] = []
    problems: list[Problem] = []
    for item in listing.items:
        problem = _problem(item, found, cut)
        if problem is None:
            items += _pages_of(item, found, cut)
        else:
            problems.append(problem)
    whole = replace(listing, items=tuple(items), problems=(*listing.problems, *problems))
    return Paged(whole, cut)


def _common_plane(files: Sequence[_Pages | str], plane: PlaneRule) -> Plane | None:
    """The plane that volumes are cut into: the one that is asked for, or that most are stored in.

    None where files of one slice are of another plane than most: they cannot be cut, and a network of several planes
    takes volumes as they are stored.
    """
    if plane != "auto":
        return None if plane == "stored" else plane
    placed = [one for one in files if isinstance(one, _Pages) and one.codes]
    counts = Counter(plane_of(one.codes) for one in placed)
    if not counts:
        return None
    most = max(PLANES, key=lambda name: counts[name])
    single = {plane_of(one.codes) for one in placed if not one.volume}
    return most if single <= {most} else None


def spoken_pages(pages: Sequence[int]) -> str:
    """Return pages in words.

    Example:
        >>> spoken_pages([4]), spoken_pages([0, 1, 2, 3]), spoken_pages([1, 5])
        ('page 4', 'pages 0 to 3', 'pages 1, 5')
    """
    first, *others = pages
    if not others:
        return f"page {first}"
    if list(pages) == list(range(first, first + len(pages))):
        return f"pages {first} to {pages[-1]}"
    more = f" and {len(pages) - _SHOWN} more" if len(pages) > _SHOWN else ""
    return f"pages {', '.join(map(str, pages[:_SHOWN]))}{more}"


def _files_of(item: Item) -> list[str]:
    """The files of a sample; one that stands in for several channels once."""
    return list(dict.fromkeys(filter(None, (*item.images, *item.masks))))


def _pages_of(item: Item, found: Mapping[str, _Pages | str], cut: Plane | None) -> Iterator[Item]:
    pages = found[_files_of(item)[0]]
    if isinstance(pages, str) or pages.count == 1:
        yield item
        return
    for page in range(pages.slices(cut)):
        yield replace(item, sample=f"{item.sample} page {page}", page=page)


def _problem(item: Item, found: Mapping[str, _Pages | str], cut: Plane | None) -> Problem | None:
    """Why the pages of a sample's files cannot be samples."""
    names = _files_of(item)
    unreadable = [(name, pages) for name in names if isinstance(pages := found[name], str)]
    if unreadable:
        (name, reason), *more = unreadable
        return Problem("unreadable", name, "; ".join([reason, *(f"{other}: {text}" for other, text in more)]))
    read = [(name, pages) for name in names if isinstance(pages := found[name], _Pages)]
    (first, pages), *others = [one for one in read if not one[1].segments] or read
    if pages.cut_anew(cut) and (lost := [name for name, other in others if not other.codes]):
        text = f"it does not say where it lies in the patient, and its image is cut into {cut} slices"
        return Problem("grid", lost[0], text)
    differing = [(name, other) for name, other in others if other.count != pages.count and not _turned(pages, other)]
    if not differing:
        return None
    said = " and ".join(f"{name} has {other.count}" for name, other in differing)
    return Problem("pages", first, f"the file has {counted(pages.count, 'page')}, and {said}; expected the same number")


def _turned(one: _Pages, other: _Pages) -> bool:
    """Whether two files say that they are stored in other directions."""
    return bool(one.codes) and bool(other.codes) and one.codes != other.codes


def _look(names: Sequence[str], source: Source, cache: Path) -> dict[str, _Pages | str]:
    """What the header of each file says, or what is wrong with it; a file that did not change is not read again."""
    memo = cache / "stamps" / f"headers-{sha256_bytes(chr(10).join(names).encode())[:32]}.json"
    last: Iterable[list[Any]] = read_json(memo)["pages"] if memo.is_file() else ()
    known = dict(zip(names, last, strict=False))
    found: dict[str, _Pages | str] = {}
    kept: list[list[object]] = []
    for number, name in enumerate(names):
        if number % _AT_ONCE == 0:
            source.expect([one for one in names[number : number + _AT_ONCE] if one not in known])
        stamp, facts = known.get(name, ["", None])
        if facts is not None and stamp == _stamp(source, name):
            found[name] = _Pages(**facts)
        else:
            stamp, found[name] = _stamp(source, name), _inspected(source, name)
        pages = found[name]
        kept.append([stamp, vars(pages) if isinstance(pages, _Pages) else None])
    write_json(memo, {"pages": kept})
    return found


def _stamp(source: Source, name: str) -> str:
    try:
        return source.stamp(name)
    except OSError:
        return ""  # reading it says what is wrong


def _inspected(source: Source, name: str) -> _Pages | str:
    try:
        data = source.read(name)
        if is_segmentation(data):
            return _Pages(1, segments=True)
        header, grids = inspect(data, budget=FILE_BUDGET), read_grids(data, budget=FILE_BUDGET)
        if not grids:
            return _Pages(header.pages)
        codes, sides = "".join(axis_codes(grids[0].affine)), (header.width, header.height, header.pages)
        return _Pages(header.pages, codes, sides, is_volume(data, budget=FILE_BUDGET))
    except FILE_ERRORS as error:
        return explain(error, name)[1]
