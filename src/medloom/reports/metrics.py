"""Metrics with their intervals as text, the same in every report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medloom.evaluation.parts import measured, part_of
from medloom.evaluation.text import number, quantity
from medloom.reports.facts import Facts
from medloom.wording import counted, metric_text

__all__ = [
    "NO_BREAK",
    "fold_table",
    "interval_text",
    "mean_range",
    "metric_table",
    "served_tables",
    "tiles",
    "value_text",
    "with_interval",
]

_LENGTHS = ("px", "mm")
_VALUE = "value"  # the unit of what is predicted
NO_BREAK = "\u00a0"
"""A space at which no line ends."""

_ONE_NETWORK = {"soup": "Soup", "distilled": "Distilled"}
"""What one network in the place of an ensemble is called in a table."""


def tiles(summary: Facts) -> list[dict[str, str]]:
    """Return the headline metrics of the cases that were measured; those that the summary lacks are left out.

    Args:
        summary: As in ``summary.json``; nothing gives no tiles.
    """
    if not summary:
        return []
    metrics, meanings = measured(summary)["metrics"], summary["meanings"]
    return [
        {
            "label": meanings[name]["label"],
            "value": value_text(metrics[name]["value"], meanings[name]["unit"]),
            "interval": interval_text(metrics[name], meanings[name]["unit"]),
            "n": f"n = {number(metrics[name]['n'])}{_said_of(metrics[name])}",
        }
        for name in summary["headlines"]
        if name in metrics
    ]


def metric_table(summary: Facts, baselines: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return a row for each metric that is defined on what was measured, or on validation beside it.

    Args:
        summary: As in ``summary.json``.
        baselines: Which of its baselines get a column; none by default.
    """
    if not summary:
        return []
    shown = measured(summary)
    metrics = shown["metrics"]
    beside = {} if part_of(summary) == "validation" else summary.get("validation", {}).get("metrics", {})
    compared = [shown["baselines"][name]["metrics"] for name in baselines]
    rows = []
    for name, meaning in summary["meanings"].items():
        one, other, *further = (found.get(name, {}).get("value") for found in (metrics, beside, *compared))
        if one is None and other is None and "note" not in metrics.get(name, {}):
            continue
        rows.append(
            {
                "label": meaning["label"],
                "meaning": meaning["meaning"],
                "value": value_text(one, meaning["unit"]),
                "interval": interval_text(metrics.get(name, {}), meaning["unit"]),
                "n": f"{number(metrics.get(name, {}).get('n', 0))}{_said_of(metrics.get(name, {}))}",
                "baselines": [value_text(value, meaning["unit"]) for value in further],
                "validation": value_text(other, meaning["unit"]),
            }
        )
    return rows


def fold_table(summary: Facts, point_text: Callable[[Mapping[str, Any]], str]) -> Facts:
    """Return the headlines of each fold with its operating point; nothing without folds.

    Args:
        summary: As in ``summary.json``.
        point_text: Says an operating point in a few words.

    Returns:
        ``head``, ``rows``, and ``packaged``: what the last row is called, if it is of what is packaged.
    """
    folds = summary.get("folds", ())
    if not folds:
        return {}
    known = [name for name in summary["headlines"] if any(_known(fold["metrics"].get(name)) for fold in folds)]
    points = [point_text(fold.get("operating_point", {})) for fold in folds]
    learned = [_learned_text(fold.get("learned_from", {})) for fold in folds]
    rows = [
        [
            number(fold["fold"] + 1),
            *([said] if any(learned) else ()),
            *(with_interval(fold["metrics"].get(name, {}), summary["meanings"][name]["unit"]) for name in known),
            *([point] if any(points) else ()),
        ]
        for fold, said, point in zip(folds, learned, points, strict=True)
    ]
    if summary.get("held_out"):
        together = summary["held_out"]["metrics"]
        cells = (with_interval(together.get(name, {}), summary["meanings"][name]["unit"]) for name in known)
        point = [point_text(summary.get("operating_point", {}))] if any(points) else []
        last = _ONE_NETWORK.get(summary.get("served", {}).get("what"), "Together")
        rows.append([last, *([summary["held_out"]["cases_text"]] if any(learned) else ()), *cells, *point])
    head = ["Fold", *(["Learned from"] if any(learned) else ())]
    head += [summary["meanings"][name]["label"] for name in known]
    packaged = rows[-1][0] if summary.get("held_out") else ""
    return {"head": [*head, "From probability"] if any(points) else head, "rows": rows, "packaged": packaged}


