"""What every measurement writes alike, whatever was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.files import write_text

__all__ = ["Figure", "interval_facts", "meanings", "write_table"]


@dataclass(frozen=True)
class Figure:
    """A figure: what it is called and what it says in one line.

    Args:
        label: Short name for people.
        meaning: One sentence.
        unit: ``share`` (0 to 1), ``px``, ``mm`` or ``count``.
        better: ``higher`` or ``lower``.
    """

    label: str
    meaning: str
    unit: str = "share"
    better: str = "higher"


def meanings(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Return what figures mean, by name, as plain JSON types."""
    return {name: asdict(figure) for name, figure in figures.items()}


def interval_facts(resamples: int, over: str = "patients") -> dict[str, Any]:
    """Return how the intervals were taken, as plain JSON types.

    Args:
        resamples: How often was drawn.
        over: What was drawn: ``patients``, or ``images`` where nobody said which images are of one patient.
    """
    return {"level": 0.95, "resamples": resamples, "over": over, "method": "percentile"}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, atomically."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
