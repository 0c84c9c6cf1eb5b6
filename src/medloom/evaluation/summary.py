"""From the per-case table to the figures that are reported, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.cases import CONFUSED
from medloom.evaluation.figures import Figure
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

__all__ = ["FIGURES", "patient_table", "summarise"]

_SEED = 0
Table = pd.DataFrame
Array = NDArray[Any]


FIGURES: dict[str, Figure] = {
    "dice_lesion": Figure("Dice, slices with a lesion", "Mean Dice over slices that hold a lesion; a miss counts 0."),
    "false_alarm_rate": Figure(
        "False alarms", "Share of slices without a lesion in which one was predicted.", better="lower"
    ),
    "patient_dice_lesion": Figure(
        "Dice per patient", "Mean over patients with a lesion of the Dice of all their slices stacked into a volume."
    ),
    "lesion_sensitivity": Figure(
        "Lesions found", "Share of all true lesions (connected areas in a slice) that the prediction touches."
    ),
    "dice_all": Figure(
        "Dice, all slices",
        "Mean Dice over all slices; an empty slice left empty counts 1, so it rises with the share of empty slices.",
    ),
    "iou_lesion": Figure("IoU, slices with a lesion", "Mean intersection over union over slices that hold a lesion."),
    "iou_all": Figure("IoU, all slices", "Mean intersection over union over all slices; empty left empty counts 1."),
    "hd95_px": Figure(
        "Hausdorff 95 %",
        "95th percentile of the distance between true and predicted outlines in pixels, mean over slices that have "
        "both; slices where one is missing are counted, not averaged.",
        "px",
        "lower",
    ),
    "hd95_mm": Figure(
        "Hausdorff 95 %",
        "95th percentile of the distance between true and predicted outlines in mm, mean over slices that have "
        "both; slices where one is missing are counted, not averaged.",
        "mm",
        "lower",
    ),
    "false_lesions": Figure(
        "False lesions a slice",
        "Mean number of predicted areas in a slice that touch no true lesion.",
        "count",
        "lower",
    ),
    "patient_dice_all": Figure(
        "Dice per patient, all", "As Dice per patient, over all patients; no lesion and none predicted counts 1."
    ),
    "patient_iou_lesion": Figure("IoU per patient", "As Dice per patient, for the intersection over union."),
    "patient_false_alarm_rate": Figure(
        "False alarms, patients", "Share of patients without a lesion for whom one was predicted.", better="lower"
    ),
    "patient_hd95_px": Figure(
        "Hausdorff 95 % per patient", "Mean over patients of the mean over their slices, in pixels.", "px", "lower"
    ),
    "patient_hd95_mm": Figure(
        "Hausdorff 95 % per patient", "Mean over patients of the mean over their slices, in mm.", "mm", "lower"
    ),
    "patient_lesion_sensitivity": Figure("Lesions found per patient", "Mean over patients of their share found."),
    "sensitivity": Figure("Sensitivity, slices", "Share of slices with a lesion in which anything was predicted."),
    "specificity": Figure("Specificity, slices", "Share of slices without a lesion that were left empty."),
    "f1": Figure("F1, slices", "Harmonic mean of sensitivity and precision of 'this slice holds a lesion'."),
    "roc_auc": Figure(
        "ROC AUC, slices",
        "Chance that a slice with a lesion has a higher largest probability than one without; 0.5 says nothing.",
    ),
    "average_precision": Figure(
        "Average precision, slices",
        "Area under precision and recall of the largest probability; without skill, the share of lesion slices.",
    ),
}
"""Every figure of ``summary.json``, the four headlines first."""


def summarise(table: Table, resamples: int) -> dict[str, Any]:
    """Take every figure from the cases of one split.

    With several classes the figures run over all pairs of a case and a class, and ``per_class`` holds them
    for each class alone.

    Args:
        table: Rows of ``cases.csv``, of one split.
        resamples: Resamples of the patients for the 95 % intervals; 0 gives no intervals.

    Returns:
        ``counts``, ``figures`` (name: value, low, high, n, patients), ``plain`` (at threshold 0.5 without a
        smallest lesion), ``baselines`` (predict nothing, predict a lesion everywhere), ``confusion`` (slices),
        ``pixel_confusion`` (rows are the truth) and ``per_class``; plain JSON types, None where a figure is not
        defined.
    """
    classes = list(dict.fromkeys(table["class"]))
    return {
        "counts": _counts(table),
        "figures": _plain(_figures(table, resamples)),
        "plain": _plain(_overlap_figures(_as_predicted(table, "plain_predicted_px", "plain_overlap_px"), resamples)),
        "baselines": {
            "nothing": _plain(_overlap_figures(_as_constant(table, everywhere=False), resamples)),
            "everywhere": _plain(_overlap_figures(_as_constant(table, everywhere=True), resamples)),
        },
        "confusion": _confusion(table),
        "pixel_confusion": _pixel_confusion(table),
        "per_class": {
            name: _plain(_figures(table[table["class"] == name], resamples)) for name in classes if len(classes) > 1
        },
    }


def patient_table(table: Table) -> Table:
    """Pool the cases of each patient: counts are added up, so Dice is that of the stacked volume.

    ``hd95`` is the mean over the patient's slices that have both outlines.

    Args:
        table: Rows of ``cases.csv``.

    Returns:
        One row for each split, patient and class.
    """
    keys = ["split", "patient_id", "class"]
    groups = table.assign(lesion=table["truth_px"] > 0, empty=table["truth_px"] == 0).groupby(keys, sort=True)
    pooled = groups.agg(
        slices=("sample_id", "size"),
        lesion_slices=("lesion", "sum"),
        empty_slices=("empty", "sum"),
        false_alarms=("false_alarm", "sum"),
        truth_px=("truth_px", "sum"),
        predicted_px=("predicted_px", "sum"),
        overlap_px=("overlap_px", "sum"),
        hd95=("hd95", "mean"),
        hd95_unit=("hd95_unit", "first"),
        lesions=("lesions", "sum"),
        lesions_found=("lesions_found", "sum"),
        lesions_false=("lesions_false", "sum"),
        probability=("probability", "max"),
    ).reset_index()
    pooled["dice"] = dice_from_counts(pooled["overlap_px"], pooled["truth_px"], pooled["predicted_px"])
    pooled["iou"] = iou_from_counts(pooled["overlap_px"], pooled["truth_px"], pooled["predicted_px"])
    return pooled.astype({"false_alarms": "int64"})


def _figures(table: Table, resamples: int) -> dict[str, Estimate]:
    found = _overlap_figures(table, resamples) | _detection_figures(table, resamples)
    patients = patient_table(table)
    who = patients["patient_id"].to_numpy()
    lesion = patients["truth_px"].to_numpy() > 0

    def mean(values: Array, where: Array | bool = True) -> Estimate:
        return bootstrap_mean(np.where(where, values, np.nan), who, resamples, _SEED)

    predicted = (patients["predicted_px"] > 0).to_numpy(float)
    share = (patients["lesions_found"] / patients["lesions"].replace(0, np.nan)).to_numpy(float)
    found |= {
        "patient_dice_all": mean(patients["dice"].to_numpy()),
        "patient_iou_lesion": mean(patients["iou"].to_numpy(), lesion),
        "patient_false_alarm_rate": mean(predicted, ~lesion),
        "patient_lesion_sensitivity": mean(share),
    }
    for unit in sorted(set(table["hd95_unit"])):
        inside = (patients["hd95_unit"] == unit).to_numpy()
        found[f"patient_hd95_{unit}"] = mean(patients["hd95"].to_numpy(float), inside)
        found[f"hd95_{unit}"] = _mean(table["hd95"].where(table["hd95_unit"] == unit), table, resamples)
    found["lesion_sensitivity"] = _ratio(table["lesions_found"], table["lesions"], table, resamples)
    found["false_lesions"] = _mean(table["lesions_false"], table, resamples)
    return found


def _overlap_figures(table: Table, resamples: int) -> dict[str, Estimate]:
    """Figures that need nothing but pixel counts, so that they can be had for any way of predicting."""
    lesion = table["truth_px"] > 0
    patients = patient_table(table)
    per_patient = patients["dice"].where(patients["truth_px"] > 0)
    return {
        "dice_lesion": _mean(table["dice"].where(lesion), table, resamples),
        "false_alarm_rate": _mean(table["false_alarm"], table, resamples),
        "patient_dice_lesion": _mean(per_patient, patients, resamples),
        "dice_all": _mean(table["dice"], table, resamples),
        "iou_lesion": _mean(table["iou"].where(lesion), table, resamples),
        "iou_all": _mean(table["iou"], table, resamples),
    }


def _detection_figures(table: Table, resamples: int) -> dict[str, Estimate]:
    """The question 'does this slice hold a lesion?', at the operating point and over all thresholds."""
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


def _as_predicted(table: Table, predicted: str, overlap: str) -> Table:
    """Return the table as it would be with other predictions, from their pixel counts."""
    counts = table[overlap], table["truth_px"], table[predicted]
    alarm = (table[predicted] > 0).astype(float).where(table["truth_px"] == 0)
    return table.assign(
        predicted_px=table[predicted],
        overlap_px=table[overlap],
        dice=dice_from_counts(*counts),
        iou=iou_from_counts(*counts),
        false_alarm=alarm,
    )


def _as_constant(table: Table, *, everywhere: bool) -> Table:
    guess = table.assign(guess_px=table["pixels"] * everywhere, hit_px=table["truth_px"] * everywhere)
    return _as_predicted(guess, "guess_px", "hit_px")


def _counts(table: Table) -> dict[str, int]:
    lesion = table["truth_px"] > 0
    with_lesion, samples = table["sample_id"][lesion].nunique(), table["sample_id"].nunique()
    return {
        "patients": table["patient_id"].nunique(),
        "patients_with_lesion": table["patient_id"][lesion].nunique(),
        "slices": samples,
        "slices_with_lesion": with_lesion,
        "slices_empty": samples - with_lesion,
        "lesions": int(table["lesions"].sum()),
        "hd95_both_empty": int((~lesion & (table["predicted_px"] == 0)).sum()),
        "hd95_one_empty": int((lesion != (table["predicted_px"] > 0)).sum()),
    }


def _confusion(table: Table) -> dict[str, int]:
    truth, called = table["truth_px"] > 0, table["predicted_px"] > 0
    return {
        "true_positive": int((truth & called).sum()),
        "false_negative": int((truth & ~called).sum()),
        "false_positive": int((~truth & called).sum()),
        "true_negative": int((~truth & ~called).sum()),
    }


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


def _plain(figures: dict[str, Estimate]) -> dict[str, dict[str, float | int | None]]:
    """Order as in ``FIGURES``."""
    return {name: figures[name].plain() for name in FIGURES if name in figures}
