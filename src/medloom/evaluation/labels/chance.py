"""Whether a metric is better than an answer that never looks at the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from medloom.evaluation.labels.sampling import METRICS
from medloom.evaluation.text import number

__all__ = ["chance_notes"]


def chance_notes(metrics: Mapping[str, Any], constant: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return a sentence for each metric whose 95 % interval does not lie above what chance gets.

    Args:
        metrics: Estimates by name.
        constant: Those of the constant answer on the same cases.
        names: Which are looked at; those of which chance says nothing are passed over.

    Example:
        >>> chance_notes({"roc_auc": {"low": 0.42, "high": 0.71}}, {"roc_auc": {"value": 0.5}}, ["roc_auc"])
        ['ROC AUC may be chance: its interval, 0.420 to 0.710, includes 0.500, what an answer without the image gets.']
    """
    found = []
    for name in names:
        metric, chance = metrics.get(name, {}), METRICS[name].chance
        least = constant.get(name, {}).get("value") if chance == "constant" else chance
        low, high = metric.get("low"), metric.get("high")
        if least is None or low is None or low > least:
            continue
        interval, gets = (
            f"{number(low)} to {number(high)}",
            f"{number(float(least))}, what an answer without the image gets",
        )
        if high < least:
            found.append(f"{METRICS[name].label} is worse than chance: its interval, {interval}, lies below {gets}.")
        else:
            found.append(f"{METRICS[name].label} may be chance: its interval, {interval}, includes {gets}.")
    return found
