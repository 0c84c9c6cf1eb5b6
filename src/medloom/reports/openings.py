"""How often the test set of a run was opened, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.reports.facts import read_facts

__all__ = ["TEST_OPENINGS", "openings_sentence"]

TEST_OPENINGS = "test_openings.json"
"""One entry each time the test set was opened; of folds a list of them for each fold."""

_OPENED_BY = ("checkpoint", "runtime", "precision", "evaluate")
_EARLIER = {"precision": "fp32"}
"""Of openings by a version that knew no other."""

_TWICE = 2


def openings_sentence(run_dir: Path) -> str:
    """Say how often the test set was opened, and whether always by the same model; empty if it never was.

    Args:
        run_dir: The run directory.
    """
    facts = read_facts(run_dir / TEST_OPENINGS)
    if "folds" in facts:
        return _of_folds(facts["folds"])
    openings = facts.get("openings", [])
    if not openings:
        return ""
    if facts.get("seeds") and len(openings) == facts["seeds"]:
        return f"The test set was opened once by each of {facts['seeds']} seeds; none was chosen by it."
    return f"The test set was opened {_times(len(openings))}{_by_whom(openings)}."


def _of_folds(folds: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    most = max(folds, key=lambda openings: (_models(openings), len(openings)))
    count = max(map(len, folds))
    often = _times(count) if all(len(one) == count for one in folds) else f"up to {_times(count)}"
    return f"The test part of each fold was opened {often}{_by_whom(most)}."


def _times(count: int) -> str:
    return {1: "once", _TWICE: "twice"}.get(count, f"{count} times")


def _by_whom(openings: Sequence[Mapping[str, Any]]) -> str:
    """Nothing was chosen by the metrics of one model; where there were several, something may have been."""
    if len(openings) == 1:
        return ""
    models = _models(openings)
    if models == 1:
        return ", always by the same model with the same settings, so nothing was chosen by its metrics"
    return (
        f", by {models} different models or settings: if one of them was chosen by its test metrics, these are a "
        "little too good"
    )


def _models(openings: Sequence[Mapping[str, Any]]) -> int:
    return len(
        {json.dumps([one.get(key, _EARLIER.get(key)) for key in _OPENED_BY], sort_keys=True) for one in openings}
    )
