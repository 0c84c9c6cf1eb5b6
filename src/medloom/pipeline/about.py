"""What the model card says of a run beside what was measured: where the images came from, of whom, and the limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloom.evaluation.parts import measured
from medloom.evaluation.text import quantity
from medloom.pipeline.runs import Run
from medloom.reports import caveats
from medloom.wording import counted

__all__ = ["about_of"]

Facts = Mapping[str, Any]

_ENOUGH = 10
"""Of fewer people no mean is told."""
_FEW = 5
"""Fewer people with a word are not counted, so that nobody is told of alone."""


def about_of(run: Run, prepared: Facts, summary: Facts) -> dict[str, Any]:
    """Return what ``About`` of the manifest takes; nothing in it is of one patient.

    Args:
        run: The run.
        prepared: Its ``prepare.json``.
        summary: Its ``summary.json``.
    """
    return {
        "source": _source(run, prepared),
        "demographics": [_column(one) for one in prepared.get("demographics", ())],
        "groups": [] if summary.get("held_out") else [_group(one) for one in _large(summary)],
        "limits": caveats(dict(prepared), dict(summary)),
    }


def _source(run: Run, prepared: Facts) -> str:
    data = run.recipe.data
    if prepared["phantom"]:
        return "Images made by the phantom generator of Medloom."
    if data.path is None and data.kaggle:
        return f"The data set {data.kaggle} of Kaggle."
    return f"A folder of images, laid out as {data.layout}; the recipe does not say where it came from."


def _column(one: Facts) -> dict[str, Any]:
    every = one["parts"]["all"]
    return {"column": one["column"], "over": one["over"], "known": every["known"], "text": _spread(every)}


def _spread(every: Facts) -> str:
    """Mean and deviation of numbers, and how many have each word; of few people neither."""
    words = [
        f"{word} {count:,}" if count >= _FEW else f"{word} fewer than {_FEW}"
        for word, count in sorted(every.get("counts", {}).items())
    ]
    if every.get("mean") is not None:
        numbers = [f"mean {quantity(every['mean'], 3)}, standard deviation {quantity(every['std'] or 0.0, 3)}"]
        words = [*(numbers if every["known"] >= _ENOUGH else ()), *words]
    return "; ".join(words) or f"not told of {counted(every['known'], 'person', 'people')}"


def _large(summary: Facts) -> list[Facts]:
    return [group for group in measured(summary).get("groups", ()) if group["metrics"]]


def _group(group: Facts) -> dict[str, Any]:
    return {key: group[key] for key in ("column", "value", "images", "patients", "metrics")}
