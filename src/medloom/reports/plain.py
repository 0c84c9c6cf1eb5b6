"""What stands on top of a page: what it says in plain words, and what speaks against relying on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medloom.evaluation.parts import NOT_VALIDATED
from medloom.reports.facts import FEW_PATIENTS, Facts
from medloom.reports.html import percent
from medloom.reports.metrics import NO_BREAK
from medloom.wording import counted

__all__ = ["few_chosen", "not_validated", "plain_words", "share_text"]


def plain_words(says: Sequence[str], caveats: Sequence[str]) -> Facts:
    """Return what ``base.html`` shows on top of a page as ``plain``; nothing is said twice.

    Args:
        says: Sentences on what was found, the most important first.
        caveats: Sentences on what a reader must know before relying on it, the gravest first.
    """
    return {"says": list(dict.fromkeys(says)), "caveats": list(dict.fromkeys(caveats))}


def share_text(metric: Mapping[str, Any]) -> str:
    """Return a share with its interval as a percentage.

    Example:
        >>> share_text({"value": 0.941, "low": 0.867, "high": 1.0})
        '94.1\xa0% (86.7 to 100.0\xa0%)'
        >>> share_text({"value": 0.5, "low": None, "high": None})
        '50.0\xa0%'
    """
    text = percent(metric["value"])
    if metric.get("low") is not None:
        text += f" ({100 * metric['low']:.1f} to {percent(metric['high'])})"
    return text.replace(" %", f"{NO_BREAK}%")


def few_chosen(summary: Facts) -> list[str]:
    """Say where the operating point was chosen on so few patients that others would have given another one.

    Args:
        summary: As in ``summary.json``; of folds, each of which chose for itself, nothing is said here.
    """
    patients = summary.get("validation", {}).get("counts", {}).get("patients")
    if not summary.get("operating_point") or patients is None or patients >= FEW_PATIENTS or "folds" in summary:
        return []
    on = counted(patients, "validation patient")
    return [f"The operating point and the best epoch were chosen on {on}: others would have given others."]


def not_validated(summary: Facts) -> list[str]:
    """Say that nobody measured the model on images of another source, where something was measured."""
    return [f"{NOT_VALIDATED} `medloom evaluate BUNDLE --data OTHER` measures it there."] if summary else []
