"""Measure a predictor: the operating point, the per-case table, the figures and the error gallery."""

from __future__ import annotations

from medloom.evaluation.cases import CASE_COLUMNS, Case, evaluate_cases
from medloom.evaluation.classification import (
    CLASSIFICATION_FIGURES,
    TargetInfo,
    ThresholdChoice,
    choose_thresholds,
    classification_summary,
    decide,
    summarise_classification,
)
from medloom.evaluation.figures import Figure
from medloom.evaluation.label_run import evaluate_labels, target_of
from medloom.evaluation.operating_point import Choice, choose_operating_point
from medloom.evaluation.run import evaluate
from medloom.evaluation.summary import FIGURES, patient_table, summarise

__all__ = [
    "CASE_COLUMNS",
    "CLASSIFICATION_FIGURES",
    "FIGURES",
    "Case",
    "Choice",
    "Figure",
    "TargetInfo",
    "ThresholdChoice",
    "choose_operating_point",
    "choose_thresholds",
    "classification_summary",
    "decide",
    "evaluate",
    "evaluate_cases",
    "evaluate_labels",
    "patient_table",
    "summarise",
    "summarise_classification",
    "target_of",
]
