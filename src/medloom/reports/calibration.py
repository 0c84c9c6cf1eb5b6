"""What a calibration was, and what it changed, as a table: the same for every kind of answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloom.evaluation.parts import measured
from medloom.evaluation.text import number, sentence_case
from medloom.reports.facts import Facts
from medloom.reports.metrics import with_interval

__all__ = ["calibration_table"]

_LABELS = {
    "ece": "Calibration error",
    "ece_mass": "Calibration error, equal bins",
    "brier": "Brier score",
    "log_loss": "Log loss",
}


def calibration_table(summary: Facts) -> Facts:
    """Return ``text``, ``head`` and ``rows``; nothing where nothing was calibrated.

    Args:
        summary: As in ``summary.json``, of any kind of answer.
    """
    found, text = measured(summary).get("calibration"), summary.get("calibration", {}).get("text", "")
    if not found or not text:
        return {}
    rows = _rows("", found)
    for name, one in found["per_target"].items():
        rows += _rows(name, {key: {"ece": one[key]["ece"]} for key in ("before", "after", "change")})
    chance = number(found["chance"]) if "chance" in found else ""
    return {"text": sentence_case(text), "head": ["", "Before", "After", "Change"], "rows": rows, "chance": chance}


def _rows(name: str, found: Mapping[str, Any]) -> list[list[str]]:
    return [
        [f"{_LABELS[key]}{f': {name}' if name else ''}", with_interval(before), *_changed(found, key)]
        for key, before in found["before"].items()
    ]


def _changed(found: Mapping[str, Any], key: str) -> list[str]:
    change = found["change"].get(key, {})
    texts = [f"{one:+.3f}" if one is not None else number(None) for one in map(change.get, ("value", "low", "high"))]
    interval = f" ({texts[1]} to {texts[2]})" if change.get("low") is not None else ""
    return [with_interval(found["after"][key]), f"{texts[0]}{interval}"]
