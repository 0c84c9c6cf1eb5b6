"""The charts of labels: what separates, what is certain, and where the operating point lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medloom.evaluation.text import number
from medloom.extras import require
from medloom.reports.charts import (
    GUIDE,
    INK,
    PALETTE,
    describe_axes,
    figure_uri,
    new_figure,
    new_panels,
    panel_uris,
    with_gaps,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration_chart", "ranking_chart", "value_chart"]

Facts = Mapping[str, Any]

_DRAWN_MARKS = 2000


def ranking_chart(curves: Facts, prevalence: float, point: tuple[float, float, float] | None) -> list[str]:
    """Draw the ROC curve and precision over recall with their bands.

    Args:
        curves: ``curves`` of a question in ``summary.json``.
        prevalence: Share of positive cases: the precision without skill.
        point: Sensitivity, specificity and precision at the operating point, or None.

    Returns:
        A data URI for each of both.
    """
    figure, (left, right) = new_figure(9.0, 4.2, columns=2)
    roc, ranked = curves["roc"], curves["precision_recall"]
    left.plot([0, 1], [0, 1], **GUIDE)
    _band(left, roc["band"]["false_positive_rate"], roc["band"], PALETTE[0])
    left.plot(roc["false_positive_rate"], roc["sensitivity"], color=PALETTE[0], linewidth=1.6)
    _unit_square(left, "False positive rate (1 − specificity)", "Sensitivity", "ROC curve")
    right.axhline(prevalence, **GUIDE)
    _band(right, ranked["band"]["recall"], ranked["band"], PALETTE[0])
    right.plot(with_gaps(ranked["recall"]), with_gaps(ranked["precision"]), color=PALETTE[0], linewidth=1.6)
    _unit_square(right, "Recall (sensitivity)", "Precision", "Precision and recall")
    if point:
        mark: dict[str, Any] = {"color": PALETTE[1], "s": 55, "zorder": 3}
        left.scatter([1 - point[1]], [point[0]], label="operating point", **mark)
        right.scatter([point[0]], [point[2]], label="operating point", **mark)
        left.legend(frameon=False, fontsize=9, loc="lower right", labelcolor=INK)
    return panel_uris(figure)


def calibration_chart(
    reliability: Facts,
    curves: Facts,
    threshold: float | None,
    ece: float | None,
    *,
    observed: str = "Share that was positive",
) -> list[str]:
    """Draw the reliability diagram, and where there is one the threshold against sensitivity and specificity.

    Args:
        reliability: ``reliability`` of a question in ``summary.json``.
        curves: ``curves`` of the question; nothing leaves the second chart out.
        threshold: The operating point, to be marked, or None.
        ece: Expected calibration error, for the title.
        observed: What the share of a bin counts.

    Returns:
        A data URI for each chart.
    """
    drawn = bool(curves) and threshold is not None
    figure, axes = new_figure(9.0 if drawn else 4.6, 4.2, columns=2 if drawn else 1)
    left = axes[0]
    left.plot([0, 1], [0, 1], **GUIDE)
    for kind, colour, label in (("width", PALETTE[0], "equal width"), ("mass", PALETTE[1], "equally many cases")):
        _reliability(left, reliability[kind], colour, label)
    title = "Reliability" if ece is None else f"Reliability: calibration error {number(ece)}"
    _unit_square(left, "Probability given", observed, title)
    left.legend(frameon=False, fontsize=9, loc="best", labelcolor=INK)
    if drawn:
        _thresholds(axes[1], curves["thresholds"], threshold)
    return panel_uris(figure)


def value_chart(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Draw predicted over true values, a square for each target.

    Args:
        pairs: True and predicted values by target.

    Returns:
        A data URI.
    """
    columns = min(len(pairs), 2)
    figure, axes = new_panels(len(pairs), 4.4 * columns, 4.0, columns=columns)
    for axis, (name, (truth, predicted)) in zip(axes, pairs.items(), strict=True):
        low, high = min([*truth, *predicted], default=0.0), max([*truth, *predicted], default=1.0)
        axis.plot([low, high], [low, high], **GUIDE)
        axis.scatter(truth, predicted, s=10, alpha=0.5, color=PALETTE[0], linewidths=0)
        describe_axes(axis, "True", "Predicted", name)
    few = sum(len(truth) for truth, _ in pairs.values()) <= _DRAWN_MARKS
    return figure_uri(figure, format="svg" if few else "png")


def _thresholds(axis: Axes, facts: Facts, threshold: float | None) -> None:
    """Both rates from 0 to 1: up to the lowest score everything is called, above the highest nothing."""
    low, high = facts["threshold"][0], facts["threshold"][-1]
    before, after = ([0.0] if low > 0 else []), ([high, 1.0] if high < 1 else [])
    for name, colour, first in (("sensitivity", PALETTE[0], 1.0), ("specificity", PALETTE[2], 0.0)):
        _band(axis, facts["threshold"], facts[f"{name}_band"], colour)
        y = [*(first for _ in before), *with_gaps(facts[name]), *(1.0 - first for _ in after)]
        axis.plot([*before, *facts["threshold"], *after], y, color=colour, linewidth=1.6, label=name)
    if threshold is not None:
        axis.axvline(threshold, label=f"operating point {threshold:.3g}", **{**GUIDE, "color": PALETTE[1]})
    _unit_square(axis, "Threshold", "Share of cases", "Sensitivity and specificity")
    axis.legend(frameon=False, fontsize=9, loc="best", labelcolor=INK)


def _reliability(axis: Axes, bins: Facts, colour: str, label: str) -> None:
    """Points with their intervals; the larger the point, the more cases."""
    filled = [index for index, count in enumerate(bins["cases"]) if count]
    most = max((bins["cases"][index] for index in filled), default=1)
    for index in filled:
        if bins["low"][index] is not None:
            axis.plot([bins["score"][index]] * 2, [bins["low"][index], bins["high"][index]], color=colour, alpha=0.5)
    x, y = ([bins[key][index] for index in filled] for key in ("score", "observed"))
    axis.plot(x, y, color=colour, linewidth=1, alpha=0.5)
    axis.scatter(x, y, s=[12 + 50 * bins["cases"][index] / most for index in filled], color=colour, label=label)


def _band(axis: Axes, x: Sequence[float | None], band: Facts, colour: str) -> None:
    low, high = with_gaps(band["low"]), with_gaps(band["high"])
    if any(value == value for value in low):  # NaN everywhere without resamples
        axis.fill_between(with_gaps(x), low, high, color=colour, alpha=0.18, linewidth=0)


def _unit_square(axis: Axes, xlabel: str, ylabel: str, title: str) -> None:
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    describe_axes(axis, xlabel, ylabel, title)
    axis.set_aspect("equal", adjustable="box")
    axis.xaxis.set_major_locator(require("matplotlib.ticker", "train").MultipleLocator(0.2))
