"""The page of explanations, and what the run report says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medloom.evaluation.text import number
from medloom.explanation import read_explanation
from medloom.reports.facts import Facts
from medloom.reports.html import data_uri, write_page

__all__ = ["explanation_context", "write_explanation_page"]

PAGE = "explanation.html"
_HEAD = ["Random", "Rank correlation", "Structural similarity"]


def write_explanation_page(folder: Path, *, phantom: bool) -> Path:
    """Write ``explanation.html`` from the facts and pictures that ``medloom explain`` left in a folder.

    Args:
        folder: Holds ``explanation.json``.
        phantom: Whether the model learned from made-up images.

    Returns:
        The path of the page.
    """
    context = explanation_context(folder)
    errors = [[one["image"], one["error"]] for one in read_explanation(folder)["images"] if one["error"]]
    return write_page(folder / PAGE, "explanation_page.html", phantom=phantom, explained=context, errors=errors)


def explanation_context(folder: Path, most: int | None = None) -> Facts:
    """Return what the templates show of explanations; nothing where there are none.

    Args:
        folder: Holds ``explanation.json``, perhaps.
        most: Most images that are shown, in a report in which images are called by pseudonyms alone; None for all, as
            they are called.
    """
    facts = read_explanation(folder)
    if not facts or (most is not None and not facts["pseudonyms"]):
        return {}
    shown = [one for one in facts["images"] if not one["error"]]
    return {
        "at": "" if most is None else f"{folder.name}/",
        "method": facts["method"],
        "says": facts["says"],
        "check": _check(facts["check"]),
        "metadata": _mean_sizes(facts["metadata"]),
        "images": [_image(folder, one) for one in shown[:most]],
        "more": max(0, len(shown) - most) if most is not None else 0,
    }


def _check(found: Facts) -> Facts:
    if not found:
        return {}
    rows = [[one["random"], number(one["rank_correlation"], 2), number(one["ssim"], 2)] for one in found["stages"]]
    return {"text": found["text"], "failed": found["passes"] is False, "head": _HEAD, "rows": rows}


def _mean_sizes(found: Facts) -> Facts:
    if not found:
        return {}
    ordered = sorted(found["mean_size"].items(), key=lambda pair: -pair[1])
    rows = [[column, number(value, 3)] for column, value in ordered]
    return {"head": ["Column", "Mean size of its contribution"], "rows": rows, "images": found["images"]}


def _image(folder: Path, one: Facts) -> dict[str, Any]:
    return {
        "name": one["image"],
        "about": one["about"],
        "found": one["found"],
        "value": number(one["value"]),
        "uri": data_uri(folder / one["shown"]),
        "map": data_uri(folder / one["picture"]),
        "metadata": _contributions(one["metadata"]) if "metadata" in one else {},
    }


def _contributions(found: Facts) -> Facts:
    rows: Sequence[list[str]] = [[column, f"{value:+.3f}"] for column, value in found["columns"].items()]
    ends = [["None of them told", f"{found['without']:+.3f}"], *rows, ["All of them told", f"{found['told']:+.3f}"]]
    return {"rows": ends, "exact": found["exact"]}
