"""The table of results, written row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.extras import require
from medloom.files import replacing

__all__ = ["PARQUET", "widen", "write_parquet", "write_table"]

PARQUET = "predictions.parquet"
"""Name of the second table, where it is asked for."""

_ROWS = 10_000
"""Rows of a group in Parquet, which are there together."""

Rows = Iterable[Mapping[str, Any]]


def write_table(path: Path, columns: Sequence[str], rows: Rows) -> None:
    """Write a CSV atomically; None becomes an empty cell, and a byte of a file's name that is no UTF-8 ``\\udcXX``.

    Args:
        path: The table.
        columns: Its columns.
        rows: Cells by column; others are left out.
    """
    with (
        replacing(path) as beside,
        beside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    """Write the same as Parquet: numbers as numbers, and null for an empty cell.

    Args:
        path: The table.
        columns: Its columns and what they hold: ``int``, ``float`` or ``str``.
        rows: As for ``write_table``.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    kinds = {int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with replacing(path) as beside, parquet.ParquetWriter(beside, schema) as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append({name: _cell(row.get(name), kind) for name, kind in columns.items()})
            if len(group) == _ROWS:
                writer.write_table(arrow.Table.from_pylist(group, schema))
                group = []
        writer.write_table(arrow.Table.from_pylist(group, schema))


def widen(kinds: dict[str, type], row: Mapping[str, Any]) -> None:
    """Let each column be of a type that holds the cell of a row, too.

    Args:
        kinds: Types by column; changed in place.
        row: Cells by column.
    """
    for name, value in row.items():
        known, new = kinds.get(name), type(value)
        same = known is None or known is new
        kinds[name] = new if same else float if {known, new} == {int, float} else str


def _cell(value: Any, kind: type) -> Any:  # noqa: ANN401 - what a table holds
    """The value as its column holds it; of a name every character that is no text is spelt out."""
    if value is None or value == "":
        return None
    return kind(value).encode(errors="backslashreplace").decode() if kind is str else kind(value)
