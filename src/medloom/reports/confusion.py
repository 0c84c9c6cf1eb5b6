"""The chart of a confusion matrix, of images or of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloom.reports.charts import INK, describe_axes, figure_uri, new_figure

__all__ = ["confusion_chart"]

Facts = Mapping[str, Any]

_WRITTEN_CLASSES = 12
_DARK = 0.55


def confusion_chart(confusion: Facts, *, unit: str = "cases") -> str:
    """Draw a confusion matrix: counts as text, the share of each true class as shade.

    Args:
        confusion: ``classes`` and ``matrix``, rows the truth.
        unit: What is counted.

    Returns:
        A data URI.
    """
    names, matrix = confusion["classes"], confusion["matrix"]
    side = max(3.2, min(9.0, 1.6 + 0.75 * len(names)))
    figure, (axis,) = new_figure(side + 0.9 + 0.08 * min(18, max(len(name) for name in names)), side)
    shares = [[count / (sum(row) or 1) for count in row] for row in matrix]
    axis.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axis.grid(visible=False)
    if len(names) <= _WRITTEN_CLASSES:
        for row, counts in enumerate(matrix):
            for column, count in enumerate(counts):
                colour = "white" if shares[row][column] > _DARK else INK
                text = f"{count:,}\n{100 * shares[row][column]:.0f} %"
                axis.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
    axis.set_xticks(range(len(names)), short, rotation=0 if len(names) <= 3 else 90)
    axis.set_yticks(range(len(names)), short)
    describe_axes(axis, f"Decided ({unit})", "True")
    return figure_uri(figure)
