"""Train, validation and test as a table: their patients and samples, and what the truth beside them is."""

from __future__ import annotations

from collections.abc import Mapping

from medloom.evaluation.text import number
from medloom.reports.facts import Facts
from medloom.reports.html import percent
from medloom.reports.metrics import mean_range
from medloom.wording import counted

__all__ = ["part_table", "patients_cell"]


def part_table(counts: Mapping[str, Facts], *head: str) -> Facts:
    """Return ``head`` and ``rows``: a row for each part.

    Args:
        counts: By part, as ``prepare.json`` has them: ``patients``, ``samples`` and what is known of the truth.
        head: What the first three columns are called.
    """
    further, cells = _truth(counts)
    rows = [
        [part, patients_cell(one), number(one["samples"]), *more]
        for (part, one), more in zip(counts.items(), cells, strict=True)
    ]
    return {"head": [*head, *further], "rows": rows}


def patients_cell(counts: Facts) -> str:
    """Return how many patients a part has, and how many samples of nobody known; in words where nobody is."""
    if counts["patients"] is None:
        return "not known"
    without = counts.get("without_patient")
    return f"{number(counts['patients'])}, and {counted(without, 'image')}" if without else number(counts["patients"])


def _truth(counts: Mapping[str, Facts]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells: samples with each class, the mean and range of each number, or samples with foreground."""
    parts = list(counts.values())
    if any(one.get("classes") for one in parts):
        names = list(dict.fromkeys(name for one in parts for name in one.get("classes", {})))
        return names, [[_with_class(one, name) for name in names] for one in parts]
    if all(one.get("targets") for one in parts):
        names = [f"{name}: mean (range)" for name in parts[0]["targets"]]
        return names, [[mean_range(facts) for facts in one["targets"].values()] for one in parts]
    if all("foreground_samples" in one for one in parts):
        cells = [[number(one["foreground_samples"]), percent(one["foreground_share"])] for one in parts]
        return ["With foreground", "Share"], cells
    return [], [[] for _ in parts]


def _with_class(part: Facts, name: str) -> str:
    """How many samples have a class, and of how many that is not known."""
    unknown = part.get("unknown", {}).get(name, 0)
    return number(part.get("classes", {}).get(name, 0)) + (f" ({number(unknown)} unknown)" if unknown else "")
