"""The chart of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medloom.extras import require
from medloom.reports.charts import (
    GUIDE,
    lines,
    new_panels,
    panel_uris,
    with_gaps,
)

__all__ = ["curves"]

_MEASURED = {
    "Dice on validation": {"dice_foreground": "with foreground", "dice_all": "all", "dice_balanced": "balanced"},
    "False positive rate on validation": {"false_positive_rate": "share of empty images"},
    "Areas on validation": {"auc": "ROC AUC", "average_precision": "average precision"},
    "Decisions on validation": {"f1": "F1", "accuracy": "accuracy"},
}
_UNITS = {"Loss": "loss", "Learning rate": "learning rate"}
_NO_METRICS = ("epoch", "step", "train_loss", "val_loss", "loss", "lr", "seconds", "images_per_s")


def curves(epochs: Sequence[Mapping[str, Any]], best_epoch: int | None) -> list[str]:
    """Draw loss, metrics on validation and learning rate over the epochs, the best epoch marked.

    Args:
        epochs: Lines of ``metrics.jsonl``; metrics that have no name here are drawn under their key.
        best_epoch: Where the mark goes, or None.

    Returns:
        A data URI for each chart.
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
        axis.set_xlabel("Epoch", fontsize=9)
        axis.set_ylabel(_UNITS.get(title, "metric, 0 to 1"), fontsize=9)
    return panel_uris(figure)


def _panels(epochs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What is drawn together: keys of an epoch's line and their names, by title."""
    keys = dict.fromkeys(key for line in epochs for key, value in line.items() if isinstance(value, (int, float)))
    measured = {title: names for title, names in _MEASURED.items() if any(name in keys for name in names)}
    if not measured:
        others = {key: key.replace("_", " ") for key in keys if key not in _NO_METRICS}
        measured = {"Metrics on validation": others} if others else {}
    return {"Loss": {"train_loss": "training", "val_loss": "validation"}, **measured, "Learning rate": {"lr": "rate"}}


def _column(epochs: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Values of a key, NaN where an epoch has none; nothing if no epoch has one."""
    values = [line.get(key) for line in epochs]
    return [] if all(value is None for value in values) else with_gaps(values)
