"""The cheap models of a per-case table beside the network."""

from __future__ import annotations

import pandas as pd

from medloom.evaluation.family import Facts
from medloom.evaluation.labels.cheap import TITLES
from medloom.evaluation.labels.measured import Measured
from medloom.evaluation.labels.sampling import METRICS, Sampler
from medloom.evaluation.tables import BASELINE_PREFIX
from medloom.evaluation.text import number, quantity

__all__ = ["baseline_facts", "baseline_names", "baseline_notes", "of"]


def of(name: str, column: str) -> str:
    """Return the column in which a cheap model has what the network has in ``column``."""
    return f"{BASELINE_PREFIX}{name}_{column}"


def baseline_names(cases: pd.DataFrame) -> list[str]:
    """Return the cheap models that a per-case table has scores of."""
    return [name for name in TITLES if any(str(column).startswith(of(name, "score")) for column in cases.columns)]


def baseline_facts(cases: pd.DataFrame, labels: Measured, sampler: Sampler) -> dict[str, Facts]:
    """Return the metrics of each cheap model, and how far the network is ahead of it.

    Args:
        cases: The per-case table of one split.
        labels: What is predicted.
        sampler: Draws the patients, the same for both.

    Returns:
        By name: ``title``, ``answer`` (empty), ``metrics``, and ``ahead``: for each headline the metric of the network
        minus that of the cheap model, with its interval over the same resamples.
    """
    found = {}
    for name in baseline_names(cases):
        columns = [*labels.score_columns, *labels.decision_columns]
        other = cases.assign(**{column: cases[of(name, column)] for column in columns})
        ours, theirs = labels.statistics(cases), labels.statistics(other)
        found[name] = {
            "title": TITLES[name],
            "answer": "",
            "metrics": sampler.metrics(theirs, labels.basis(other)),
            "ahead": sampler.differences(ours, theirs, labels.headlines),
        }
    return found


def baseline_notes(metrics: Facts, found: dict[str, Facts], headline: str) -> list[str]:
    """Return a sentence for each cheap model that the network is not clearly better than.

    Args:
        metrics: Of the network.
        found: As from `baseline_facts`.
        headline: By which they are compared.
    """
    sentences = []
    for one in found.values():
        ahead, ours, theirs = one["ahead"].get(headline, {}), metrics.get(headline), one["metrics"].get(headline, {})
        if ahead.get("low") is None or ours is None or None in (ours["value"], theirs["value"]):
            continue
        lower = METRICS[headline].better == "lower"
        if (ahead["high"] < 0) if lower else (ahead["low"] > 0):
            continue
        sentences.append(
            f"The network is not clearly better than a cheap model: {METRICS[headline].label} {_text(ours, headline)}, "
            f"{one['title'][0].lower()}{one['title'][1:]} {_text(theirs, headline)}; the difference is "
            f"{_signed(ahead['value'], headline)} ({_signed(ahead['low'], headline)} to "
            f"{_signed(ahead['high'], headline)})."
        )
    return sentences


def _text(metric: Facts, name: str) -> str:
    value: float = metric["value"]
    return quantity(value) if METRICS[name].unit == "value" else number(value)


def _signed(value: float, name: str) -> str:
    return quantity(value, sign=True) if METRICS[name].unit == "value" else f"{value:+.3f}"
