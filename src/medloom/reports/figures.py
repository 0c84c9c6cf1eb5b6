"""Figures with their intervals as text, the same in every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medloom.reports.facts import Facts
from medloom.reports.html import number

__all__ = ["figure_rows", "interval_text", "mean_range", "tiles", "value_text", "with_interval"]

_LENGTHS = ("px", "mm")


def tiles(summary: Facts, names: Sequence[str]) -> list[dict[str, str]]:
    """Return the headline figures of the test cases; those that the summary lacks are left out.

    Args:
        summary: As in ``summary.json``; nothing gives no tiles.
        names: Which figures, in order.
    """
    if not summary:
        return []
    figures, meanings = summary["test"]["figures"], summary["meanings"]
    return [
        {
            "label": meanings[name]["label"],
            "value": value_text(figures[name]["value"], meanings[name]["unit"]),
            "interval": interval_text(figures[name], meanings[name]["unit"]),
            "n": f"n = {number(figures[name]['n'])}",
        }
        for name in names
        if name in figures
    ]


def figure_rows(summary: Facts) -> list[dict[str, str]]:
    """Return a row for each figure that is defined on test or on validation.

    Args:
        summary: As in ``summary.json``; the baseline of a classification gets a column.
    """
    if not summary:
        return []
    test = summary["test"]["figures"]
    validation = summary.get("validation", {}).get("figures", {})
    baseline = summary["test"].get("baseline", {}).get("figures", {})
    rows = []
    for name, meaning in summary["meanings"].items():
        one, other, constant = (figures.get(name, {}).get("value") for figures in (test, validation, baseline))
        if one is None and other is None:
            continue
        rows.append(
            {
                "label": meaning["label"],
                "meaning": meaning["meaning"],
                "value": value_text(one, meaning["unit"]),
                "interval": interval_text(test.get(name, {}), meaning["unit"]),
                "n": number(test.get(name, {}).get("n", 0)),
                "baseline": value_text(constant, meaning["unit"]),
                "validation": value_text(other, meaning["unit"]),
            }
        )
    return rows


def value_text(value: float | None, unit: str = "share") -> str:
    """Return a figure for reading, with its unit where it has one."""
    return f"{number(value, 1)} {unit}" if unit in _LENGTHS and value is not None else number(value)


def interval_text(figure: Mapping[str, Any], unit: str = "share") -> str:
    """Return the 95 % interval for reading, ``–`` where there is none."""
    if figure.get("low") is None:
        return "–"
    digits = 1 if unit in _LENGTHS else 3
    return f"{number(figure['low'], digits)} to {number(figure['high'], digits)}"


def with_interval(figure: Mapping[str, Any]) -> str:
    """Return a figure with its interval in brackets."""
    interval, value = interval_text(figure), value_text(figure.get("value"))
    return value if interval == "–" else f"{value} ({interval})"


def mean_range(facts: Mapping[str, float | None]) -> str:
    """Return ``mean``, ``min`` and ``max`` of numbers as text."""
    if facts["mean"] is None:
        return "none"
    return f"{facts['mean']:.3g} ({facts['min']:.3g} to {facts['max']:.3g})"
