"""Measuring classification: the operating point and the figures with intervals, from the per-case table."""

from __future__ import annotations

from medloom.evaluation.classification.groups import pool_patients
from medloom.evaluation.classification.operating_point import (
    ThresholdChoice,
    choose_threshold,
    choose_thresholds,
    decide,
)
from medloom.evaluation.classification.summary import (
    CLASSIFICATION_FIGURES,
    classification_summary,
    summarise_classification,
)
from medloom.evaluation.classification.target import GROUP_PREFIX, TargetInfo, check_cases

__all__ = [
    "CLASSIFICATION_FIGURES",
    "GROUP_PREFIX",
    "TargetInfo",
    "ThresholdChoice",
    "check_cases",
    "choose_threshold",
    "choose_thresholds",
    "classification_summary",
    "decide",
    "pool_patients",
    "summarise_classification",
]
