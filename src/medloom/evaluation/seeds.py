"""How much metrics vary when nothing but the seed of the training does, and which of the networks is taken.

That is another thing than the interval of a metric: the interval says how it would vary over other patients, for this
one network.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from medloom.evaluation.parts import measured
from medloom.registry import METRICS
from medloom.wording import counted, metric_text

__all__ = ["best_seed", "seed_facts", "seeds_note", "spread", "spread_rows"]

Facts = Mapping[str, Any]


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return how far apart values of several trainings are.

    Args:
        values: At least one.

    Returns:
        ``mean``, ``deviation`` (of the sample, with n - 1; None of one value), ``min``, ``max`` and ``n``.

    Example:
        >>> spread([0.8, 0.9, 0.7])["deviation"]
        0.1
    """
    deviation = round(statistics.stdev(values), 12) if len(values) > 1 else None
    return {
        "mean": statistics.fmean(values),
        "deviation": deviation,
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }


def best_seed(trained: Mapping[int, Facts]) -> int:
    """Return the seed whose best epoch is the best by the monitored metric on validation; of equal ones the first.

    Args:
        trained: ``training.json`` of each seed.
    """
    monitor = next(iter(trained.values()))["monitor"]
    sign = 1 if METRICS[monitor].larger_is_better else -1
    known = {seed: sign * one["best_metric"] for seed, one in trained.items() if one["best_metric"] is not None}
    return max(known, key=lambda seed: known[seed])


def seed_facts(summaries: Mapping[int, Facts], trained: Mapping[int, Facts]) -> dict[str, Any]:
    """Return what trainings with several seeds say together.

    Args:
        summaries: ``summary.json`` of each seed, all of one part.
        trained: ``training.json`` of each seed.

    Returns:
        ``chosen`` (the seed that is packaged), ``monitor``, ``members`` (by seed: ``best_metric`` on validation,
        ``metrics`` and ``operating_point``) and ``spread`` of each metric that every seed has.
    """
    chosen, found = best_seed(trained), {seed: measured(one)["metrics"] for seed, one in summaries.items()}
    values = {
        name: [metrics.get(name, {}).get("value") for metrics in found.values()] for name in next(iter(found.values()))
    }
    return {
        "chosen": chosen,
        "monitor": trained[chosen]["monitor"],
        "members": [
            {
                "seed": seed,
                "best_metric": trained[seed]["best_metric"],
                "metrics": metrics,
                "operating_point": summaries[seed]["operating_point"],
            }
            for seed, metrics in found.items()
        ],
        "spread": {name: spread(known) for name, known in values.items() if None not in known},
    }


def seeds_note(summary: Facts) -> str:
    """Say which of several seeds the metrics and the bundle are of, and how it was chosen; empty for one training."""
    facts = summary.get("seeds")
    if not facts:
        return ""
    others = [one["best_metric"] for one in facts["members"] if one["seed"] != facts["chosen"]]
    own = next(one["best_metric"] for one in facts["members"] if one["seed"] == facts["chosen"])
    known = [value for value in others if value is not None]
    beside = f"; the others have {min(known):.4f} to {max(known):.4f}" if known else ""
    beside += ", and of equal ones the first is taken" if own in known else ""
    return (
        f"Of {counted(len(facts['members']), 'training')} that differ in their seed alone, the one with seed "
        f"{facts['chosen']} is packaged: its {facts['monitor']} on the validation patients is the best "
        f"({own:.4f}{beside}). No metric on test took part in that choice."
    )


def spread_rows(summary: Facts) -> list[tuple[str, ...]]:
    """Return the spread of the headlines over the seeds, as rows for a terminal; nothing for one training.

    Args:
        summary: As in ``summary.json``.
    """
    facts = summary.get("seeds")
    if not facts:
        return []
    rows: list[tuple[str, ...]] = [("over the seeds", "mean", "standard deviation", "range")]
    for name in (name for name in summary["headlines"] if name in facts["spread"]):
        one, meaning = facts["spread"][name], summary["meanings"][name]
        mean, deviation, low, high = (
            metric_text({"value": one[key]}, meaning["unit"]) for key in ("mean", "deviation", "min", "max")
        )
        rows.append((meaning["label"], mean, deviation, f"{low} to {high}"))
    return rows
