"""Figures on arrays: pure functions that know nothing of files, tables or networks."""

from __future__ import annotations

from medloom.metrics.bootstrap import Estimate, bootstrap_interval, bootstrap_mean, bootstrap_ratio, weighted_mean
from medloom.metrics.lesions import LesionCount, count_lesions, lesion_sensitivity
from medloom.metrics.overlap import dice, dice_from_counts, iou, iou_from_counts
from medloom.metrics.ranking import average_precision, roc_auc
from medloom.metrics.surface import hausdorff95, outline

__all__ = [
    "Estimate",
    "LesionCount",
    "average_precision",
    "bootstrap_interval",
    "bootstrap_mean",
    "bootstrap_ratio",
    "count_lesions",
    "dice",
    "dice_from_counts",
    "hausdorff95",
    "iou",
    "iou_from_counts",
    "lesion_sensitivity",
    "outline",
    "roc_auc",
    "weighted_mean",
]
