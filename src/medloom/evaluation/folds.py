"""What several folds together say of the operating point: their rule and their notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["notes_of_folds", "rule_of_folds"]


def rule_of_folds(summaries: Sequence[Mapping[str, Any]], bundled: str) -> str:
    """Return the rule of every fold, and where their points differ, what the bundle has.

    Args:
        summaries: The summary of each fold.
        bundled: What the bundle has, such as ``their mean``.
    """
    rule, points = str(summaries[0]["rule"]), [one["operating_point"] for one in summaries]
    differ = any(point != points[0] for point in points)
    return f"{rule}; each fold has its own, the bundle {bundled}" if differ else rule


def notes_of_folds(notes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the notes of all folds, each once, with the folds that it is of.

    Example:
        >>> notes_of_folds([["few cases"], [], ["few cases"]])
        ('Folds 1 and 3: few cases',)
    """
    where: dict[str, list[str]] = {}
    for number, found in enumerate(notes, start=1):
        for note in found:
            where.setdefault(note, []).append(str(number))
    return tuple(f"{_named(numbers, len(notes))}: {note}" for note, numbers in where.items())


def _named(numbers: list[str], count: int) -> str:
    if len(numbers) == count:
        return "Every fold"
    return f"Fold {numbers[0]}" if len(numbers) == 1 else f"Folds {', '.join(numbers[:-1])} and {numbers[-1]}"