def served_tables(summary: Facts) -> list[Facts]:
    """Return what one network has beside the ensemble in whose place it was to be packaged, as tables.

    Args:
        summary: As in ``summary.json``.

    Returns:
        ``title``, ``head`` and ``rows`` of each: where there were cases that chose, of these, and of those that judge;
        nothing for a run that was to package the ensemble.
    """
    served = summary.get("served", {})
    titles = {"choosing": "Cases that chose, and judge nothing", "judging": "Cases that chose nothing"}
    return [
        {
            "title": f"{title}: {served[part]['cases_text']}",
            "head": ["Metric", "Ensemble", _ONE_NETWORK[served["asked"]], "Difference"],
            "rows": [_served_row(name, served[part]) for name in served[part]["headlines"]],
        }
        for part, title in titles.items()
        if served.get(part)
    ]


def _served_row(name: str, found: Facts) -> list[str]:
    unit = found["meanings"][name]["unit"]
    texts = [with_interval(found[side][name], unit) for side in ("ensemble", "other", "difference")]
    return [found["meanings"][name]["label"], *texts]


def _learned_text(counts: Mapping[str, Any]) -> str:
    """How many patients and images a network learned from; empty where it is not known."""
    people = [counted(counts["patients"], "patient")] if counts.get("patients") is not None else []
    return ", ".join([*people, counted(counts["samples"], "image")]) if counts else ""


def _known(metric: Mapping[str, Any] | None) -> bool:
    return metric is not None and metric["value"] is not None


def value_text(value: float | None, unit: str = "share") -> str:
    """Return a metric for reading, with its unit where it has one."""
    if value is None or unit not in (*_LENGTHS, _VALUE):
        return number(value)
    return quantity(value) if unit == _VALUE else f"{number(value, 1)} {unit}"


def interval_text(metric: Mapping[str, Any], unit: str = "share") -> str:
    """Return the 95 % interval for reading, ``–`` where there is none; of a metric that is not shown, why."""
    if metric.get("value") is None and metric.get("note"):
        return metric_text(metric)
    if metric.get("low") is None:
        return "–"
    if unit == _VALUE:
        return f"{quantity(metric['low'])} to {quantity(metric['high'])}"
    digits = 1 if unit in _LENGTHS else 3
    return f"{number(metric['low'], digits)} to {number(metric['high'], digits)}"


def with_interval(metric: Mapping[str, Any], unit: str = "share") -> str:
    """Return a metric with its interval in brackets, which stays on one line."""
    interval, value = interval_text(metric, unit), value_text(metric.get("value"), unit)
    if metric.get("value") is None and metric.get("note"):
        return interval
    return value if interval == "–" else f"{value} ({interval.replace(' ', NO_BREAK)})"


def _said_of(metric: Mapping[str, Any]) -> str:
    """What is to be said of a metric that is shown."""
    return f"; {metric['note']}" if metric.get("note") and metric.get("value") is not None else ""


def mean_range(facts: Mapping[str, float | None]) -> str:
    """Return ``mean``, ``min`` and ``max`` of numbers as text."""
    if facts["mean"] is None:
        return "none"
    mean, low, high = (quantity(float(facts[name] or 0.0), 3) for name in ("mean", "min", "max"))
    return f"{mean} ({low} to {high})"
