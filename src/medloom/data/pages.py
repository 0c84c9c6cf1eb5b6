"""Files of several pages: slices of a volume, frames of a DICOM, pages of a TIFF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from medloom.data.checks import FILE_ERRORS, explain
from medloom.data.layouts import Item, Listing, Problem
from medloom.data.sources import Source
from medloom.files import read_json, sha256_bytes, write_json
from medloom.imaging import FILE_BUDGET, inspect
from medloom.imaging.decoding import read_grids
from medloom.imaging.geometry import axis_codes
from medloom.wording import counted

__all__ = ["PageRule", "spoken_pages", "with_pages"]

PageRule = int | Literal["all"] | None
"""The recipe's ``data.page``."""

_SHOWN = 5


@dataclass(frozen=True)
class _Pages:
    """What the header of a file says.

    Args:
        count: How many pages it has.
        codes: Directions of columns, rows and slices, such as ``RAS``; empty where it does not say.
        sides: Columns, rows and slices.
    """

    count: int
    codes: str = ""
    sides: tuple[int, ...] = ()


def with_pages(listing: Listing, rule: PageRule, source: Source, cache: Path) -> Listing:
    """Give each sample its page; by the rule ``all`` every page of a file becomes a sample of its own.

    How many pages a file has is said by its header; smaller copies of a page, as TIFF has them, are none. The files of
    one sample, such as a volume and its mask, must have the same number of them: page k of one belongs to page k of the
    other; unless both say where they lie in the patient and are stored in other directions, when that decides.
    Patient, labels and metadata are the file's.

    Args:
        listing: What a layout found.
        rule: The recipe's ``data.page``.
        source: Where the files are.
        cache: Folder that holds the stores, where the numbers of pages are kept until the files change.

    Returns:
        The listing; files that cannot be read, and files of one sample with different numbers of pages, are problems.
    """
    if rule != "all":
        return replace(listing, items=tuple(replace(item, page=rule) for item in listing.items))
    found = _look(sorted({name for item in listing.items for name in _files_of(item)}), source, cache)
    items: list[Item] = []
    problems: list[Problem] = []
    for item in listing.items:
        problem = _problem(item, found)
        if problem is None:
            items += _pages_of(item, found)
        else:
            problems.append(problem)
    return replace(listing, items=tuple(items), problems=(*listing.problems, *problems))


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
    return list(dict.fromkeys(filter(None, (*item.images, item.mask))))


def _pages_of(item: Item, found: Mapping[str, _Pages | str]) -> Iterator[Item]:
    pages = found[_files_of(item)[0]]
    if isinstance(pages, str) or pages.count == 1:
        yield item
        return
    for page in range(pages.count):
        yield replace(item, sample=f"{item.sample} page {page}", page=page)


def _problem(item: Item, found: Mapping[str, _Pages | str]) -> Problem | None:
    """Why the pages of a sample's files cannot be samples."""
    names = _files_of(item)
    unreadable = [(name, pages) for name in names if isinstance(pages := found[name], str)]
    if unreadable:
        (name, reason), *more = unreadable
        return Problem("unreadable", name, "; ".join([reason, *(f"{other}: {text}" for other, text in more)]))
    (first, pages), *others = [(name, pages) for name in names if isinstance(pages := found[name], _Pages)]
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
    memo = cache / "stamps" / f"pages-{sha256_bytes(chr(10).join(names).encode())[:32]}.json"
    last: Iterable[list[Any]] = read_json(memo)["pages"] if memo.is_file() else ()
    known = dict(zip(names, last, strict=False))
    found: dict[str, _Pages | str] = {}
    kept: list[list[object]] = []
    for name in names:
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
        header, grids = inspect(data, budget=FILE_BUDGET), read_grids(data, budget=FILE_BUDGET)
        if not grids:
            return _Pages(header.pages)
        return _Pages(header.pages, "".join(axis_codes(grids[0].affine)), (header.width, header.height, header.pages))
    except FILE_ERRORS as error:
        return explain(error, name)[1]
