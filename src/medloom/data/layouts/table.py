"""Read a CSV of labels with its line numbers, and say everything that is wrong with it as a table."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from medloom.data.layouts.base import Problem, Read
from medloom.data.words import clean
from medloom.errors import DataError
from medloom.wording import nearest

__all__ = ["Row", "Table", "find_table", "numbered_records", "read_table", "separator", "with_decimal_point"]

_SUFFIXES = (".csv", ".tsv")
_SEPARATORS = (",", ";", "\t", "|")
_DECLARED = re.compile(r"\ufeff?\"?sep=([^\"\w\s]|\t)\"?[ ]*(?:\r\n|\r|\n|\Z)", re.IGNORECASE)
"""The first line by which spreadsheets are told what divides the cells."""

_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+)")


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        line: Line of the file on which it begins, counted from 1.
        cells: Words by column, without surrounding blanks, in Unicode NFC.
    """

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A label file.

    Args:
        name: As messages name it.
        columns: In order.
        rows: Those with as many cells as there are columns.
        problems: One for each other row.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]

    def where(self, line: int) -> str:
        """Name a line for a message."""
        return f"{self.name} line {line}"

    def lines(self, lines: Sequence[int]) -> str:
        """Name several lines for a message."""
        return f"lines {', '.join(map(str, lines))}"

    @property
    def says(self) -> str:
        """What a row says of its image, for a message."""
        return "label, patient or metadata"

    def part(self, line: int) -> str:
        """Return the published part that a row is of; empty where the table says none."""
        return ""

    def need(self, wanted: dict[str, Sequence[str]]) -> None:
        """Refuse a table without the columns that the recipe names.

        Args:
            wanted: Columns by the recipe's key.

        Raises:
            DataError: Naming every one that is not there.
        """
        problems = [
            f"{key}: no column {column!r}{nearest(column, self.columns)}"
            for key, columns in wanted.items()
            for column in columns
            if clean(column) not in self.columns
        ]
        if problems:
            raise DataError(
                f"{self.name} lacks columns that the recipe names; it has {', '.join(self.columns)}", problems
            )


_STILL_HELD: WeakValueDictionary[tuple[str, bytes], Table] = WeakValueDictionary()
"""Tables that someone holds, by name and content: a survey tries several readings of one, which takes seconds to parse.
"""


def find_table(names: Sequence[str], wanted: str | None, key: str = "data.labels.file") -> str:
    """Return the path of the label file.

    Args:
        names: All files.
        wanted: The recipe's ``labels.file``: a path, or its end; None: the only CSV or TSV.
        key: The recipe's key that says so, for messages.

    Raises:
        DataError: If it is not there, or there are several.
    """
    tables = [name for name in names if name.lower().endswith(_SUFFIXES)]
    if wanted is not None:
        found = [name for name in names if name == wanted] or [name for name in names if name.endswith(f"/{wanted}")]
    else:
        found = tables
    if len(found) == 1:
        return found[0]
    if wanted is not None and not found:
        raise DataError(f"{key}: there is no {wanted} in the data{nearest(wanted, tables)}", tables[:20])
    if not found:
        raise DataError("there is no CSV with labels in the data; the layout csv needs one")
    raise DataError(f"there are {len(found)} files that may hold the labels; name one in {key}", found[:20])


def read_table(name: str, read: Read) -> Table:
    """Read a label file in UTF-8, with or without a byte-order mark, with either line end.

    Cells are separated by what divides the header: commas, semicolons, tabs or vertical bars, or by what a first line
    such as ``sep=;`` says. Where semicolons do,
    ``0,5`` is the number 0.5, for so spreadsheets write it in countries with a decimal comma.

    Args:
        name: Its path.
        read: Gives its bytes.

    Returns:
        The table; rows with another number of cells are in its problems.

    Raises:
        DataError: If it is no such CSV: another encoding, no header, a column twice.
    """
    short = name.rpartition("/")[2]
    data = read(name)
    key = (short, hashlib.sha256(data).digest())
    table = _STILL_HELD.get(key)
    if table is None:
        table = _STILL_HELD[key] = _parsed(short, data)
    return table


def _parsed(short: str, data: bytes) -> Table:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{short} is not in UTF-8; save it as CSV UTF-8") from error
    if "\0" in text:
        raise DataError(f"{short} holds NUL characters and is no CSV in UTF-8")
    try:
        delimiter = separator(text)
        lines = list(numbered_records(text, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{short} is no CSV that can be read: {error}") from error
    if not lines:
        raise DataError(f"{short} is empty; expected a line with the names of the columns")
    columns = tuple(clean(cell) for cell in lines[0][1])
    _check_header(short, columns)
    whole = [(line, cells) for line, cells in lines[1:] if len(cells) == len(columns)]
    meant = with_decimal_point if delimiter == ";" else clean
    rows = [Row(line, dict(zip(columns, map(meant, cells), strict=True))) for line, cells in whole]
    problems = [
        Problem("row", f"{short} line {line}", f"{len(cells)} cells; expected {len(columns)}, as the first line has")
        for line, cells in lines[1:]
        if len(cells) != len(columns)
    ]
    return Table(short, columns, tuple(rows), tuple(problems))


def numbered_records(text: str, *, delimiter: str = ",", strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a CSV that is not blank, with the line on which it begins, counted from 1.

    A first line such as ``sep=;`` is no record; the header begins with it.

    Args:
        text: The CSV.
        delimiter: What stands between cells.
        strict: Whether quotes in the wrong place are an error.

    Raises:
        csv.Error: If it is no CSV.
    """
    declared = _DECLARED.match(text)
    records = text[declared.end() :] if declared else text
    reader = csv.reader(io.StringIO(records, newline=""), delimiter=delimiter, strict=strict)
    begins = 1
    for cells in reader:
        if any(map(str.strip, cells)):
            yield begins, cells
        begins = reader.line_num + 1 + bool(declared)


def separator(text: str) -> str:
    """What the first line says, as in ``sep=;``, or divides the header into the most columns; else a comma."""
    if declared := _DECLARED.match(text):
        return declared[1]
    headers = {mark: next(numbered_records(text, delimiter=mark), (1, []))[1] for mark in _SEPARATORS}
    return max(_SEPARATORS, key=lambda mark: len(headers[mark]))


def with_decimal_point(cell: str) -> str:
    """Return a cell of a table that semicolons divide: ``0,5`` is the number 0.5 there.

    Example:
        >>> with_decimal_point(" 0,5 "), with_decimal_point("a,b")
        ('0.5', 'a,b')
    """
    word = clean(cell)
    number = _DECIMAL_COMMA.fullmatch(word)
    return f"{number[1]}.{number[2]}" if number else word


def _check_header(name: str, columns: tuple[str, ...]) -> None:
    twice = sorted({column for column in columns if columns.count(column) > 1 and column})
    if twice:
        raise DataError(f"{name} has the column {', '.join(twice)} twice")
