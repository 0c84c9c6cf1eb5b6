"""Whether one network may stand in for an ensemble, and what that costs, on the same cases of both.

As good is what is shown to be: of the first headline the whole interval of the paired difference must lie within the
margin, and of every other one the difference itself. With few patients to choose by an interval is wide, and the
ensemble stays; so it does where it finds nothing itself, since two networks that find nothing are alike in that.

Source: the margin is that of a non-inferiority comparison, as in Piaggio et al., CONSORT extension, JAMA 2012
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medloom.evaluation.family import Facts
from medloom.evaluation.metrics import worse_by
from medloom.evaluation.together import Together
from medloom.wording import metric_text

__all__ = ["FEWEST_PATIENTS", "MARGIN", "compare", "is_as_good", "said"]

MARGIN = 0.01
"""Largest loss of a headline that still counts as none; of numbers with a unit, as a share of the ensemble's."""

FEWEST_PATIENTS = 5
"""Of whom the first headline takes notice: resamples of fewer say little of how uncertain a difference is."""


def compare(together: Together, ensemble: pd.DataFrame, other: pd.DataFrame) -> Facts:
    """Return the headlines of an ensemble and of a network that may stand in for it, and their paired differences.

    Args:
        together: What they were measured with.
        ensemble: The per-case table of the ensemble.
        other: That of the network, of the same cases.

    Returns:
        ``cases_text``, ``headlines``, ``meanings``, and by headline ``ensemble``, ``other`` and ``difference``, which
        is the network's minus the ensemble's.
    """
    ours, theirs = together.summary(other), together.summary(ensemble)
    differences = together.paired(other, ensemble)
    names = [name for name in ours["headlines"] if name in differences]
    return {
        "cases_text": together.cases_text(other),
        "headlines": names,
        "meanings": {name: ours["meanings"][name] for name in names},
        "ensemble": {name: theirs["test"]["metrics"][name] for name in names},
        "other": {name: ours["test"]["metrics"][name] for name in names},
        "difference": {name: differences[name] for name in names},
    }


def is_as_good(found: Facts, margin: float = MARGIN) -> bool:
    """Return whether a network is shown to be as good as the ensemble.

    Args:
        found: As from ``compare``, on cases that are allowed to choose.
        margin: Largest loss that counts as none.

    Example:
        >>> dice = {"unit": "share", "better": "higher"}
        >>> ensemble = {"dice": {"value": 0.8, "patients": 9, "n": 30}}
        >>> found = {"headlines": ["dice"], "meanings": {"dice": dice}, "ensemble": ensemble}
        >>> apart = {"value": 0.0, "low": -0.004, "high": 0.01}
        >>> is_as_good(found | {"difference": {"dice": apart}})
        True
        >>> is_as_good(found | {"difference": {"dice": apart | {"low": -0.04}}})
        False
    """
    first, *others = (_losses(name, found) for name in found["headlines"])
    if first is None or not _tells(found["headlines"][0], found):
        return False
    return first[1] <= margin and all(loss is None or loss[0] <= margin for loss in others)


def _tells(name: str, found: Mapping[str, Any]) -> bool:
    """Whether a difference of a headline says anything: of few patients, or where the ensemble finds nothing, none."""
    whole = found["ensemble"][name]
    nothing = found["meanings"][name]["better"] == "higher" and whole["value"] == 0
    drawn = whole["n"] if whole["patients"] is None else whole["patients"]  # images, where patients are not known
    return not nothing and bool(drawn >= FEWEST_PATIENTS)


def _losses(name: str, found: Mapping[str, Any]) -> tuple[float, float] | None:
    """How much worse the network is, and at the worse end of the interval; None where that is not known."""
    apart, meaning = found["difference"][name], found["meanings"][name]
    value, whole = apart["value"], found["ensemble"][name]["value"]
    if value is None or apart["low"] is None or whole is None:
        return None
    worse_end = apart["high" if meaning["better"] == "lower" else "low"]
    return worse_by(value, whole, meaning), worse_by(worse_end, whole, meaning)


def said(found: Mapping[str, Any], names: Sequence[str] | None = None) -> str:
    """Say headlines of both and their differences in words.

    Args:
        found: As from ``compare``.
        names: Which; all by default.
    """
    texts = []
    for name in found["headlines"] if names is None else names:
        unit = found["meanings"][name]["unit"]
        other, ensemble, apart = (found[side][name] for side in ("other", "ensemble", "difference"))
        if apart["value"] is None:
            texts.append(f"{found['meanings'][name]['label']} not defined")
            continue
        values = [metric_text({"value": one["value"]}, unit) for one in (other, ensemble)]
        texts.append(
            f"{found['meanings'][name]['label']} {values[0]}, the ensemble's {values[1]}, "
            f"difference {metric_text(apart, unit)}"
        )
    return "; ".join(texts)
