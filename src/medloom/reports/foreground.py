"""What the data report shows of the size of the foreground."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from medloom.evaluation.text import number, quantity, sentence_case
from medloom.reports.charts import PALETTE, describe_axes, figure_uri, new_panels
from medloom.reports.facts import Facts
from medloom.reports.html import percent

__all__ = ["foreground_size"]

_SHOWN = 12
_IN_A_ROW = 3


def foreground_size(facts: Facts) -> Facts:
    """Return the table and the charts of the share that foreground covers; nothing where no mask has any.

    Args:
        facts: Those of the data report; one that an earlier version wrote has none.
    """
    found = facts.get("foreground")
    if not found or not found["classes"]:
        return {}
    return {
        "head": ["Class", "Part", "Images", "5 %", "25 %", "Median", "75 %", "95 %"],
        "rows": [row for one in found["classes"] for row in _rows(one)],
        "chart": _chart(found["classes"]),
        "unlike": _unlike(found["outliers"]),
    }


def _rows(one: Facts) -> list[list[str]]:
    return [
        [sentence_case(one["name"]), part, number(of["images"]), *(percent(value) for value in of["quantiles"])]
        for part, of in one["parts"].items()
        if of["quantiles"]
    ]


def _chart(classes: Sequence[Facts]) -> str:
    """A small histogram for each class over the training images that have it."""
    columns = min(len(classes), _IN_A_ROW)
    figure, axes = new_panels(len(classes), 9 if columns > 1 else 5, 1.9, columns=columns)
    for place, (axis, one) in enumerate(zip(axes, classes, strict=True)):
        axis.set_xscale("log")
        axis.bar(
            one["edges"][:-1],
            one["counts"],
            [high - low for low, high in pairwise(one["edges"])],
            align="edge",
            color=PALETTE[place % len(PALETTE)],
        )
        describe_axes(axis, "share of the image", "images", sentence_case(one["name"]))
    return figure_uri(figure)


def _unlike(found: Facts) -> Facts:
    rows = [
        [
            row["sample_id"],
            row["split"],
            row["class"],
            percent(row["share"]),
            percent(row["median"]),
            quantity(row["z"], 3, sign=True),
        ]
        for row in found["listed"][:_SHOWN]
    ]
    return {
        "head": ["Image", "Part", "Class", "Share", "Usual", "Robust z"],
        "rows": rows,
        "count": found["count"],
        "rule": found["rule"],
    }
