"""The metrics of masks as statistics of weighted cases, so that two models can be taken on the same resamples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from medloom import metrics
from medloom.evaluation.family import Measure
from medloom.evaluation.masks.summary import patient_table
from medloom.metrics.weights import divide

__all__ = ["mask_statistics"]

Floats64 = NDArray[np.float64]
Statistic = Callable[[Floats64], Floats64]


def mask_statistics(table: pd.DataFrame) -> Measure:
    """Return the metrics of a per-case table, all but distances.

    A distance is a mean over the images in which both outlines are, which are others for each model, so the difference
    of two such means says nothing.

    Args:
        table: Rows of ``cases.csv``, of one split. Weights must be the same for all rows of a patient.
    """
    found = {**_of_images(table), **_of_detection(table), **_of_patients(table)}

    def measure(weights: Floats64) -> dict[str, Floats64]:
        return {name: statistic(weights) for name, statistic in found.items()}

    return measure


def _of_images(table: pd.DataFrame) -> dict[str, Statistic]:
    foreground = table["truth_px"] > 0
    return {
        "dice_foreground": _mean(table["dice"].where(foreground)),
        "false_positive_rate": _mean(table["false_positive"]),
        "region_sensitivity": _ratio(table["regions_found"], table["regions"]),
        "dice_all": _mean(table["dice"]),
        "iou_foreground": _mean(table["iou"].where(foreground)),
        "iou_all": _mean(table["iou"]),
        "false_regions": _mean(table["regions_false"]),
    }


def _of_detection(table: pd.DataFrame) -> dict[str, Statistic]:
    """The question 'does this image hold foreground?'."""
    truth, called = (table[name].to_numpy() > 0 for name in ("truth_px", "predicted_px"))
    score, right = table["probability"].to_numpy(float), (truth & called).astype(float)
    return {
        "sensitivity": _mean(np.where(truth, called, np.nan)),
        "specificity": _mean(np.where(truth, np.nan, ~called)),
        "f1": _ratio(2 * right, 2 * right + (truth != called)),
        "roc_auc": lambda weights: metrics.roc_auc(truth, score, weights),
        "average_precision": lambda weights: metrics.average_precision(truth, score, weights),
    }


def _of_patients(table: pd.DataFrame) -> dict[str, Statistic]:
    pooled = patient_table(table)
    rows = pd.Series(np.arange(len(table))).groupby([table["patient_id"].to_numpy(), table["class"].to_numpy()]).first()
    at = rows.loc[list(zip(pooled["patient_id"], pooled["class"], strict=True))].to_numpy()
    foreground = pooled["truth_px"] > 0

    def mean(values: pd.Series[Any]) -> Statistic:
        statistic = _mean(values)
        return lambda weights: statistic(weights[:, at])

    return {
        "patient_dice_foreground": mean(pooled["dice"].where(foreground)),
        "patient_dice_all": mean(pooled["dice"]),
        "patient_iou_foreground": mean(pooled["iou"].where(foreground)),
        "patient_false_positive_rate": mean((pooled["predicted_px"] > 0).astype(float).where(~foreground)),
    }


def _mean(values: ArrayLike) -> Statistic:
    """The mean of what is not NaN."""
    each = np.asarray(values, float)
    known = np.flatnonzero(~np.isnan(each))
    return lambda weights: metrics.weighted_mean(each[known], weights[:, known])


def _ratio(above: ArrayLike, below: ArrayLike) -> Statistic:
    """The ratio of two sums."""
    parts, whole = np.asarray(above, float), np.asarray(below, float)
    return lambda weights: divide(weights @ parts, weights @ whole)
