"""What a review of the least trusted answers finds: the same for every kind of answer."""

from __future__ import annotations

from typing import Any

from medloom.evaluation.parts import measured, part_of
from medloom.evaluation.text import number, sentence_case
from medloom.reports.facts import Facts
from medloom.reports.html import percent
from medloom.reports.metrics import with_interval
from medloom.wording import counted

__all__ = ["review_table"]

_FEW = 10


def review_table(summary: Facts) -> dict[str, Any]:
    """Return ``text``, ``verdict``, ``head`` and ``rows``; only the text where nothing was learned; else nothing.

    Args:
        summary: As in ``summary.json``, of any kind of answer.
    """
    text = summary.get("quality", {}).get("text", "") if summary else ""
    if not text:
        return {}
    found = measured(summary).get("review", {})
    shown: dict[str, Any] = {"text": sentence_case(text), "rows": []}
    if not found:
        return shown
    rows = [
        ["The least trusted answers", with_interval(found["caught"])],
        ["The same number, drawn at random", number(found["random"])],
        ["The best there can be", number(found["best"])],
    ]
    return {
        **shown,
        "head": [f"Review of {percent(found['share'])} of the answers", "Share of the bad cases that it finds"],
        "rows": rows,
        "more": _more(found, part_of(summary)),
        "verdict": _verdict(found),
    }


def _verdict(found: Facts) -> str:
    caught, bad = found["caught"], found["bad"]
    if not bad:
        return "There was no bad case to be found."
    few = f" With {counted(bad, 'bad case')} that says little." if bad < _FEW else ""
    if caught["low"] is None:
        return few.strip()
    if caught["low"] > found["random"]:
        return f"It finds more of the bad cases than chance does.{few}"
    return f"It is not shown to find more of the bad cases than chance does: the interval includes that.{few}"


def _more(found: Facts, part: str) -> str:
    cases, bad = counted(found["cases"], f"{part} case"), number(found["bad"])
    return (
        f"Of {cases}, {bad} are bad: {found['says']}. Expected on average {number(found['expected']['value'])}, "
        f"achieved {number(found['achieved']['value'])}; a good case was trusted more than a bad one with a chance of "
        f"{number(found['roc_auc']['value'])} (0.5 says nothing)."
    )
