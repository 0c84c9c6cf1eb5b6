"""Who the patients of each part are, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from medloom.evaluation.text import number, quantity
from medloom.reports.facts import Facts
from medloom.reports.html import percent

__all__ = ["demographic_table"]


def demographic_table(found: Sequence[Facts]) -> Facts:
    """Return ``head`` and ``rows``: for each column its numbers or words in each part; nothing without columns.

    Args:
        found: ``demographics`` of ``prepare.json``.
    """
    if not found:
        return {}
    parts = list(found[0]["parts"])
    return {"head": ["", *parts], "rows": [row for one in found for row in _rows(_name(one), one["parts"])]}


def _name(one: Facts) -> str:
    """The column, and that images are counted where it is not patients."""
    return one["column"] if one["over"] == "patients" else f"{one['column']}, images"


def _rows(column: str, parts: Facts) -> list[list[str]]:
    every = list(parts.values())
    rows = []
    if any("mean" in part for part in every):
        rows = [
            [f"{column}: mean (standard deviation)", *map(_spread, every)],
            [f"{column}: range", *map(_range, every)],
        ]
    words = dict.fromkeys(word for part in every for word in part.get("counts", {}))
    rows += [[f"{column}: {word}", *(_share(part, word) for part in every)] for word in sorted(words)]
    if any(part["missing"] for part in every) or not rows:
        rows.append([f"{column}: not known", *(number(part["missing"]) for part in every)])
    return rows


def _spread(part: Facts) -> str:
    if part["mean"] is None:
        return "–"
    spread = "" if part["std"] is None else f" ({quantity(part['std'], 3)})"
    return quantity(part["mean"], 3) + spread


def _range(part: Facts) -> str:
    return "–" if part["min"] is None else f"{quantity(part['min'], 3)} to {quantity(part['max'], 3)}"


def _share(part: Facts, word: str) -> str:
    count = part["counts"].get(word, 0)
    return f"{number(count)} ({percent(count / part['known'])})" if part["known"] else number(count)
