"""What a user names for a batch: folders, zips, files, buckets, lists of them, and tables that name them with metadata.

Nothing of it is read before it is needed: the first input is there before the last is looked for.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from medloom.data.buckets import SCHEME, BucketSource, Place, Stamps, place_of, read_object
from medloom.data.layouts.table import separator, with_decimal_point
from medloom.data.sources import FolderSource
from medloom.data.words import clean
from medloom.errors import DataError
from medloom.extras import require
from medloom.inference.inputs import Entry, ImageFile, images_of, opened
from medloom.inference.metadata import Metadata
from medloom.serving.batch.run import Listing
from medloom.wording import nearest

__all__ = ["TABLES", "id_column_of", "opened_listing"]

Given = tuple[Entry, Metadata]
Line = tuple[str | Entry, Metadata]
"""What a line names, or the input of one that names nothing."""

TABLES = (".csv", ".tsv")
"""Ends of the names of tables that name files."""

Fetch = Callable[[str], bytes]

_STDIN, _LIST, _HTTPS, _ZIP = "-", "@", "https://", ".zip"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_HEAD = 2**16
_TOGETHER = 64
"""Objects of a list whose states are asked for together."""


@contextmanager
def opened_listing(
    inputs: Sequence[str],
    *,
    skip: Sequence[str] = (),
    series: str | None = None,
    columns: Sequence[str] = (),
    id_column: str | None = None,
    fetch: Fetch | None = None,
) -> Iterator[Listing]:
    """Open what names the inputs of a batch, to be listed inside the ``with`` block.

    Args:
        inputs: Folders, zips and files; ``s3://bucket/prefix/`` and ``s3://bucket/key``; ``@FILE`` with a path or URI
            on each line, ``-`` for the same on standard input; a CSV with a path or URI in one column, and metadata
            in others. Paths in a list are relative to the working folder, those in a CSV to its folder.
        skip: Patterns of names in folders and zips to leave out.
        series: Take each folder and zip as one DICOM series; see ``medloom.inference.inputs.open_images``.
        columns: Metadata columns that the model takes; others of a CSV are left alone.
        id_column: Column of a CSV that names the file; the first one if None.
        fetch: Fetches what an ``https://`` URL names; None refuses them.

    Raises:
        UserError: If one of them is missing, or no list or table.
        ServerError: If a bucket cannot be listed now.
    """
    named = _Named(fetch)
    with ExitStack() as stack:

        def part(one: str) -> Callable[[], Iterable[Given]]:
            if one == _STDIN:
                return lambda: named.all(_lines(sys.stdin.buffer), Path())
            if one.startswith(_LIST):
                return partial(_listed, _there(Path(one[1:]), "list of files"), named)
            if one.startswith(SCHEME):
                return _in_bucket(one, skip, series, named)
            if one.startswith(_HTTPS):
                return lambda: named.all([(one, {})], Path())
            if one.lower().endswith(TABLES):
                table = _Table(_there(Path(one), "table of files"), columns, id_column)
                return lambda: named.all(table(), Path(one).parent)
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


def _in_bucket(uri: str, skip: Sequence[str], series: str | None, named: _Named) -> Callable[[], Iterable[Given]]:
    """What lists the objects below a prefix that ends with a slash, or the one with that key."""
    require("boto3", "aws")
    place = place_of(uri)
    if place.key and not place.key.endswith("/"):
        if place.key.lower().endswith((*TABLES, _ZIP)):
            raise DataError(f"{uri} is not opened in the bucket; copy it here, and name the copy")
        return lambda: named.all([(uri, {})], Path())
    images = images_of(BucketSource(place), str(place).rstrip("/"), skip, series=series)
    return lambda: ((image, {}) for image in images())


def _listed(path: Path, named: _Named) -> Iterator[Given]:
    with path.open("rb") as file:
        yield from named.all(_lines(file), Path())


def _lines(lines: Iterable[bytes]) -> Iterator[Line]:
    for line in lines:
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            yield name, {}


class _Named:
    """Makes inputs of what lines and cells name; what is none is refused where it is read.

    Args:
        fetch: See ``opened_listing``.
    """

    def __init__(self, fetch: Fetch | None) -> None:
        self._fetch = fetch

    def all(self, lines: Iterable[Line], folder: Path) -> Iterator[Given]:
        """Yield the input of each line in order; objects of a bucket that follow one another by the dozen.

        Args:
            lines: Names with their metadata, or the input of a line that names none.
            folder: What paths are relative to.
        """
        objects: list[tuple[Place, Metadata]] = []
        for name, metadata in lines:
            place = _object_of(name)
            if place is not None:
                objects.append((place, metadata))
            if place is None or len(objects) == _TOGETHER:
                yield from _objects(objects)
                objects = []
            if place is None:
                yield (self._one(name, folder) if isinstance(name, str) else name), metadata
        yield from _objects(objects)

    def _one(self, name: str, folder: Path) -> Entry:
        place = name
        if _SCHEME.match(name):
            if name.lower().startswith(_HTTPS) and self._fetch is not None:
                return _at_url(name, self._fetch)
            place = unquote(urlsplit(name).path) if name.lower().startswith("file:///") else ""
        if not place:
            return _refused(name, partial(_refuse, name))
        path = folder / place
        source = FolderSource(path.parent)  # bounded, as in a folder
        return ImageFile(place, partial(source.read, path.name), stamp=partial(source.stamp, path.name))


def _object_of(name: str | Entry) -> Place | None:
    """The object that a line names, if it names one."""
    if isinstance(name, str) and name.startswith(SCHEME):
        with suppress(DataError):
            place = place_of(name)
            return place if place.key and not place.key.endswith("/") else None
    return None


def _objects(objects: Sequence[tuple[Place, Metadata]]) -> Iterator[Given]:
    """The inputs of objects, of which the states are asked for together when the first is needed."""
    if not objects:
        return
    require("boto3", "aws")
    stamps = Stamps([place for place, _ in objects])
    for number, (place, metadata) in enumerate(objects):
        name = f"{place.bucket}/{place.key}"
        yield ImageFile(name, partial(read_object, place), str(place), stamp=partial(stamps.stamp, number)), metadata


def _at_url(url: str, fetch: Fetch) -> ImageFile:
    """The image at a URL; what stands behind a question mark may be a secret, and is in no name."""
    place, _, query = url[len(_HTTPS) :].partition("?")
    digest = blake2b(query.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return ImageFile(place, partial(fetch, url), stamp=lambda: f":{digest}")


def _refused(name: str, refuse: Callable[[], NoReturn]) -> ImageFile:
    return ImageFile(name, refuse, stamp=refuse)


def _refuse(name: str) -> NoReturn:
    scheme = name.partition("://")[0].lower()
    expected = "expected a path, file:///path or s3://bucket/key"
    if f"{scheme}://" == SCHEME:
        raise DataError(f"{name} names no object; {expected}")
    allowed = ", unless --allow-url-host names its host" if f"{scheme}://" == _HTTPS else ""
    raise DataError(f"{scheme}:// is not read by a batch{allowed}; {expected}")


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

    def __call__(self) -> Iterator[Line]:
        """Yield the name of each file with its metadata."""
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

    def _given(self, cells: Sequence[str]) -> Line:
        name = cells[self._id] if len(cells) > self._id else ""
        if len(cells) != self._width or not name:
            said = f"{len(cells)} cells in its row; expected {self._width}" if name else "its row names no file"
            return _refused(name, partial(_refuse_row, said)), {}
        return name, {column: cells[place] for column, place in self._taken.items()}


def _refuse_row(said: str) -> NoReturn:
    raise DataError(said)
