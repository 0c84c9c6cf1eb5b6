"""Metrics of a model elsewhere beside those on held-out patients of its own source.

The two were taken on different patients, so the interval of a difference is had from the two intervals alone (MOVER).

Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from medloom.wording import metric_text

__all__ = ["beside", "beside_rows", "difference", "findings"]

Metric = Mapping[str, Any]


def difference(here: Metric, there: Metric) -> dict[str, float | None]:
    """Return one estimate minus another one of other patients, with the interval from both intervals.

    Args:
        here: ``value``, ``low`` and ``high``.
        there: The same, of which it is taken away.

    Example:
        >>> found = difference({"value": 0.6, "low": 0.5, "high": 0.7}, {"value": 0.9, "low": 0.86, "high": 0.92})
        >>> {name: round(value, 3) for name, value in found.items()}
        {'value': -0.3, 'low': -0.402, 'high': -0.192}
    """
    if here.get("value") is None or there.get("value") is None:
        return {"value": None, "low": None, "high": None}
    value = here["value"] - there["value"]
    if None in (here.get("low"), there.get("low")):
        return {"value": value, "low": None, "high": None}
    down = ((here["value"] - here["low"]) ** 2 + (there["high"] - there["value"]) ** 2) ** 0.5
    up = ((here["high"] - here["value"]) ** 2 + (there["value"] - there["low"]) ** 2) ** 0.5
    return {"value": value, "low": value - down, "high": value + up}


def beside(here: Mapping[str, Metric], there: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    """Return ``here``, ``there`` and their ``difference`` for every metric that both have.

    Args:
        here: Estimates by name.
        there: Those in the bundle.
    """
    return {
        name: {"here": dict(metric), "there": dict(there[name]), "difference": difference(metric, there[name])}
        for name, metric in here.items()
        if name in there and (there[name].get("value") is not None or metric.get("value") is not None)
    }


def beside_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the headlines and the calibration error here, at home and their difference, as rows for a terminal.

    Args:
        summary: As in ``summary.json`` of an external validation.
    """
    compared, meanings = summary["elsewhere"]["beside"], summary["meanings"]
    rows = [("", "here", "at home", "difference")]
    for name in (*summary["headlines"], "ece"):
        if name in compared:
            one, meaning = compared[name], meanings[name]
            texts = (metric_text(one[side], meaning["unit"]) for side in ("here", "there", "difference"))
            rows.append((meaning["label"], *texts))
    return rows


def findings(compared: Mapping[str, Mapping[str, Any]], meanings: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return a sentence for each metric that is worse here than there by more than chance.

    Args:
        compared: As from ``beside``.
        meanings: What the metrics mean.
        names: Which are looked at.
    """
    found = []
    for name in names:
        one = compared.get(name)
        if one is None or one["difference"]["low"] is None:
            continue
        lower_is_better = meanings[name]["better"] == "lower"
        low, high = one["difference"]["low"], one["difference"]["high"]
        if (low > 0) if lower_is_better else (high < 0):
            found.append(
                f"{meanings[name]['label']} is {one['here']['value']:.3f} here and {one['there']['value']:.3f} on "
                f"held-out patients of its own source: {one['difference']['value']:+.3f} ({low:+.3f} to {high:+.3f})."
            )
    return found
