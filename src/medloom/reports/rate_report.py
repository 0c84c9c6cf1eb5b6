"""The page of a learning-rate range test."""

from __future__ import annotations

from pathlib import Path

from medloom import __version__
from medloom.evaluation.text import number
from medloom.files import read_json, write_text
from medloom.reports.charts import GUIDE, INK, PALETTE, describe_axes, figure_uri, new_figure
from medloom.reports.facts import Facts
from medloom.reports.html import render

__all__ = ["write_rate_report"]


def write_rate_report(folder: Path) -> Path:
    """Write ``find_lr.html`` from ``find_lr.json``.

    Args:
        folder: The run directory.

    Returns:
        The path of the page.
    """
    facts = read_json(folder / "find_lr.json")
    page = render(
        "find_lr.html",
        version=__version__,
        phantom=facts["phantom"],
        facts=facts,
        suggested=_rate(facts["suggested"]),
        current=_rate(facts["current"]),
        curve=_curve(facts),
        steps=number(len(facts["losses"])),
    )
    write_text(folder / "find_lr.html", page)
    return folder / "find_lr.html"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _curve(facts: Facts) -> str:
    """Draw the loss over the rate, as it was and smoothed, the suggestion and the recipe's rate."""
    figure, (axis,) = new_figure(9.0, 3.6)
    axis.scatter(facts["rates"], facts["losses"], color=PALETTE[5], s=8, label="a step")
    axis.plot(facts["rates"], facts["smooth"], color=PALETTE[0], linewidth=1.8, label="smoothed")
    axis.axvline(facts["current"], **GUIDE, label="the recipe's")
    if facts["suggested"] is not None:
        axis.axvline(facts["suggested"], color=PALETTE[1], linewidth=1.6, label="suggested")
    low, high = min(facts["smooth"]), max(facts["smooth"][: max(1, len(facts["smooth"]) // 2)])
    axis.set_ylim(low - 0.15 * (high - low), high + 0.6 * (high - low) or None)
    axis.set_xscale("log")
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    describe_axes(axis, "Learning rate", "Training loss")
    return figure_uri(figure)
