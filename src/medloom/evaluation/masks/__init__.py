"""Measuring masks: a row for each case and class, the operating point, the metrics and the gallery."""

from __future__ import annotations

from medloom.evaluation.masks.cases import CASE_COLUMNS, Case, evaluate_cases
from medloom.evaluation.masks.family import Masks
from medloom.evaluation.masks.point import GridChoice, choose_point
from medloom.evaluation.masks.summary import METRICS, patient_table, summarise

__all__ = [
    "CASE_COLUMNS",
    "METRICS",
    "Case",
    "GridChoice",
    "Masks",
    "choose_point",
    "evaluate_cases",
    "patient_table",
    "summarise",
]
