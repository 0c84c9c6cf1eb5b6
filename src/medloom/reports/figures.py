"""Figures with their intervals as text, the same in every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medloom.reports.facts import Facts
from medloom.reports.html import number, quantity
from medloom.wording import counted

__all__ = ["figure_rows", "fold_table", "interval_text", "mean_range", "tiles", "value_text", "with_interval"]

_LENGTHS = ("px", "mm")
_VALUE = "value"  # the unit of what is predicted
_NO_BREAK = "\u00a0"


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


def fold_table(summary: Facts, names: Sequence[str]) -> Facts:
    """Return the figures of each fold with its operating point, ``head`` and ``rows``; nothing without folds.

    Args:
        summary: As in ``summary.json``.
        names: Which figures, in order.
    """
    folds = summary.get("folds", ())
    if not folds:
        return {}
    known = [name for name in names if any(_known(fold["figures"].get(name)) for fold in folds)]
    points = [_point_text(fold.get("operating_point", {})) for fold in folds]
    rows = [
        [
            number(fold["fold"] + 1),
            *(with_interval(fold["figures"].get(name, {}), summary["meanings"][name]["unit"]) for name in known),
            *([point] if any(points) else ()),
        ]
        for fold, point in zip(folds, points, strict=True)
    ]
    head = ["Fold", *(summary["meanings"][name]["label"] for name in known)]
    return {"head": [*head, "From probability"] if any(points) else head, "rows": rows}


def _known(figure: Mapping[str, Any] | None) -> bool:
    return figure is not None and figure["value"] is not None


def _point_text(point: Mapping[str, Any]) -> str:
    if "threshold" in point:
        return f"{number(point['threshold'], 2)}, {counted(point['min_lesion_px'], 'pixel')}"
    return ", ".join(number(threshold) for threshold in point.get("thresholds", ()))


def value_text(value: float | None, unit: str = "share") -> str:
    """Return a figure for reading, with its unit where it has one."""
    if value is None or unit not in (*_LENGTHS, _VALUE):
        return number(value)
    return quantity(value) if unit == _VALUE else f"{number(value, 1)} {unit}"


def interval_text(figure: Mapping[str, Any], unit: str = "share") -> str:
    """Return the 95 % interval for reading, ``–`` where there is none."""
    if figure.get("low") is None:
        return "–"
    if unit == _VALUE:
        return f"{quantity(figure['low'])} to {quantity(figure['high'])}"
    digits = 1 if unit in _LENGTHS else 3
    return f"{number(figure['low'], digits)} to {number(figure['high'], digits)}"


def with_interval(figure: Mapping[str, Any], unit: str = "share") -> str:
    """Return a figure with its interval in brackets, which stays on one line."""
    interval, value = interval_text(figure, unit), value_text(figure.get("value"), unit)
    return value if interval == "–" else f"{value} ({interval.replace(' ', _NO_BREAK)})"


def mean_range(facts: Mapping[str, float | None]) -> str:
    """Return ``mean``, ``min`` and ``max`` of numbers as text."""
    if facts["mean"] is None:
        return "none"
    mean, low, high = (quantity(float(facts[name] or 0.0), 3) for name in ("mean", "min", "max"))
    return f"{mean} ({low} to {high})"
