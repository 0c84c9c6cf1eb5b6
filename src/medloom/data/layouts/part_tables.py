"""A label file for each published part, such as CheXpert's ``train.csv`` and ``valid.csv``, read as one table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from medloom.data.layouts.table import Row, Table

__all__ = ["Part", "PartTables", "joined_tables"]

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class PartTables(Table):
    """Tables one after the other; a row is of the part that its table is of.

    Args:
        starts: How many lines stand before the first line of each table.
        names: What each table is called.
        parts: The part of each.
    """

    starts: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    def where(self, line: int) -> str:
        """Name a line of one of the tables for a message."""
        place = self._place(line)
        return f"{self.names[place]} line {line - self.starts[place]}"

    def lines(self, lines: Sequence[int]) -> str:
        """Name several lines for a message, each with its table."""
        return ", ".join(map(self.where, lines))

    @property
    def says(self) -> str:
        """What a row says of its image, for a message."""
        return "label, patient, part or metadata"

    def part(self, line: int) -> Part:
        """Return the part that a row is of."""
        return self.parts[self._place(line)]

    def _place(self, line: int) -> int:
        return bisect_right(self.starts, line - 1) - 1


def joined_tables(tables: Mapping[Part, Table]) -> PartTables:
    """Return the tables of published parts as one.

    Args:
        tables: At least one, by part.

    Returns:
        All rows, with the columns that every table has; lines are counted through all of them.

    Example:
        >>> one = Table("a.csv", ("image",), (Row(2, {"image": "1"}),), ())
        >>> both = joined_tables({"train": one, "test": one})
        >>> [(both.where(row.line), both.part(row.line)) for row in both.rows]
        [('a.csv line 2', 'train'), ('a.csv line 2', 'test')]
    """
    first, *others = tables.values()
    columns = tuple(column for column in first.columns if all(column in other.columns for other in others))
    starts, rows, end = list[int](), list[Row](), 0
    for table in tables.values():
        starts.append(end)
        rows += [Row(row.line + starts[-1], row.cells) for row in table.rows]
        end = rows[-1].line if rows else end
    return PartTables(
        " and ".join(table.name for table in tables.values()),
        columns,
        tuple(rows),
        tuple(problem for table in tables.values() for problem in table.problems),
        tuple(starts),
        tuple(table.name for table in tables.values()),
        tuple(tables),
    )
