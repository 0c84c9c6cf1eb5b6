"""Several seeds in the run report: how far apart their metrics are, and which of them is packaged."""

from __future__ import annotations

from medloom.evaluation.seeds import seeds_note
from medloom.evaluation.text import number
from medloom.reports.charts import GUIDE, PALETTE, describe_axes, new_panels, panel_uris
from medloom.reports.facts import Facts
from medloom.reports.metrics import value_text, with_interval

__all__ = ["seed_words", "seeds_context"]


def seeds_context(summary: Facts) -> Facts:
    """Return what the template ``seeds.html`` shows; nothing for one training.

    Args:
        summary: As in ``summary.json``.
    """
    facts = summary.get("seeds")
    if not facts:
        return {}
    names = [name for name in summary["headlines"] if name in facts["spread"]]
    return {
        "text": seeds_note(summary),
        "spread": [_spread_row(summary, name) for name in names],
        "head": ["Seed", f"{facts['monitor']} on validation", *(summary["meanings"][name]["label"] for name in names)],
        "rows": [_member_row(summary, one, names) for one in facts["members"]],
        "charts": _charts(summary, names),
    }


def seed_words(summary: Facts) -> list[str]:
    """Return a sentence on how much chance there is in a training; none where there was one training.

    Args:
        summary: As in ``summary.json``.
    """
    facts = summary.get("seeds")
    if not facts:
        return []
    names = [name for name in summary["headlines"] if name in facts["spread"]]
    if not names:
        return []
    one, meaning = facts["spread"][names[0]], summary["meanings"][names[0]]
    mean, low, high = (value_text(one[key], meaning["unit"]) for key in ("mean", "min", "max"))
    return [
        f"Trained {one['n']} times with nothing changed but the seed, {meaning['label']} was {low} to {high}, {mean} "
        "on average: that is chance of the training, and no part of the interval in brackets."
    ]


def _spread_row(summary: Facts, name: str) -> list[str]:
    one, meaning = summary["seeds"]["spread"][name], summary["meanings"][name]
    mean, deviation, low, high = (value_text(one[key], meaning["unit"]) for key in ("mean", "deviation", "min", "max"))
    return [
        meaning["label"],
        with_interval(_chosen(summary)[name], meaning["unit"]),
        mean,
        deviation,
        f"{low} to {high}",
    ]


def _member_row(summary: Facts, member: Facts, names: list[str]) -> list[str]:
    packaged = " (packaged)" if member["seed"] == summary["seeds"]["chosen"] else ""
    cells = (with_interval(member["metrics"][name], summary["meanings"][name]["unit"]) for name in names)
    return [f"{member['seed']}{packaged}", number(member["best_metric"], 4), *cells]


def _chosen(summary: Facts) -> Facts:
    """The metrics of the seed that is packaged."""
    facts = summary["seeds"]
    found: Facts = next(one["metrics"] for one in facts["members"] if one["seed"] == facts["chosen"])
    return found


def _charts(summary: Facts, names: list[str]) -> list[str]:
    """Each headline of each seed with its interval, the mean over the seeds as a line."""
    if not names:
        return []
    facts, members = summary["seeds"], summary["seeds"]["members"]
    figure, axes = new_panels(len(names), 9.0, 1.0 + 0.3 * len(members))
    labels = [str(one["seed"]) for one in members]
    for axis, name in zip(axes, names, strict=True):
        axis.axvline(facts["spread"][name]["mean"], **GUIDE)
        for at, one in enumerate(members):
            metric, colour = one["metrics"][name], PALETTE[1 if one["seed"] == facts["chosen"] else 0]
            if metric.get("low") is not None:
                axis.plot([metric["low"], metric["high"]], [at, at], color=colour, linewidth=2)
            axis.scatter([metric["value"]], [at], color=colour, s=28, zorder=3)
        axis.set_yticks(range(len(members)), labels, fontsize=8)
        axis.set_ylim(len(members) - 0.5, -0.5)
        axis.locator_params(axis="x", nbins=5)
        describe_axes(axis, summary["meanings"][name]["label"], "Seed")
    return panel_uris(figure)
