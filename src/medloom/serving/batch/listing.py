"""What a user names for a batch: folders, zips, files, lists of files, and tables that name files with their metadata.

Nothing of it is read before it is needed: the first input is there before the last is looked for.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from medloom.data.layouts.table import separator, with_decimal_point
from medloom.data.sources import FolderSource
from medloom.data.words import clean
from medloom.errors import DataError
from medloom.inference.inputs import Entry, ImageFile, opened
from medloom.inference.metadata import Metadata
from medloom.serving.batch.run import Listing
from medloom.wording import nearest

__all__ = ["TABLES", "id_column_of", "opened_listing"]

Given = tuple[Entry, Metadata]

TABLES = (".csv", ".tsv")
"""Ends of the names of tables that name files."""

_STDIN, _LIST = "-", "@"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_HEAD = 2**16


@contextmanager
def opened_listing(
    inputs: Sequence[str],
    *,
    skip: Sequence[str] = (),
    series: str | None = None,
    columns: Sequence[str] = (),
    id_column: str | None = None,
) -> Iterator[Listing]:
    """Open what names the inputs of a batch, to be listed inside the ``with`` block.

    Args:
        inputs: Folders, zips and files; ``@FILE`` with a path or ``file://`` URI on each line, ``-`` for the same on
            standard input; a CSV with a path in one column, and metadata in others. Paths in a list are relative to
            the working folder, those in a CSV to its folder.
        skip: Patterns of names in folders and zips to leave out.
        series: Take each folder and zip as one DICOM series; see ``medloom.inference.inputs.open_images``.
        columns: Metadata columns that the model takes; others of a CSV are left alone.
        id_column: Column of a CSV that names the file; the first one if None.

    Raises:
        DataError: If one of them is missing, or no list or table.
    """
    with ExitStack() as stack:

        def part(one: str) -> Callable[[], Iterable[Given]]:
            if one == _STDIN:
                return lambda: _lines(sys.stdin.buffer)
            if one.startswith(_LIST):
                return partial(_listed, _there(Path(one[1:]), "list of files"))
            if one.lower().endswith(TABLES):
                return _Table(_there(Path(one), "table of files"), columns, id_column)
            images = stack.enter_context(opened([one], skip, series=series))
            return lambda: ((image, {}) for image in images())

        parts = [part(one) for one in inputs]
        yield Listing(lambda: (given for one in parts for given in one()), again=_STDIN not in inputs)


def id_column_of(table: Path, id_column: str | None = None) -> str:
    """Return the column of a CSV that names files: the one that was named, or the first.

    Raises:
        DataError: If there is no such CSV or column.
    """
    return _Table(_there(table, "table of files"), (), id_column).id_column


def _there(path: Path, what: str) -> Path:
    if not path.is_file():
        raise DataError(f"there is no {what} at {path}")
    return path


def _listed(path: Path) -> Iterator[Given]:
    with path.open("rb") as file:
        yield from _lines(file)


def _lines(lines: Iterable[bytes]) -> Iterator[Given]:
    for line in lines:
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            yield _named(name, Path()), {}


def _named(name: str, folder: Path) -> Entry:
    """The file of a line or cell; what is no file here is refused where it is read."""
    place = name
    if _SCHEME.match(name):
        place = unquote(urlsplit(name).path) if name.lower().startswith("file:///") else ""
    if not place:
        refuse = partial(_refuse, name)
        return ImageFile(name, refuse, stamp=refuse)
    path = folder / place
    source = FolderSource(path.parent)  # bounded, as in a folder
    return ImageFile(place, partial(source.read, path.name), stamp=partial(source.stamp, path.name))


def _refuse(name: str) -> NoReturn:
    scheme = name.partition("://")[0]
    raise DataError(f"{scheme}:// is not read by a batch; expected a path or file:///path, so copy it here first")


class _Table:
    """The rows of a CSV that names files.

    Args:
        path: The CSV, in UTF-8 with a line of column names.
        columns: Metadata columns that the model takes.
        id_column: Column that names the file; the first one if None.
    """

    def __init__(self, path: Path, columns: Sequence[str], id_column: str | None) -> None:
        self._path = path
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            head = file.read(_HEAD)
        self._mark = separator(head)
        header = next(self._records(), None)
        if header is None:
            raise DataError(f"{path.name} is empty; expected a line of column names")
        names = [clean(cell) for cell in header]
        wanted = names[0] if id_column is None else clean(id_column)
        if wanted not in names:
            raise DataError(f"{path.name} has no column {wanted!r}{nearest(wanted, names)}")
        self.id_column = wanted
        self._id, self._width = names.index(wanted), len(names)
        self._taken = {column: names.index(clean(column)) for column in columns if clean(column) in names}

    def __call__(self) -> Iterator[Given]:
        """Yield each file with its metadata."""
        for cells in islice(self._records(), 1, None):
            yield self._given([self._meant(cell) for cell in cells])

    def _records(self) -> Iterator[list[str]]:
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            for number, cells in enumerate(csv.reader(file, delimiter=self._mark)):
                said = self._mark.join(cells).strip().lower() if number == 0 else ""
                if any(map(str.strip, cells)) and not said.startswith("sep="):
                    yield cells

    def _meant(self, cell: str) -> str:
        return with_decimal_point(cell) if self._mark == ";" else clean(cell)

    def _given(self, cells: Sequence[str]) -> Given:
        name = cells[self._id] if len(cells) > self._id else ""
        if len(cells) != self._width or not name:
            said = f"{len(cells)} cells in its row; expected {self._width}" if name else "its row names no file"
            refuse = partial(_refuse_row, said)
            return ImageFile(name, refuse, stamp=refuse), {}
        return _named(name, self._path.parent), {column: cells[place] for column, place in self._taken.items()}


def _refuse_row(said: str) -> NoReturn:
    raise DataError(said)
