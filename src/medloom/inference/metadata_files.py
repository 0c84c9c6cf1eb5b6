"""Metadata of images from a CSV: which row is about which image, and everything that is wrong with that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medloom.data.layouts import Problem, natural_key
from medloom.data.layouts.table import Row, Table, read_table
from medloom.data.words import clean
from medloom.errors import DataError, InputError
from medloom.imaging import strip_suffix
from medloom.inference.inputs import Entry
from medloom.wording import nearest

__all__ = ["MetadataRows", "read_metadata"]

_SHOWN = 20
_MOST_LISTED = 200


@dataclass(frozen=True)
class MetadataRows:
    """What a table says about images.

    Args:
        rows: Words by the model's column, one for each image in order; empty for an image without a row.
        warnings: What the user should know: images without a row, rows without an image, missing columns.
    """

    rows: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]


def read_metadata(
    path: Path, images: Sequence[Entry], columns: Sequence[str], *, id_column: str | None = None
) -> MetadataRows:
    """Read the rows of a CSV that are about the images.

    A row names an image as it likes: with its folders, some of them or none, with its extension or without. Names
    are text: ``001`` is not ``1``.

    Args:
        path: The CSV, in UTF-8 with a line of column names.
        images: What is to be predicted.
        columns: Metadata columns that the model takes; further ones are left alone.
        id_column: Column that names the image; the first one if None.

    Returns:
        One row for each image.

    Raises:
        InputError: If the model takes no metadata.
        DataError: If the CSV cannot be read, has none of the columns, or rows are about the same image or about
            several; says every line.

    Example:
        >>> read_metadata(Path("people.csv"), images, ("age", "sex")).rows[0]  # doctest: +SKIP
        {'age': '61', 'sex': 'female'}
    """
    if not columns:
        raise InputError("this model takes no metadata; leave --metadata out")
    table = read_table(path.name, lambda _: _read(path))
    id_column = table.columns[0] if id_column is None else clean(id_column)
    if id_column not in table.columns:
        raise DataError(f"{table.name} has no column {id_column!r}{nearest(id_column, table.columns)}")
    missing = [column for column in columns if clean(column) not in table.columns]
    if len(missing) == len(columns):
        wanted = ", ".join(columns)
        raise DataError(f"{table.name} has none of the metadata columns that the model takes: {wanted}")
    matched = _match(table, id_column, images)
    found = [_chosen(row, columns) if row else {} for row in matched]
    return MetadataRows(tuple(found), tuple(_warnings(table, missing, images, matched)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the table with the metadata cannot be read: {error.strerror}") from error


def _chosen(row: Row, columns: Sequence[str]) -> dict[str, str]:
    return {column: row.cells[clean(column)] for column in columns if clean(column) in row.cells}


def _match(table: Table, id_column: str, images: Sequence[Entry]) -> list[Row | None]:
    """Return the row about each image.

    Raises:
        DataError: If a row is broken or names none or several images, or several rows name the same one.
    """
    index = _index(images)
    by_meaning: dict[int | str, list[Row]] = defaultdict(list)
    problems = list(table.problems)
    for row in table.rows:
        name = row.cells[id_column].replace("\\", "/").removeprefix("./").strip("/")
        meant = index.get(name) or index.get(strip_suffix(name)) or set()
        if not name:
            problems.append(_problem(table, row, f"nothing in the column {id_column}"))
        elif len(meant) > 1:
            problems.append(_problem(table, row, f"{len(meant)} images have this name; give their folders"))
        else:
            by_meaning[next(iter(meant), name)].append(row)
    for same in by_meaning.values():
        if len(same) > 1:
            others = _lines([row.line for row in same[1:]])
            problems.append(_problem(table, same[0], f"about the same image as {others}; leave one of them"))
    if problems:
        listed = sorted(map(str, problems), key=natural_key)
        more = [f"and {len(listed) - _MOST_LISTED} more"] if len(listed) > _MOST_LISTED else []
        summary = f"{table.name} does not say one thing about each image, by its column {id_column}"
        raise DataError(f"{summary}; --id names another", [*listed[:_MOST_LISTED], *more])
    return [by_meaning[number][0] if number in by_meaning else None for number in range(len(images))]


def _problem(table: Table, row: Row, detail: str) -> Problem:
    return Problem("row", table.where(row.line), detail)


def _index(images: Sequence[Entry]) -> dict[str, set[int]]:
    index: dict[str, set[int]] = defaultdict(set)
    for number, image in enumerate(images):
        for name in _names(image):
            index[name].add(number)
    return index


def _names(image: Entry) -> Iterator[str]:
    """What a table may call an image: each end of its path, with the extension and without."""
    for path in (image.name, image.place):
        parts = [part for part in clean(path).replace("\\", "/").split("/") if part]
        for first in range(len(parts)):
            end = "/".join(parts[first:])
            yield end
            yield strip_suffix(end)


def _warnings(
    table: Table, missing: Sequence[str], images: Sequence[Entry], matched: Sequence[Row | None]
) -> Iterator[str]:
    for column in missing:
        yield f"{table.name} has no column {column!r}{nearest(column, table.columns)}; it counts as blank"
    without = [image.name for image, row in zip(images, matched, strict=True) if row is None]
    if without:
        yield (
            f"images without a row in {table.name}, whose metadata count as blank: {len(without)} of {len(images)}, "
            + _few(without)
        )
    used = {row.line for row in matched if row}
    lines = [row.line for row in table.rows if row.line not in used]
    if lines:
        yield f"rows of {table.name} that are about none of the images: {len(lines)}, {_lines(lines)}"


def _lines(numbers: Sequence[int]) -> str:
    return ("line " if len(numbers) == 1 else "lines ") + _few([str(number) for number in numbers])


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
