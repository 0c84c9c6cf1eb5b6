"""What a metric is called and what it says, and how intervals were taken: alike for whatever was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Metric", "interval_facts", "meanings", "worse_by"]


@dataclass(frozen=True)
class Metric:
    """A metric: what it is called and what it says in one line.

    Args:
        label: Short name for people.
        meaning: One sentence.
        unit: ``share`` (0 to 1), ``px``, ``mm``, ``count``, ``nats``, or ``value`` for the unit of what is predicted.
        better: ``higher`` or ``lower``.
        chance: What an answer that never looks at the image gets: a number, or ``constant`` for what the constant
            answer gets on the same cases; None where that says nothing, as of sensitivity.
        centred: Whether resampling alone makes it larger, so that the resamples are moved until their median is the
            value on all cases.
    """

    label: str
    meaning: str
    unit: str = "share"
    better: str = "higher"
    chance: float | Literal["constant"] | None = None
    centred: bool = False


def meanings(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Return what metrics mean, by name, as plain JSON types."""
    return {name: asdict(metric) for name, metric in metrics.items()}


def interval_facts(resamples: int, over: str = "patients") -> dict[str, Any]:
    """Return how the intervals were taken, as plain JSON types.

    Args:
        resamples: How often was drawn.
        over: What was drawn: ``patients``, or ``images`` where it is not known which images are of one patient.
    """
    return {"level": 0.95, "resamples": resamples, "over": over, "method": "percentile"}


def worse_by(difference: float, whole: float, meaning: Mapping[str, Any]) -> float:
    """Return how much worse a metric is; of numbers with a unit, as a share.

    Args:
        difference: Its value minus that of what it is compared with.
        whole: That of what it is compared with.
        meaning: Its ``unit``, and which values are ``better``.

    Example:
        >>> worse_by(-0.01, 0.8, {"unit": "share", "better": "higher"})
        0.01
    """
    unit = abs(whole) or 1.0 if meaning["unit"] == "value" else 1.0
    return (difference if meaning["better"] == "lower" else -difference) / unit
