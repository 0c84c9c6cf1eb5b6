"""Charts for the reports: Matplotlib's object interface only, no global state, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from medloom.extras import require
from medloom.reports.html import data_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "SPLIT_COLOURS", "bars", "figure_uri", "lines", "new_figure", "stacked_bars", "style"]

PALETTE = ("#2f6fb3", "#d9822b", "#3a9b6d", "#b5485d", "#7b61a8", "#6b7785")
"""Colours in order; told apart by people with the common colour-vision deficiencies."""

SPLIT_COLOURS = {"train": PALETTE[0], "validation": PALETTE[1], "test": PALETTE[2]}
"""The colour of each split, the same in every chart."""

_INK = "#3c4450"
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


def style(axis: Axes) -> None:
    """Give an axis the quiet look of the reports: two spines, a faint grid behind the data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_INK)
    axis.tick_params(colors=_INK, labelsize=9)
    axis.grid(axis="y", color=_INK, alpha=0.15, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.xaxis.label.set_color(_INK)
    axis.yaxis.label.set_color(_INK)
    axis.title.set_color(_INK)
    axis.title.set_fontsize(10)


def figure_uri(figure: Figure, *, format: Literal["svg", "png"] = "svg", dpi: int = 144) -> str:
    """Return a figure as a data URI with a transparent background.

    Show it as ``<img class="chart">``: the page turns such images for a dark screen.

    Args:
        figure: The figure; it needs no canvas.
        format: ``svg`` for lines and bars, ``png`` where there are thousands of marks.
        dpi: Resolution of a PNG.

    Returns:
        The URI; the same figure gives the same bytes.
    """
    matplotlib: Any = require("matplotlib", "train")
    # Naming the canvas keeps ``savefig`` from asking pyplot for one.
    canvas = {"svg": "matplotlib.backends.backend_svg", "png": "matplotlib.backends.backend_agg"}[format]
    require(canvas, "train").FigureCanvas(figure)
    metadata = {"Date": None} if format == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SVG_SETTINGS):
        figure.savefig(buffer, format=format, dpi=dpi, transparent=True, metadata=metadata)
    return data_uri(buffer.getvalue())


def lines(
    axis: Axes,
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> None:
    """Draw one line for each name, with a legend when there are several. NaN leaves a gap.

    Args:
        axis: Where to draw.
        x: Positions, shared by all lines.
        series: Values by name.
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        title: Title of the chart.
    """
    for index, (name, values) in enumerate(series.items()):
        axis.plot(x, values, label=name, color=PALETTE[index % len(PALETTE)], linewidth=1.6)
    _label(axis, xlabel, ylabel, title, legend=len(series) > 1)


def bars(
    axis: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    colours: Sequence[str] | None = None,
    ylabel: str = "",
    title: str = "",
) -> None:
    """Draw one bar for each label.

    Args:
        axis: Where to draw.
        labels: Names under the bars.
        values: Heights.
        colours: One colour for each bar; the first of the palette by default.
        ylabel: Label of the vertical axis.
        title: Title of the chart.
    """
    axis.bar(range(len(values)), values, color=list(colours) if colours else PALETTE[0], width=0.7)
    axis.set_xticks(range(len(labels)), labels)
    _label(axis, "", ylabel, title, legend=False)


def stacked_bars(
    axis: Axes,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    colours: Sequence[str] = PALETTE,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> None:
    """Draw one bar for each label, made of one piece for each name.

    Args:
        axis: Where to draw.
        labels: Names under the bars.
        series: Heights of the pieces by name, the lowest first.
        colours: One colour for each name.
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        title: Title of the chart.
    """
    base = [0.0] * len(labels)
    for colour, (name, values) in zip(colours, series.items(), strict=False):
        axis.bar(range(len(labels)), values, bottom=base, label=name, color=colour, width=0.8)
        base = [low + value for low, value in zip(base, values, strict=True)]
    axis.set_xticks(range(len(labels)), labels)
    _label(axis, xlabel, ylabel, title, legend=len(series) > 1)


def _label(axis: Axes, xlabel: str, ylabel: str, title: str, *, legend: bool) -> None:
    axis.set_xlabel(xlabel, fontsize=9)
    axis.set_ylabel(ylabel, fontsize=9)
    if title:
        axis.set_title(title, loc="left", fontsize=10)
    if legend:
        axis.legend(frameon=False, fontsize=9, labelcolor=_INK)
