"""The page of a nested cross-validation: what tuning gives on patients who chose nothing, beside how it looked."""

from __future__ import annotations

from pathlib import Path

from medloom.files import read_json
from medloom.reports.charts import INK, PALETTE, describe_axes, figure_uri, new_figure
from medloom.reports.facts import Facts
from medloom.reports.html import write_page
from medloom.reports.metrics import value_text, with_interval
from medloom.reports.plain import plain_words

__all__ = ["nested_sentence", "write_nested_report"]

_FAST = ["A fast study: small images and two epochs, to see that everything works. Its figures mean nothing."]


def write_nested_report(folder: Path) -> Path:
    """Write ``nested_report.html`` from ``nested.json``.

    Args:
        folder: The directory of a nested cross-validation.

    Returns:
        The path of the page.
    """
    facts: Facts = read_json(folder / "nested.json")
    labels = [facts["meanings"][name]["label"] for name in facts["headlines"]]
    return write_page(
        folder / "nested_report.html",
        "nested_report.html",
        phantom=facts["phantom"],
        facts=facts,
        plain=plain_words([nested_sentence(facts)], _FAST if facts["fast"] else []),
        pooled=_pooled(facts),
        chart=_chart(facts),
        columns=["Fold", "Settings", "Inside", "Outside", *labels],
        rows=[_row(facts, one) for one in facts["members"]],
    )


def nested_sentence(facts: Facts) -> str:
    """Say how good the winners looked where they were chosen, and how good they are on patients who chose nothing.

    Args:
        facts: As in ``nested.json``.
    """
    inner, outer = facts["inner"], facts["outer"]
    gap = (outer["mean"] - inner["mean"]) * (1 if facts["larger_is_better"] else -1)
    verdict = "worse" if gap < 0 else "no worse"
    spread = "" if outer["deviation"] is None else f" (standard deviation {outer['deviation']:.4f} over the folds)"
    return (
        f"On the patients by whom settings were chosen, {facts['monitor']} was {inner['mean']:.4f} on average; on the "
        f"patients of the outer folds, who chose nothing, it is {outer['mean']:.4f}{spread}: {verdict} by "
        f"{abs(gap):.4f}."
    )


def _pooled(facts: Facts) -> list[list[str]]:
    rows = []
    for name in facts["headlines"]:
        meaning, there = facts["meanings"][name], facts["chosen_on"].get(name, {})
        honest = with_interval(facts["pooled"][name], meaning["unit"])
        rows.append([meaning["label"], honest, with_interval(there, meaning["unit"])])
    return rows


def _row(facts: Facts, member: Facts) -> list[str]:
    settings = ", ".join(f"{key}={text}" for key, text in member["settings"].items())
    cells = (
        with_interval(member["metrics"].get(name, {"value": None}), facts["meanings"][name]["unit"])
        for name in facts["headlines"]
    )
    scores = (value_text(member[key]) for key in ("inner", "outer"))
    return [f"{member['fold'] + 1}", settings, *scores, *cells]


def _chart(facts: Facts) -> str:
    """The score of each winner inside and outside, joined by a line."""
    figure, (axis,) = new_figure(7.0, 1.2 + 0.32 * len(facts["members"]))
    for at, one in enumerate(facts["members"]):
        axis.plot([one["inner"], one["outer"]], [at, at], color=PALETTE[5], linewidth=1.2)
    places = range(len(facts["members"]))
    axis.scatter([one["inner"] for one in facts["members"]], places, color=PALETTE[1], s=30, zorder=3, label="inside")
    axis.scatter([one["outer"] for one in facts["members"]], places, color=PALETTE[0], s=30, zorder=3, label="outside")
    axis.set_yticks(list(places), [str(one["fold"] + 1) for one in facts["members"]], fontsize=8)
    axis.set_ylim(len(facts["members"]) - 0.5, -0.5)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    describe_axes(
        axis, f"{facts['monitor']} ({'larger' if facts['larger_is_better'] else 'smaller'} is better)", "Fold"
    )
    return figure_uri(figure)
