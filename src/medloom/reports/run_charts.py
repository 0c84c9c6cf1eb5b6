"""The charts of the run report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from medloom.extras import require
from medloom.reports.charts import (
    GUIDE,
    PALETTE,
    SPLIT_COLOURS,
    describe_axes,
    figure_uri,
    lines,
    new_figure,
    new_panels,
    with_gaps,
)

__all__ = ["curves", "patient_chart", "point_chart"]

_MEASURED = {
    "Dice on validation": {"dice_lesion": "with a lesion", "dice_all": "all", "dice_balanced": "balanced"},
    "False alarms on validation": {"false_alarm_rate": "share of empty slices"},
    "Areas on validation": {"auc": "ROC AUC", "average_precision": "average precision"},
}
_NO_FIGURES = ("epoch", "step", "train_loss", "val_loss", "loss", "lr", "seconds", "images_per_s")
_NAMED_PATIENTS, _UPRIGHT_LETTERS = 40, 60


def point_chart(search: Mapping[str, Any]) -> str:
    """Draw Dice and false alarms over the threshold, and against each other over all points.

    Args:
        search: As in ``operating_point.json``.

    Returns:
        A data URI.
    """
    figure, (left, right) = new_figure(9.0, 3.2, columns=2)
    dice, alarms = ([with_gaps(row) for row in search[name]] for name in ("dice_lesion", "false_alarm_rate"))
    column = search["min_lesions_px"].index(search["min_lesion_px"])
    row = search["thresholds"].index(search["threshold"])
    series = {"Dice with a lesion": [line[column] for line in dice], "False alarms": [line[column] for line in alarms]}
    title = f"Smallest lesion {search['min_lesion_px']} px"
    lines(left, search["thresholds"], series, xlabel="Threshold", title=title)
    left.axvline(search["threshold"], **GUIDE)
    left.set_ylim(-0.03, 1.03)
    right.scatter(
        list(chain.from_iterable(alarms)),
        list(chain.from_iterable(dice)),
        s=9,
        color=PALETTE[5],
        alpha=0.45,
        linewidths=0,
    )
    right.scatter([alarms[row][column]], [dice[row][column]], s=70, color=PALETTE[1], zorder=3, label="chosen")
    describe_axes(right, "False alarms on empty slices", "Dice with a lesion", "Every point that was tried")
    right.legend(frameon=False, fontsize=9)
    return figure_uri(figure)


def curves(epochs: Sequence[Mapping[str, Any]], best_epoch: int | None) -> str:
    """Draw loss, figures on validation and learning rate over the epochs, the best epoch marked.

    Args:
        epochs: Lines of ``metrics.jsonl``; figures that have no name here are drawn under their key.
        best_epoch: Where the mark goes, or None.

    Returns:
        A data URI.
    """
    panels = _panels(epochs)
    figure, axes = new_panels(len(panels), 9.0, 2.7)
    locator = require("matplotlib.ticker", "train").MaxNLocator
    x = [line["epoch"] for line in epochs]
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        series = {label: values for key, label in names.items() if (values := _column(epochs, key))}
        alone = len(series) < len(names) and len(series) == 1  # then there is no legend
        lines(axis, x, series, title=f"{title}: {next(iter(series))}" if alone else title)
        axis.xaxis.set_major_locator(locator(integer=True))
        if best_epoch:
            axis.axvline(best_epoch, **GUIDE)
        if title not in ("Loss", "Learning rate"):
            axis.set_ylim(-0.03, 1.03)
    for axis in axes[-2:]:
        axis.set_xlabel("Epoch", fontsize=9)
    return figure_uri(figure)


def _panels(epochs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What is drawn together: keys of an epoch's line and their names, by title."""
    keys = dict.fromkeys(key for line in epochs for key, value in line.items() if isinstance(value, (int, float)))
    measured = {title: names for title, names in _MEASURED.items() if any(name in keys for name in names)}
    if not measured:
        others = {key: key.replace("_", " ") for key in keys if key not in _NO_FIGURES}
        measured = {"Figures on validation": others} if others else {}
    return {"Loss": {"train_loss": "training", "val_loss": "validation"}, **measured, "Learning rate": {"lr": "rate"}}


def patient_chart(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> str:
    """Draw the Dice of each patient; the size of a dot says how much lesion there is.

    Args:
        rows: Rows of ``patients.csv`` in the order to draw.
        names: What stands under each dot, where there is room.

    Returns:
        A data URI.
    """
    figure, (axis,) = new_figure(9.0, 2.8)
    largest = max(int(row["truth_px"]) for row in rows) or 1
    sizes = [20 + 180 * int(row["truth_px"]) / largest for row in rows]
    dice = [float(row["dice"]) for row in rows]
    axis.scatter(range(len(rows)), dice, s=sizes, color=SPLIT_COLOURS["test"], alpha=0.8)
    axis.set_ylim(-0.06, 1.06)
    axis.set_ylabel("Dice of the volume", fontsize=9)
    labels = names if len(rows) <= _NAMED_PATIENTS else []
    room = sum(map(len, labels)) <= _UPRIGHT_LETTERS
    axis.set_xticks(range(len(labels)), labels, rotation=0 if room else 90)
    return figure_uri(figure)


def _column(epochs: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Values of a key, NaN where an epoch has none; nothing if no epoch has one."""
    values = [line.get(key) for line in epochs]
    return [] if all(value is None for value in values) else with_gaps(values)
