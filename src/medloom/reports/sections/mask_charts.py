"""The charts of masks: what the operating point was chosen from, and how each patient fared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from medloom.reports.charts import (
    GUIDE,
    PALETTE,
    SPLIT_COLOURS,
    describe_axes,
    figure_uri,
    lines,
    new_figure,
    panel_uris,
    with_gaps,
)

__all__ = ["patient_chart", "point_chart"]

_NAMED_PATIENTS, _UPRIGHT_LETTERS = 40, 60


def point_chart(search: Mapping[str, Any]) -> list[str]:
    """Draw Dice and false positive rate over the threshold, and against each other over all points.

    Args:
        search: As in ``operating_point.json``.

    Returns:
        A data URI for each of both.
    """
    figure, (left, right) = new_figure(9.0, 3.2, columns=2)
    dice, rates = ([with_gaps(row) for row in search[name]] for name in ("dice_foreground", "false_positive_rate"))
    column = search["min_regions_px"].index(search["min_region_px"])
    row = search["thresholds"].index(search["threshold"])
    series = {
        "Dice with foreground": [line[column] for line in dice],
        "False positive rate": [line[column] for line in rates],
    }
    title = f"Smallest region {search['min_region_px']} px"
    lines(left, search["thresholds"], series, xlabel="Threshold", title=title)
    left.axvline(search["threshold"], **GUIDE)
    left.set_ylim(-0.03, 1.03)
    right.scatter(
        list(chain.from_iterable(rates)),
        list(chain.from_iterable(dice)),
        s=9,
        color=PALETTE[5],
        alpha=0.45,
        linewidths=0,
    )
    right.scatter([rates[row][column]], [dice[row][column]], s=70, color=PALETTE[1], zorder=3, label="chosen")
    describe_axes(right, "False positive rate on empty images", "Dice with foreground", "Every point that was tried")
    right.legend(frameon=False, fontsize=9)
    left.set_ylabel("share, 0 to 1", fontsize=9)
    return panel_uris(figure)


def patient_chart(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> str:
    """Draw the Dice of each patient; the size of a dot says how much foreground there is.

    Args:
        rows: Rows of ``patients.csv`` in the order to draw.
        names: What stands under each dot, where there is room.

    Returns:
        A data URI.
    """
    figure, (axis,) = new_figure(9.0, 2.8)
    largest = max(int(row["truth_px"]) for row in rows) or 1
    sizes = [20 + 180 * int(row["truth_px"]) / largest for row in rows]
    dice = [float(row["dice"]) for row in rows]
    axis.scatter(range(len(rows)), dice, s=sizes, color=SPLIT_COLOURS["test"], alpha=0.8)
    axis.set_ylim(-0.06, 1.06)
    describe_axes(axis, "Patient", "Dice of all images together, 0 to 1")
    labels = names if len(rows) <= _NAMED_PATIENTS else []
    room = sum(map(len, labels)) <= _UPRIGHT_LETTERS
    axis.set_xticks(range(len(labels)), labels, rotation=0 if room else 90)
    return figure_uri(figure)
