"""From the per-case table to the metrics that are reported, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.masks.calibrated import calibration_facts
from medloom.evaluation.masks.cases import CONFUSED
from medloom.evaluation.masks.expected import review_of
from medloom.evaluation.metrics import Metric
from medloom.metrics import (
    Estimate,
    average_precision,
    bootstrap_interval,
    bootstrap_mean,
    bootstrap_ratio,
    dice_from_counts,
    iou_from_counts,
    roc_auc,
)

__all__ = ["HEADLINES", "METRICS", "patient_table", "point_dice", "summarise"]

_SEED = 0
Table = pd.DataFrame
Array = NDArray[Any]


METRICS: dict[str, Metric] = {
    "dice_foreground": Metric(
        "Dice, images with foreground", "Mean Dice over images that hold foreground; a miss counts 0."
    ),
    "false_positive_rate": Metric(
        "False positive rate", "Share of images without foreground in which some was predicted.", better="lower"
    ),
    "patient_dice_foreground": Metric(
        "Dice per patient", "Mean over patients with foreground of the Dice of all their images taken together."
    ),
    "region_sensitivity": Metric(
        "Regions found", "Share of all true regions (connected areas in an image) that the prediction touches."
    ),
    "dice_all": Metric(
        "Dice, all images",
        "Mean Dice over all images; an empty image left empty counts 1, so it rises with the share of empty images.",
    ),
    "iou_foreground": Metric(
        "IoU, images with foreground", "Mean intersection over union over images that hold foreground."
    ),
    "iou_all": Metric("IoU, all images", "Mean intersection over union over all images; empty left empty counts 1."),
    "hd95_px": Metric(
        "Hausdorff 95 %",
        "95th percentile of the distance between true and predicted outlines in pixels, mean over images that have "
        "both; images where one is missing are counted, not averaged.",
        "px",
        "lower",
    ),
    "hd95_mm": Metric(
        "Hausdorff 95 %",
        "95th percentile of the distance between true and predicted outlines in mm, mean over images that have "
        "both; images where one is missing are counted, not averaged.",
        "mm",
        "lower",
    ),
    "false_regions": Metric(
        "False regions an image",
        "Mean number of predicted regions in an image that touch no true one.",
        "count",
        "lower",
    ),
    "patient_dice_all": Metric(
        "Dice per patient, all", "As Dice per patient, over all patients; no foreground and none predicted counts 1."
    ),
    "patient_iou_foreground": Metric("IoU per patient", "As Dice per patient, for the intersection over union."),
    "patient_false_positive_rate": Metric(
        "False positive rate, patients",
        "Share of patients without foreground for whom some was predicted.",
        better="lower",
    ),
    "patient_hd95_px": Metric(
        "Hausdorff 95 % per patient", "Mean over patients of the mean over their images, in pixels.", "px", "lower"
    ),
    "patient_hd95_mm": Metric(
        "Hausdorff 95 % per patient", "Mean over patients of the mean over their images, in mm.", "mm", "lower"
    ),
    "patient_region_sensitivity": Metric("Regions found per patient", "Mean over patients of their share found."),
    "sensitivity": Metric("Sensitivity, images", "Share of images with foreground in which anything was predicted."),
    "specificity": Metric("Specificity, images", "Share of images without foreground that were left empty."),
    "f1": Metric("F1, images", "Harmonic mean of sensitivity and precision of 'this image holds foreground'."),
    "roc_auc": Metric(
        "ROC AUC, images",
        "Chance that an image with foreground has a higher largest probability than one without; 0.5 says nothing.",
    ),
    "average_precision": Metric(
        "Average precision, images",
        "Area under precision and recall of the largest probability; without skill, the share of images with "
        "foreground.",
    ),
}
"""Every metric of ``summary.json``, the four headlines first."""

HEADLINES = ("dice_foreground", "false_positive_rate", "patient_dice_foreground", "region_sensitivity")
"""The metrics that a report begins with."""


def summarise(table: Table, resamples: int) -> dict[str, Any]:
    """Take every metric from the cases of one split.

    With several classes the metrics run over all pairs of a case and a class, and ``per_target`` holds them
    for each class alone.

    Args:
        table: Rows of ``cases.csv``, of one split.
        resamples: Resamples of the patients for the 95 % intervals; 0 gives no intervals.

    Returns:
        ``counts``, ``metrics`` (name: value, low, high, n, patients), ``baselines`` (the same network at threshold 0.5
        without a smallest region, no foreground, foreground everywhere), ``calibration``, ``review`` (see
        ``review_facts``), ``confusion`` of images and of their pixels (rows are the truth) and ``per_target``; plain
        JSON types, None where a metric is not defined.
    """
    classes = list(dict.fromkeys(table["class"]))
    return {
        "counts": _counts(table),
        "metrics": _plain(_metrics(table, resamples)),
        "baselines": _baselines(table, resamples),
        "calibration": calibration_facts(table, resamples),
        "review": review_of(table, resamples),
        "confusion": _confusion(table),
        "pixel_confusion": _pixel_confusion(table),
        "per_target": {
            name: {"metrics": _plain(_metrics(table[table["class"] == name], resamples))}
            for name in classes
            if len(classes) > 1
        },
    }


def patient_table(table: Table) -> Table:
    """Pool the cases of each patient: counts are added up, so Dice is that of the stacked volume.

    ``hd95`` is the mean over the patient's images that have both outlines.

    Args:
        table: Rows of ``cases.csv``.

    Returns:
        One row for each split, patient and class.
    """
    keys = ["split", "patient_id", "class"]
    groups = table.assign(foreground=table["truth_px"] > 0, empty=table["truth_px"] == 0).groupby(keys, sort=True)
    pooled = groups.agg(
        images=("sample_id", "size"),
        foreground_images=("foreground", "sum"),
        empty_images=("empty", "sum"),
        false_positives=("false_positive", "sum"),
        truth_px=("truth_px", "sum"),
        predicted_px=("predicted_px", "sum"),
        overlap_px=("overlap_px", "sum"),
        hd95=("hd95", "mean"),
        hd95_unit=("hd95_unit", "first"),
        regions=("regions", "sum"),
        regions_found=("regions_found", "sum"),
        regions_false=("regions_false", "sum"),
        probability=("probability", "max"),
    ).reset_index()
    pooled["dice"] = dice_from_counts(pooled["overlap_px"], pooled["truth_px"], pooled["predicted_px"])
    pooled["iou"] = iou_from_counts(pooled["overlap_px"], pooled["truth_px"], pooled["predicted_px"])
    return pooled.astype({"false_positives": "int64"})


def _metrics(table: Table, resamples: int) -> dict[str, Estimate]:
    found = _overlap_metrics(table, resamples) | _detection_metrics(table, resamples)
    patients = patient_table(table)
    who = patients["patient_id"].to_numpy()
    foreground = patients["truth_px"].to_numpy() > 0

    def mean(values: Array, where: Array | bool = True) -> Estimate:
        return bootstrap_mean(np.where(where, values, np.nan), who, resamples, _SEED)

    predicted = (patients["predicted_px"] > 0).to_numpy(float)
    share = (patients["regions_found"] / patients["regions"].replace(0, np.nan)).to_numpy(float)
    found |= {
        "patient_dice_all": mean(patients["dice"].to_numpy()),
        "patient_iou_foreground": mean(patients["iou"].to_numpy(), foreground),
        "patient_false_positive_rate": mean(predicted, ~foreground),
        "patient_region_sensitivity": mean(share),
    }
    for unit in sorted(set(table["hd95_unit"])):
        inside = (patients["hd95_unit"] == unit).to_numpy()
        found[f"patient_hd95_{unit}"] = mean(patients["hd95"].to_numpy(float), inside)
        found[f"hd95_{unit}"] = _mean(table["hd95"].where(table["hd95_unit"] == unit), table, resamples)
    found["region_sensitivity"] = _ratio(table["regions_found"], table["regions"], table, resamples)
    found["false_regions"] = _mean(table["regions_false"], table, resamples)
    return found


def _overlap_metrics(table: Table, resamples: int) -> dict[str, Estimate]:
    """Metrics that need nothing but pixel counts, so that they can be had for any way of predicting."""
    foreground = table["truth_px"] > 0
    patients = patient_table(table)
    per_patient = patients["dice"].where(patients["truth_px"] > 0)
    return {
        "dice_foreground": _mean(table["dice"].where(foreground), table, resamples),
        "false_positive_rate": _mean(table["false_positive"], table, resamples),
        "patient_dice_foreground": _mean(per_patient, patients, resamples),
        "dice_all": _mean(table["dice"], table, resamples),
        "iou_foreground": _mean(table["iou"].where(foreground), table, resamples),
        "iou_all": _mean(table["iou"], table, resamples),
    }


def _detection_metrics(table: Table, resamples: int) -> dict[str, Estimate]:
    """The question 'does this image hold foreground?', at the operating point and over all thresholds."""
    truth, called = table["truth_px"] > 0, table["predicted_px"] > 0
    right, wrong = (truth & called).to_numpy(float), (truth != called).to_numpy(float)
    f1 = _ratio(2 * right, 2 * right + wrong, table, resamples)
    scored = np.stack([truth.to_numpy(float), table["probability"].to_numpy(float)], axis=1)
    return {
        "sensitivity": _mean(called.where(truth).astype(float), table, resamples),
        "specificity": _mean((~called).where(~truth).astype(float), table, resamples),
        "f1": replace(f1, n=len(table)),
        "roc_auc": _area(roc_auc, scored, table, resamples),
        "average_precision": _area(average_precision, scored, table, resamples),
    }


def _area(area: Callable[[Array, Array, Array], Array], scored: Array, table: Table, resamples: int) -> Estimate:
    def statistic(values: Array, weights: Array) -> Array:
        return area(values[:, 0], values[:, 1], weights)

    return bootstrap_interval(scored, table["patient_id"].to_numpy(), statistic, resamples, _SEED)


def _mean(values: pd.Series[Any], table: Table, resamples: int) -> Estimate:
    return bootstrap_mean(values.to_numpy(float), table["patient_id"].to_numpy(), resamples, _SEED)


def _ratio(above: pd.Series[Any] | Array, below: pd.Series[Any] | Array, table: Table, resamples: int) -> Estimate:
    return bootstrap_ratio(above, below, table["patient_id"].to_numpy(), resamples, _SEED)


def _baselines(table: Table, resamples: int) -> dict[str, Any]:
    """What the metrics are compared with: the network without its operating point, and two constant answers."""
    compared = {
        "plain": ("At 0.5, nothing removed", _as_predicted(table, "plain_predicted_px", "plain_overlap_px")),
        "nothing": ("Predicts nothing", _as_constant(table, everywhere=False)),
        "everywhere": ("Foreground everywhere", _as_constant(table, everywhere=True)),
    }
    return {
        name: {"title": title, "answer": "", "metrics": _plain(_overlap_metrics(as_if, resamples))}
        for name, (title, as_if) in compared.items()
    }


def point_dice(table: Table) -> tuple[float | None, float | None]:
    """Return the mean Dice over cases with foreground, at the operating point and at threshold 0.5 without it.

    Args:
        table: Rows of ``cases.csv``, of one split.
    """
    plain = _as_predicted(table, "plain_predicted_px", "plain_overlap_px")
    found, without = (_overlap_metrics(rows, 0)["dice_foreground"].value for rows in (table, plain))
    return found, without


def _as_predicted(table: Table, predicted: str, overlap: str) -> Table:
    """Return the table as it would be with other predictions, from their pixel counts."""
    counts = table[overlap], table["truth_px"], table[predicted]
    false = (table[predicted] > 0).astype(float).where(table["truth_px"] == 0)
    return table.assign(
        predicted_px=table[predicted],
        overlap_px=table[overlap],
        dice=dice_from_counts(*counts),
        iou=iou_from_counts(*counts),
        false_positive=false,
    )


def _as_constant(table: Table, *, everywhere: bool) -> Table:
    guess = table.assign(guess_px=table["pixels"] * everywhere, hit_px=table["truth_px"] * everywhere)
    return _as_predicted(guess, "guess_px", "hit_px")


def _counts(table: Table) -> dict[str, int]:
    foreground = table["truth_px"] > 0
    with_foreground, images = table["sample_id"][foreground].nunique(), table["sample_id"].nunique()
    return {
        "patients": table["patient_id"].nunique(),
        "patients_with_foreground": table["patient_id"][foreground].nunique(),
        "images": images,
        "images_with_foreground": with_foreground,
        "images_empty": images - with_foreground,
        "regions": int(table["regions"].sum()),
        "hd95_both_empty": int((~foreground & (table["predicted_px"] == 0)).sum()),
        "hd95_one_empty": int((foreground != (table["predicted_px"] > 0)).sum()),
    }


def _confusion(table: Table) -> dict[str, Any]:
    """Images, or pairs of an image and a class, without and with foreground by what was predicted."""
    truth, called = (table[name].to_numpy() > 0 for name in ("truth_px", "predicted_px"))
    matrix = [[int((true & guess).sum()) for guess in (~called, called)] for true in (~truth, truth)]
    return {"classes": ["without", "with foreground"], "matrix": matrix}


def _pixel_confusion(table: Table) -> dict[str, Any]:
    """Pixels of each true class by the class they were predicted as.

    The table has no row for the background: its pixels are what is left of the image and of each prediction.
    """
    foreground = list(dict.fromkeys(table["class"]))
    columns = [str(name) for name in table.columns if str(name).startswith(CONFUSED)]
    if not foreground or (len(foreground) > 1 and not columns):
        return {}  # no case, or a table from before these columns
    sums = table.groupby("class", sort=False)[["truth_px", "predicted_px", "overlap_px", *columns]].sum()
    overlap = sums["overlap_px"].to_numpy()
    inside = sums[columns].to_numpy() if columns else np.stack([sums["truth_px"] - overlap, overlap], axis=1)
    matrix = np.zeros((len(foreground) + 1,) * 2, np.int64)
    matrix[1:] = inside
    matrix[0, 1:] = sums["predicted_px"] - inside[:, 1:].sum(axis=0)
    matrix[0, 0] = table.drop_duplicates("sample_id")["pixels"].sum() - matrix.sum()
    names = [name.removeprefix(CONFUSED) for name in columns] or ["background", *foreground]
    return {"classes": names, "matrix": matrix.tolist()}


def _plain(metrics: dict[str, Estimate]) -> dict[str, dict[str, float | int | None]]:
    """Order as in ``METRICS``."""
    return {name: metrics[name].plain() for name in METRICS if name in metrics}
