"""Rows of a label file that are about one image: a row for each finding, for each box, or for each reader."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medloom.data.kinds import KINDS
from medloom.data.labels import Labels
from medloom.data.layouts.base import Item, Problem
from medloom.data.layouts.table import Table
from medloom.targets import Target
from medloom.wording import counted

__all__ = ["Labelled", "joined_rows"]

_SHOWN_LINES = 8


@dataclass(frozen=True)
class Labelled:
    """A row as a sample.

    Args:
        line: Of the table.
        item: The sample.
    """

    line: int
    item: Item


@dataclass(frozen=True)
class _Joined:
    items: list[Item]
    problems: list[Problem]
    notes: tuple[str, ...]


def joined_rows(found: Sequence[Labelled], table: Table, target: Target, *, unite: bool) -> _Joined:
    """Make one sample of the rows about one image.

    Args:
        found: A sample for each row.
        table: Names lines.
        target: What is predicted.
        unite: Whether labels that differ are united where an image may have several; otherwise rows must agree.

    Returns:
        A sample for each image; rows that contradict each other as problems; a note on how many rows were joined.
    """
    rows: dict[str, list[Labelled]] = defaultdict(list)
    for one in found:
        rows[one.item.sample].append(one)
    items, problems, united = list[Item](), list[Problem](), 0
    for same in rows.values():
        whole = _whole(same, target, unite=unite)
        if whole is None:
            problems += _contradictions(same, table)
        else:
            items.append(whole)
            united += len(same) > 1 and len({_known(one) for one in same}) > 1
    return _Joined(items, problems, tuple(_notes(found, items, united)))


def _whole(same: Sequence[Labelled], target: Target, *, unite: bool) -> Item | None:
    """The one sample of rows that agree; None if they contradict each other."""
    first = same[0].item
    if len(same) == 1:
        return first
    said = (first.patient, first.meta, first.published)
    if any((one.item.patient, one.item.meta, one.item.published) != said for one in same):
        return None
    if len({_known(one) for one in same}) == 1:
        return first
    labels = np.array([one.item.labels for one in same], np.float64)
    found = Labels.of(KINDS[target.kind]).united(labels) if unite else None
    return None if found is None else replace(first, labels=found)


def _known(row: Labelled) -> tuple[str, ...]:
    """The labels, so that an unknown one is the same as another."""
    return tuple(map(repr, row.item.labels or ()))


def _contradictions(same: Sequence[Labelled], table: Table) -> Iterator[Problem]:
    more = f" and {len(same) - _SHOWN_LINES} more" if len(same) > _SHOWN_LINES else ""
    shown = table.lines([one.line for one in same[:_SHOWN_LINES]]) + more
    detail = f"{shown} are about one image and differ in its {table.says}"
    for one in same:
        yield Problem("duplicate", table.where(one.line), detail)


def _notes(found: Sequence[Labelled], items: Sequence[Item], united: int) -> Iterator[str]:
    if len(found) > len(items):
        yield (
            f"{counted(len(found), 'row is', 'rows are')} about {counted(len(items), 'image')}: rows about one image "
            "were joined (data.labels.repeated)"
        )
    if united:
        yield (
            f"the rows about {counted(united, 'image')} differ in their labels: a label is there where one of its rows "
            "says so"
        )
