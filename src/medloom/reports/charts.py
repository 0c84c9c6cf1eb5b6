"""Charts for the reports: Matplotlib's object interface only, no global state, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from medloom.extras import require
from medloom.palette import INK, PALETTE
from medloom.reports.html import data_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GUIDE",
    "INK",
    "PALETTE",
    "SPLIT_COLOURS",
    "bars",
    "describe_axes",
    "figure_uri",
    "lines",
    "new_figure",
    "new_panels",
    "panel_uris",
    "stacked_bars",
    "style",
    "with_gaps",
]

SPLIT_COLOURS = {"train": PALETTE[0], "validation": PALETTE[1], "test": PALETTE[2], "held-out": PALETTE[3]}
"""The colour of each split, the same in every chart."""

GUIDE: dict[str, Any] = {"color": PALETTE[5], "linestyle": "--", "linewidth": 1}
"""How a line is drawn that is no result but something to compare with."""

_DPI = 144
_EDGE = 0.04
"""Inches around a chart that is cut out."""
_SVG_SETTINGS = {"svg.hashsalt": "medloom", "svg.fonttype": "none"}


def new_figure(
    width: float = 7.0, height: float = 3.0, *, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """Make a figure outside of any global state.

    Args:
        width: Width in inches; 7 fills the page.
        height: Height in inches.
        rows: Rows of axes.
        columns: Columns of axes.

    Returns:
        The figure and its axes, row by row, already in the style of the reports.
    """
    figure = require("matplotlib.figure", "train").Figure(figsize=(width, height), layout="tight")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        style(axis)
    return figure, axes


def new_panels(count: int, width: float, height: float, *, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """Make a figure of several charts, row by row; what is left of the last row stays empty.

    Args:
        count: Number of charts.
        width: Width of the figure in inches.
        height: Height of a row in inches.
        columns: Charts in a row.

    Returns:
        The figure and ``count`` axes.
    """
    rows = -(-count // columns)
    figure, axes = new_figure(width, height * rows, rows=rows, columns=columns)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def style(axis: Axes) -> None:
    """Give an axis the quiet look of the reports: two spines, a faint grid behind the data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(INK)
    axis.tick_params(colors=INK, labelsize=9)
    axis.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.xaxis.label.set_color(INK)
    axis.yaxis.label.set_color(INK)
    axis.title.set_color(INK)
    axis.title.set_fontsize(10)


def figure_uri(figure: Figure, *, format: Literal["svg", "png"] = "svg") -> str:
    """Return a figure as a data URI with a transparent background.

    Show it as ``<img class="chart">``: the page turns such images for a dark screen.

    Args:
        figure: The figure; it needs no canvas.
        format: ``svg`` for lines and bars, ``png`` where there are thousands of marks.

    Returns:
        The URI; the same figure gives the same bytes.
    """
    # Naming the canvas keeps ``savefig`` from asking pyplot for one.
    canvas = {"svg": "matplotlib.backends.backend_svg", "png": "matplotlib.backends.backend_agg"}[format]
    require(canvas, "train").FigureCanvas(figure)
    return _saved(figure, format)


def panel_uris(figure: Figure) -> list[str]:
    """Return each chart of a figure as a picture of its own, so that they stand below each other on a phone.

    Args:
        figure: Of several charts, each with its own labels; it needs no canvas.

    Returns:
        A data URI for each chart that is visible; the same figure gives the same bytes.
    """
    require("matplotlib.backends.backend_svg", "train").FigureCanvas(figure)
    figure.draw_without_rendering()  # lays out all of them together
    figure.set_layout_engine("none")
    shown, found = [axis for axis in figure.axes if axis.get_visible()], []
    for axis in shown:
        for one in shown:
            one.set_visible(one is axis)
        if (box := axis.get_tightbbox()) is not None:
            inches = box.transformed(figure.dpi_scale_trans.inverted()).padded(_EDGE)
            found.append(_saved(figure, "svg", bbox_inches=inches))
    return found


def lines(
    axis: Axes,
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "",
    title: str = "",
) -> None:
    """Draw one line for each name, with a legend when there are several. NaN leaves a gap.

    Args:
        axis: Where to draw.
        x: Positions, shared by all lines.
        series: Values by name.
        xlabel: Label of the horizontal axis.
        title: Title of the chart.
    """
    for index, (name, values) in enumerate(series.items()):
        axis.plot(x, values, label=name, color=PALETTE[index % len(PALETTE)], linewidth=1.6)
    describe_axes(axis, xlabel, title=title)
    _legend(axis, series)


def bars(
    axis: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    colours: Sequence[str] = PALETTE[:1],
    ylabel: str = "",
) -> None:
    """Draw one bar for each label.

    Args:
        axis: Where to draw.
        labels: Names under the bars.
        values: Heights.
        colours: One colour for each bar, or for all.
        ylabel: Label of the vertical axis.
    """
    axis.bar(range(len(values)), values, color=list(colours), width=0.7)
    axis.set_xticks(range(len(labels)), labels)
    describe_axes(axis, ylabel=ylabel)


def stacked_bars(
    axis: Axes,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    colours: Sequence[str] = PALETTE,
    ylabel: str = "",
) -> None:
    """Draw one bar for each label, made of one piece for each name.

    Args:
        axis: Where to draw.
        labels: Names under the bars.
        series: Heights of the pieces by name, the lowest first.
        colours: One colour for each name.
        ylabel: Label of the vertical axis.
    """
    base = [0.0] * len(labels)
    for colour, (name, values) in zip(colours, series.items(), strict=False):
        axis.bar(range(len(labels)), values, bottom=base, label=name, color=colour, width=0.8)
        base = [low + value for low, value in zip(base, values, strict=True)]
    axis.set_xticks(range(len(labels)), labels)
    describe_axes(axis, ylabel=ylabel)
    _legend(axis, series)


def describe_axes(axis: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Say what an axis shows: beside it, below it and above it."""
    axis.set_xlabel(xlabel, fontsize=9)
    axis.set_ylabel(ylabel, fontsize=9)
    if title:
        axis.set_title(title, loc="left", fontsize=10)


def with_gaps(values: Iterable[float | None]) -> list[float]:
    """Return values for drawing; NaN, which leaves a gap, where there is none."""
    return [float("nan") if value is None else float(value) for value in values]


def _saved(figure: Figure, format: Literal["svg", "png"], **further: Any) -> str:  # noqa: ANN401 - Matplotlib's own
    metadata = {"Date": None} if format == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with require("matplotlib", "train").rc_context(_SVG_SETTINGS):
        figure.savefig(buffer, format=format, dpi=_DPI, transparent=True, metadata=metadata, **further)
    return data_uri(buffer.getvalue())


def _legend(axis: Axes, series: Mapping[str, Sequence[float]]) -> None:
    if len(series) > 1:
        axis.legend(frameon=False, fontsize=9, labelcolor=INK)
