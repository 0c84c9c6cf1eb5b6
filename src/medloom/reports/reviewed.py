"""The page of ``medloom review``: what a deployed model answered beside what its bundle answers here."""

from __future__ import annotations

from pathlib import Path

from medloom.evaluation.text import number
from medloom.files import read_json
from medloom.reports.facts import Facts
from medloom.reports.gallery import gallery_context
from medloom.reports.html import write_page
from medloom.reports.metrics import with_interval
from medloom.reports.plain import plain_words
from medloom.wording import counted

__all__ = ["REVIEWED", "agreement_text", "review_rows", "write_reviewed_page"]

REVIEWED = "review.json"
"""What is known of a review beside the table of its cases."""

_MOST = 50
_SIDES = {"there": "the endpoint", "here": "the bundle here", "both": "both, for the same reason"}


def write_reviewed_page(folder: Path) -> Path:
    """Write ``report.html`` of a review.

    Args:
        folder: Holds ``review.json``, ``summary.json``, ``cases.csv`` and the gallery.

    Returns:
        The path of the page.
    """
    facts = read_json(folder / REVIEWED)
    return write_page(
        folder / "report.html",
        "reviewed.html",
        facts=facts,
        phantom=facts["phantom"],
        plain=plain_words([agreement_text(facts), _latency_text(facts)], facts["warnings"]),
        columns=["Metric", "The endpoint", "The bundle here", "Reported by the run"],
        rows=review_rows(facts),
        worst=[_worst_row(one) for one in facts["agreement"]["worst"]],
        aside=[[one["sample_id"], one["code"], _SIDES[one["side"]]] for one in facts["set_aside"][:_MOST]],
        left=max(len(facts["set_aside"]) - _MOST, 0),
        there=", ".join(digest or "not said" for digest in facts["bundle"]["there"]),
        gallery=gallery_context(folder),
    )


def agreement_text(facts: Facts) -> str:
    """Say in a sentence how many answers are those of the bundle here."""
    found = facts["agreement"]
    asked = counted(facts["images"], f"{facts['part']} image")
    exact, within, beyond = (number(found[name]) for name in ("exact", "within", "beyond"))
    same = f"{exact} exactly the same, {within} within {facts['tolerance']:g}, {beyond} not"
    return f"Of {asked} {number(found['compared'])} were answered there and here: {same}."


def review_rows(facts: Facts) -> list[list[str]]:
    """Return a row for each metric that any of the three has, the headlines first."""
    metrics, meanings = facts["metrics"], facts["meanings"]
    names = [*facts["headlines"], *(name for name in meanings if name not in facts["headlines"])]
    sides = ("there", "here", "reported")
    shown = [name for name in names if any(metrics[side].get(name, {}).get("value") is not None for side in sides)]
    return [
        [
            meanings[name]["label"],
            *(with_interval(metrics[side].get(name, {}), meanings[name]["unit"]) for side in sides),
        ]
        for name in shown
    ]


def _latency_text(facts: Facts) -> str:
    found = facts["latency_ms"]
    return (
        f"Half of the answers took no longer than {number(found['p50'], 0)} ms and 99 of a hundred no longer than "
        f"{number(found['p99'], 0)} ms, as seen from here, with all tries."
    )


def _worst_row(one: Facts) -> list[str]:
    point = "the same" if one["same_point"] else "another one"
    return [one["sample_id"], f"{one['probability']:.2g}", number(one["differing"]), point]
