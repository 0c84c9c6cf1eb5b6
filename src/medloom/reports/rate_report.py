"""The page of a learning-rate range test."""

from __future__ import annotations

from pathlib import Path

from medloom.evaluation.text import number
from medloom.files import read_json
from medloom.reports.charts import GUIDE, INK, PALETTE, describe_axes, figure_uri, new_figure
from medloom.reports.facts import Facts
from medloom.reports.html import write_page

__all__ = ["write_rate_report"]


def write_rate_report(folder: Path) -> Path:
    """Write ``find_lr.html`` from ``find_lr.json``.

    Args:
        folder: The run directory.

    Returns:
        The path of the page.
    """
    facts = read_json(folder / "find_lr.json")
    return write_page(
        folder / "find_lr.html",
        "find_lr.html",
        phantom=facts["phantom"],
        facts=facts,
        suggested=_rate(facts["suggested"]),
        current=_rate(facts["current"]),
        curve=_curve(facts),
        steps=number(len(facts["losses"])),
    )


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
