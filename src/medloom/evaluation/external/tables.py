"""CSV files that people made: read as text, with the line of every row, and with everything wrong in one list."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from medloom.data.layouts.table import numbered_records, separator, with_decimal_point
from medloom.errors import DataError
from medloom.imaging import strip_suffix

__all__ = ["Table", "find_column", "join", "line_list", "read_array", "read_table", "without_failed"]

_OTHER_SUFFIXES = (".bmp", ".dicom", ".gif", ".gz", ".webp")
_FEW_LINES = 40


@dataclass(frozen=True)
class Table:
    """Rows of a CSV file as text.

    Args:
        what: ``labels`` or ``predictions``, for messages.
        columns: Names of the columns.
        rows: Cells by column, without blanks around them.
        lines: Line of the file on which each row begins, counted from 1.
        problems: What is wrong with the file.
        by_position: Whether rows have no ids and stand in the order of the labels.
        reported: Lines of the rows with which the same is wrong.
    """

    what: str
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    lines: list[int]
    problems: list[str] = field(default_factory=list)
    by_position: bool = False
    reported: dict[str, list[int]] = field(default_factory=dict)

    def report(self, row: int, text: str) -> None:
        """Add a problem of a row."""
        self.reported.setdefault(text, []).append(self.lines[row])

    def all_problems(self) -> list[str]:
        """Return everything that is wrong; what is wrong with many rows is said once, with their lines."""
        of_rows = [f"{self.what} {line_list(lines)}: {text}" for text, lines in self.reported.items()]
        return [*self.problems, *of_rows]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        return [row[name] for row in self.rows]


def read_table(path: Path, what: str) -> Table:
    """Read a CSV file; a byte-order mark, CRLF and quoted commas are understood, as are ``;``, ``|`` and tabs.

    Where semicolons divide the cells, ``0,5`` is the number 0.5.

    Args:
        path: The file.
        what: ``labels`` or ``predictions``, for messages.

    Returns:
        The table; rows of a wrong length are in its problems, and left out.

    Raises:
        DataError: If there is no such file, no header, or it is no UTF-8 text.
    """
    if not path.is_file():
        raise DataError(f"the {what} are no file: expected a CSV with a header line")
    try:
        text = unicodedata.normalize("NFC", path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"the {what} are no UTF-8 text; save the CSV as UTF-8") from error
    delimiter = separator(text)
    records = numbered_records(text, delimiter=delimiter)
    line, names = next(records, (1, []))
    if line > 1 or not names:
        raise DataError(f"the {what} are empty: expected a CSV with a header line")
    header = tuple(name.strip() for name in names)
    table = Table(what, header, [], [])
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        table.problems.append(f"{what} line 1: {len(twice)} column names come twice")
    _read_rows(records, table, with_decimal_point if delimiter == ";" else str.strip)
    return table


def read_array(path: Path) -> Table:
    """Read scores from a ``.npy`` file: (N,) or (N, K), in the order of the labels.

    Raises:
        DataError: If it holds anything else.
    """
    try:
        scores = np.load(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError("the predictions are no sound NPY file of numbers") from error
    if not isinstance(scores, np.ndarray) or scores.ndim not in (1, 2) or scores.dtype.kind not in "fiu":
        raise DataError("the predictions hold no array (N,) or (N, K) of numbers")
    grid = scores.reshape(len(scores), -1)
    names = ("score",) if grid.shape[1] == 1 else tuple(f"score_{index}" for index in range(grid.shape[1]))
    rows = [dict(zip(names, (repr(float(value)) for value in row), strict=True)) for row in grid]
    return Table("predictions", names, rows, list(range(1, len(rows) + 1)), by_position=True)


def without_failed(table: Table) -> Table:
    """Return predictions without the rows that say in a column ``error`` why there is none."""
    if "error" not in table.columns:
        return table
    sound = [number for number, row in enumerate(table.rows) if not row["error"]]
    rows, lines = [table.rows[number] for number in sound], [table.lines[number] for number in sound]
    return replace(table, rows=rows, lines=lines)


def find_column(table: Table, names: Iterable[str]) -> str | None:
    """Return the first of these columns that is there, whatever its case."""
    known = {name.lower(): name for name in reversed(table.columns)}
    return next((known[name.lower()] for name in names if name.lower() in known), None)


def join(
    labels: Table, predictions: Table, label_id: str, prediction_id: str, *, left_out: list[str] | None = None
) -> list[tuple[int, int]]:
    """Find the prediction of every label; what has no partner, no id or an id twice becomes a problem.

    Ids are text: ``001`` is not ``1``. They match as they are, or without the ending of an image file, or without
    folders and ending, whichever finds the most partners without making two ids one.

    Args:
        labels: The labels.
        predictions: The predictions.
        label_id: Column with the ids of the labels.
        prediction_id: Column with the ids of the predictions.
        left_out: Where a sentence is added on those without a partner, which are then no problem; None where they are.

    Returns:
        Rows of both that belong together, in the order of the labels.
    """
    if predictions.by_position:
        if len(labels.rows) != len(predictions.rows):
            predictions.problems.append(f"{len(predictions.rows)} rows of scores for {len(labels.rows)} labels")
        return list(zip(range(len(labels.rows)), range(len(predictions.rows)), strict=False))
    sides = [labels.column(label_id), predictions.column(prediction_id)]
    key = max(_KEYS, key=lambda key: _partners(key, sides))
    first, second = (_rows_by_id(table, ids, key) for table, ids in zip((labels, predictions), sides, strict=True))
    for table, missing, text in (
        (labels, [row for name, row in first.items() if name not in second], "no prediction"),
        (predictions, [row for name, row in second.items() if name not in first], "no label"),
    ):
        if missing:
            said = f"{table.what} {line_list([table.lines[row] for row in missing])}: {text} of this id"
            if left_out is None:
                table.problems.append(said)
            else:
                left_out.append(f"{len(missing):,} left out: {said}.")
    return [(row, second[name]) for name, row in first.items() if name in second]


def line_list(lines: Sequence[int]) -> str:
    """Return line numbers for reading, neighbours drawn together.

    Example:
        >>> line_list([3]), line_list([2, 3, 4, 9])
        ('line 3', 'lines 2-4, 9')
    """
    spans: list[list[int]] = []
    for line in sorted(lines):
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans[:_FEW_LINES])
    more = f" and {len(spans) - _FEW_LINES} more places" if len(spans) > _FEW_LINES else ""
    return f"line{'s' if len(lines) > 1 else ''} {shown}{more}"


def _without_suffix(name: str) -> str:
    return strip_suffix(str(PurePosixPath(name.replace("\\", "/"))), _OTHER_SUFFIXES)


def _base_name(name: str) -> str:
    return PurePosixPath(_without_suffix(name)).name


_KEYS: tuple[Callable[[str], str], ...] = (str, _without_suffix, _base_name)


def _partners(key: Callable[[str], str], sides: Sequence[Sequence[str]]) -> int:
    """How many ids match by a key; none if the key makes one of two ids."""
    distinct = [{name for name in ids if name} for ids in sides]
    keyed = [{key(name) for name in ids} for ids in distinct]
    if any(len(short) < len(ids) for short, ids in zip(keyed, distinct, strict=True)):
        return -1
    return len(keyed[0] & keyed[1])


def _rows_by_id(table: Table, ids: Sequence[str], key: Callable[[str], str]) -> dict[str, int]:
    """The first row of each id; a blank and a repeated one are problems."""
    found: dict[str, int] = {}
    for row, name in enumerate(ids):
        if not name:
            table.report(row, "no id")
        elif key(name) in found:
            before = found[key(name)]
            same = table.rows[before] == table.rows[row]
            table.report(row, f"same id as line {table.lines[before]}, with {'the same' if same else 'other'} values")
        else:
            found[key(name)] = row
    return found


def _read_rows(records: Iterable[tuple[int, list[str]]], table: Table, meant: Callable[[str], str]) -> None:
    for line, cells in records:
        if len(cells) != len(table.columns):
            expected = f"{len(cells)} cells; expected {len(table.columns)} as in the header"
            table.problems.append(f"{table.what} line {line}: {expected}")
            continue
        table.rows.append({name: meant(cell) for name, cell in zip(table.columns, cells, strict=True)})
        table.lines.append(line)
