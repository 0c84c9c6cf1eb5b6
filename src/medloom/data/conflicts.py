"""One picture with two answers: the same bytes under two labels, or beside two masks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from medloom.data.stored import StoredPixels
from medloom.data.truth import Truth
from medloom.wording import counted

__all__ = ["label_conflicts"]

_LISTED = 50
_NAMED = 3
_SAMPLES = 3


def label_conflicts(catalogue: pd.DataFrame, store: StoredPixels, truth: Truth) -> dict[str, Any]:
    """Look for images that are there several times, byte for byte, with answers that contradict each other.

    Args:
        catalogue: With ``sample_id``, ``sha256`` and ``labels``.
        store: The pixels of these samples.
        truth: What the answers are.

    Returns:
        JSON facts: ``count`` of such images, up to 50 ``listed`` with the ``samples`` of each by pseudonym, and
        ``warnings``, one sentence at most.
    """
    repeated = catalogue[catalogue["sha256"].duplicated(keep=False) & (catalogue["sha256"] != "")]
    if repeated.empty:
        return {"count": 0, "listed": [], "warnings": []}
    answered = repeated.assign(answer=truth.answers(repeated, store))
    groups = [group for _, group in answered.groupby("sha256", sort=False) if group["answer"].nunique() > 1]
    listed = [{"samples": group["sample_id"].tolist()} for group in groups]
    return {"count": len(groups), "listed": listed[:_LISTED], "warnings": _warnings(listed)}


def _warnings(conflicts: list[dict[str, list[str]]]) -> list[str]:
    if not conflicts:
        return []
    several = counted(len(conflicts), "image is", "images are")
    samples = sum(len(conflict["samples"]) for conflict in conflicts)
    named = "; ".join(_together(conflict["samples"]) for conflict in conflicts[:_NAMED])
    return [
        f"Label conflict: {several} there more than once, byte for byte, with different answers "
        f"({samples} samples), such as {named}. At most one answer can be right."
    ]


def _together(samples: list[str]) -> str:
    more = len(samples) - _SAMPLES
    return " and ".join(samples[:_SAMPLES]) + (f" and {more} more" if more > 0 else "")
