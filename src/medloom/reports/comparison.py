"""The page of a comparison: models beside each other on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom.files import read_json
from medloom.reports.charts import GUIDE, INK, PALETTE, describe_axes, figure_uri, new_figure, new_panels, panel_uris
from medloom.reports.facts import Facts
from medloom.reports.html import write_page
from medloom.reports.metrics import value_text, with_interval
from medloom.reports.plain import plain_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COMPARISON", "signed_text", "write_comparison_report"]

COMPARISON = "comparison.json"
"""What was compared, in the folder of a comparison."""

_CLEAR = 0.05
_DASHES = ("-", "--", "-.", ":")


def write_comparison_report(folder: Path) -> Path:
    """Write ``comparison.html``.

    Args:
        folder: Holds ``comparison.json``.

    Returns:
        The path of the page.
    """
    facts: Facts = read_json(folder / COMPARISON)
    return write_page(
        folder / "comparison.html",
        "comparison.html",
        phantom=facts["phantom"],
        against=facts["against"],
        part=facts["part"],
        counts=facts["counts"],
        interval=facts["interval"],
        plain=plain_words(_verdicts(facts), facts["notes"]),
        headlines={"head": ["Run", *_labels(facts)], "rows": _headline_rows(facts)},
        differences=_difference_rows(facts),
        areas=_area_rows(facts),
        forest=_forest(facts),
        curves=_curves(facts["curves"]),
        everything={"head": ["Metric", *facts["models"]], "rows": _all_rows(facts)},
        points=list(facts["points"].items()),
        recipes={
            "head": ["Key", *facts["models"]],
            "rows": [
                [key, *(str(values[name]) for name in facts["models"])] for key, values in facts["recipes"].items()
            ],
        },
    )


def signed_text(metric: Mapping[str, float | None], unit: str) -> str:
    """Return a difference with its sign and interval, such as ``+0.081 (+0.020 to +0.140)``.

    Args:
        metric: ``value``, ``low`` and ``high``.
        unit: Unit of the metric.
    """
    texts = [_plus(metric[key], unit) for key in ("value", "low", "high") if metric.get(key) is not None]
    return "–" if not texts else texts[0] if len(texts) < 3 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _plus(value: float | None, unit: str) -> str:
    return f"{'+' * ((value or 0) > 0)}{value_text(value, unit)}"


def _labels(facts: Facts) -> list[str]:
    return [facts["meanings"][name]["label"] for name in facts["headlines"]]


def _verdicts(facts: Facts) -> list[str]:
    """A sentence for each run: in what it is better and worse than the one it is compared with, beyond chance."""
    sentences = []
    for run, found in facts["differences"].items():
        clear = [name for name in facts["headlines"] if (found.get(name, {}).get("p_corrected") or 1.0) < _CLEAR]
        better = [
            name for name in clear if (found[name]["value"] > 0) == (facts["meanings"][name]["better"] == "higher")
        ]
        worse = [name for name in clear if name not in better]
        parts = [
            f"{word} in {', '.join(_with_difference(facts, found, name) for name in names)}"
            for word, names in (("better", better), ("worse", worse))
            if names
        ]
        what = " and ".join(parts) or "no difference in any headline metric that these cases can tell from chance"
        sentences.append(f"{run}: {what}.")
    return sentences


def _with_difference(facts: Facts, found: Facts, name: str) -> str:
    meaning = facts["meanings"][name]
    return f"{meaning['label']} by {signed_text(found[name], meaning['unit'])}"


def _headline_rows(facts: Facts) -> list[list[str]]:
    return [
        [
            f"{run} (compared with)" if run == facts["against"] else run,
            *(_cell(one["metrics"].get(name), facts["meanings"][name]["unit"]) for name in facts["headlines"]),
        ]
        for run, one in facts["models"].items()
    ]


def _cell(metric: Facts | None, unit: str) -> str:
    return "–" if metric is None else with_interval(metric, unit)


def _difference_rows(facts: Facts) -> list[list[str]]:
    return [
        [
            run,
            facts["meanings"][name]["label"],
            signed_text(found[name], facts["meanings"][name]["unit"]),
            _p_text(found[name]["p"]),
            _p_text(found[name].get("p_corrected")),
        ]
        for run, found in facts["differences"].items()
        for name in facts["headlines"]
        if name in found
    ]


def _area_rows(facts: Facts) -> list[list[str]]:
    return [[run, signed_text(one, "share"), _p_text(one["p"])] for run, one in facts["areas"].items()]


def _p_text(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _all_rows(facts: Facts) -> list[list[str]]:
    return [
        [meaning["label"], *(_cell(one["metrics"].get(name), meaning["unit"]) for one in facts["models"].values())]
        for name, meaning in facts["meanings"].items()
        if any(name in one["metrics"] for one in facts["models"].values())
    ]


def _forest(facts: Facts) -> list[str]:
    """The differences of the headlines with their intervals, a panel for each metric."""
    shown = [name for name in facts["headlines"] if any(name in one for one in facts["differences"].values())]
    if not shown:
        return []
    runs = list(facts["differences"])
    figure, axes = new_panels(len(shown), 9.0, 1.1 + 0.32 * len(runs))
    for axis, name in zip(axes, shown, strict=True):
        axis.axvline(0, **GUIDE)
        for at, run in enumerate(runs):
            _interval(axis, at, facts["differences"][run].get(name))
        axis.set_yticks(range(len(runs)), runs, fontsize=8)
        axis.set_ylim(len(runs) - 0.5, -0.5)
        axis.locator_params(axis="x", nbins=5)
        better = facts["meanings"][name]["better"]
        describe_axes(
            axis, f"difference from {facts['against']} ({better} is better)", "", facts["meanings"][name]["label"]
        )
    return panel_uris(figure)


def _interval(axis: Axes, at: int, found: Facts | None) -> None:
    if found is None or found["low"] is None:
        return
    axis.plot([found["low"], found["high"]], [at, at], color=PALETTE[0], linewidth=2)
    axis.scatter([found["value"]], [at], color=PALETTE[0], s=28, zorder=3)


def _curves(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The ROC curves together; nothing where there is no single question."""
    if not curves:
        return ""
    figure, (axis,) = new_figure(5.6, 5.0)
    axis.plot([0, 1], [0, 1], **GUIDE)
    for at, (name, curve) in enumerate(curves.items()):
        drawn: dict[str, Any] = {
            "color": PALETTE[at % len(PALETTE)],
            "linestyle": _DASHES[at // len(PALETTE) % len(_DASHES)],
        }
        axis.plot(curve["false_positive_rate"], curve["sensitivity"], label=name, linewidth=1.6, **drawn)
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.01)
    describe_axes(axis, "False positive rate (1 − specificity)", "Sensitivity", "ROC curves")
    axis.legend(frameon=False, fontsize=8, loc="lower right", labelcolor=INK)
    return figure_uri(figure)
