"""Measure a predictor: the operating point, the per-case table, the figures and the error gallery."""

from __future__ import annotations

from medloom.evaluation.cases import CASE_COLUMNS, Case, evaluate_cases
from medloom.evaluation.operating_point import Choice, choose_operating_point
from medloom.evaluation.run import evaluate
from medloom.evaluation.summary import FIGURES, Figure, patient_table, summarise

__all__ = [
    "CASE_COLUMNS",
    "FIGURES",
    "Case",
    "Choice",
    "Figure",
    "choose_operating_point",
    "evaluate",
    "evaluate_cases",
    "patient_table",
    "summarise",
]
