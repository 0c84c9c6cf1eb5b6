"""The page of a learning curve: each headline metric over the number of training patients."""

from __future__ import annotations

from pathlib import Path

from medloom.files import read_json
from medloom.reports.charts import GUIDE, INK, PALETTE, describe_axes, new_panels, panel_uris
from medloom.reports.facts import Facts
from medloom.reports.html import write_page
from medloom.reports.metrics import value_text, with_interval
from medloom.reports.plain import plain_words

__all__ = ["CURVE_FACTS", "write_learning_curve_report"]

CURVE_FACTS = "learning_curve.json"
"""What the trainings gave, in the folder of a learning curve."""


def write_learning_curve_report(folder: Path) -> Path:
    """Write ``learning_curve.html``.

    Args:
        folder: Holds ``learning_curve.json``.

    Returns:
        The path of the page.
    """
    facts: Facts = read_json(folder / CURVE_FACTS)
    return write_page(
        folder / "learning_curve.html",
        "learning_curve.html",
        phantom=facts["phantom"],
        facts=facts,
        plain=plain_words([one["text"] for one in facts["metrics"].values()], _notes(facts)),
        charts=_charts(facts) if facts["metrics"] else [],
        columns=["Share", "Patients", "Images", *(facts["meanings"][name]["label"] for name in facts["metrics"])],
        rows=_rows(facts),
        laws=_laws(facts),
    )


def _notes(facts: Facts) -> list[str]:
    """What a reader must know before believing the curve."""
    notes = []
    if facts["repeats"] == 1:
        notes.append(
            "Each share was trained once, so how much a training varies by chance is not in the intervals, which are "
            "too narrow for that: --repeats 3 trains each share three times."
        )
    if not facts["same_steps"]:
        notes.append(
            "Every training had as many epochs as the recipe says, so a smaller share took fewer steps: the curve says "
            "what this recipe gives with more patients, not what the patients alone do; --same-steps trains all for as "
            "many steps."
        )
    if facts["part"] == "validation":
        notes.append("Measured on the validation patients, who also picked each best epoch: every point is too good.")
    notes += [f"Left out: {facts['withheld'][name]}" for name in facts["withheld"]]
    if not facts["metrics"]:
        notes.append("No headline metric can be shown of so few cases.")
    return notes


def _rows(facts: Facts) -> list[list[str]]:
    return [
        [
            f"{size['share']:g}",
            "not known" if size["patients"] is None else f"{size['patients']:,.0f}",
            f"{size['samples']:,.0f}",
            *(_cell(facts, name, at) for name in facts["metrics"]),
        ]
        for at, size in enumerate(facts["sizes"])
    ]


def _cell(facts: Facts, name: str, at: int) -> str:
    """A metric with its interval, and how far apart several trainings are."""
    point, unit = facts["metrics"][name]["points"][at], facts["meanings"][name]["unit"]
    apart = point["spread"]
    beside = f"; {value_text(apart['min'], unit)} to {value_text(apart['max'], unit)}" if apart["n"] > 1 else ""
    return f"{with_interval(point, unit)}{beside}"


def _laws(facts: Facts) -> list[list[str]]:
    return [
        [
            facts["meanings"][name]["label"],
            f"{one['fit']['limit']:.4g}",
            f"{one['fit']['amount']:+.4g}",
            f"{one['fit']['rate']:.3g}",
            f"{one['fit']['error']:.2g}",
            with_interval(one["doubled"], facts["meanings"][name]["unit"]),
        ]
        for name, one in facts["metrics"].items()
        if one["fit"] is not None
    ]


def _charts(facts: Facts) -> list[str]:
    """A panel for each headline: points with their intervals, every training, and the law as far as it is followed."""
    figure, axes = new_panels(len(facts["metrics"]), 9.0, 3.1)
    for axis, (name, one) in zip(axes, facts["metrics"].items(), strict=True):
        if one["curve"] is not None:
            curve = one["curve"]
            axis.plot(curve["sizes"], curve["value"], color=PALETTE[1], linewidth=1.6, label="power law")
            if curve["low"] is not None:
                axis.fill_between(
                    curve["sizes"], curve["low"], curve["high"], color=PALETTE[1], alpha=0.18, linewidth=0
                )
            axis.axvline(one["points"][-1]["size"], **GUIDE)
        for at, point in enumerate(one["points"]):
            label = "trainings" if at == 0 else None
            if point["low"] is not None:
                axis.plot([point["size"]] * 2, [point["low"], point["high"]], color=PALETTE[0], linewidth=2)
            if len(point["values"]) > 1:
                axis.scatter([point["size"]] * len(point["values"]), point["values"], color=PALETTE[5], s=10, zorder=3)
            axis.scatter([point["size"]], [point["value"]], color=PALETTE[0], s=28, zorder=4, label=label)
        axis.set_xlim(left=0)
        axis.legend(frameon=False, fontsize=8, labelcolor=INK)
        describe_axes(axis, f"Training {facts['counted']}", "", facts["meanings"][name]["label"])
    return panel_uris(figure)
