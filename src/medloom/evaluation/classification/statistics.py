"""The statistics behind the figures: from weights of the cases to arrays by name, for the bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom import metrics
from medloom.evaluation.classification.curves import bin_edges
from medloom.evaluation.classification.target import TargetInfo, View, views

__all__ = ["Measure", "question_measure", "table_measure"]

Floats = NDArray[np.float64]
Measure = Callable[[Floats], dict[str, Floats]]
"""From weights (B, N) to figures of shape (B,) by name."""

_MEANS = (
    "roc_auc",
    "average_precision",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "balanced_accuracy",
    "mcc",
    "brier",
    "log_loss",
    "ece",
)


def question_measure(view: View) -> Measure:
    """Return all figures of a yes-or-no question."""
    calibration = _calibration_measure(view)

    def measure(weights: Floats) -> dict[str, Floats]:
        matrix = metrics.confusion_matrix(view.truth, view.decision, 2, weights)
        return {
            "roc_auc": metrics.roc_auc(view.truth, view.score, weights),
            "average_precision": metrics.average_precision(view.truth, view.score, weights),
            "sensitivity": metrics.sensitivity(matrix)[:, 1],
            "specificity": metrics.specificity(matrix)[:, 1],
            "precision": metrics.precision(matrix)[:, 1],
            "f1": metrics.f1_score(matrix)[:, 1],
            **_decisions(matrix),
            "brier": metrics.brier_score(view.truth, view.score, weights),
            "log_loss": metrics.log_loss(view.truth, view.score, weights),
            **calibration(weights),
        }

    return measure


def table_measure(cases: pd.DataFrame, target: TargetInfo) -> Measure:
    """Return the figures of a whole table: of its only question, over its classes, or over its targets."""
    if target.kind == "binary":
        return question_measure(views(cases, target)[0])
    if target.kind == "multi-class":
        return _classes_measure(cases, target)
    if target.kind == "multi-label":
        return _labels_measure(views(cases, target))
    return _values_measure(cases, target)


def top_class(cases: pd.DataFrame, target: TargetInfo) -> View:
    """Return the question whether the most probable class is the true one, for the calibration of several classes."""
    scores, truth = cases[target.score_columns].to_numpy(float), cases["truth"].to_numpy()
    right = scores.argmax(axis=1) == truth
    return View("most probable class", right, scores.max(axis=1), np.ones(len(truth), bool))


def _decisions(matrix: Floats) -> dict[str, Floats]:
    """What confusion matrices (B, K, K) say of all classes together."""
    return {
        "accuracy": metrics.accuracy(matrix),
        "balanced_accuracy": metrics.balanced_accuracy(matrix),
        "mcc": metrics.matthews(matrix),
    }


def _calibration_measure(view: View) -> Measure:
    edges = bin_edges(view)

    def measure(weights: Floats) -> dict[str, Floats]:
        return {
            name: metrics.expected_calibration_error(view.truth, view.score, edges[kind], weights)
            for name, kind in (("ece", "width"), ("ece_mass", "mass"))
        }

    return measure


def _classes_measure(cases: pd.DataFrame, target: TargetInfo) -> Measure:
    truth, decision = (cases[name].to_numpy().astype(np.int64) for name in ("truth", "decision"))
    scores, questions = cases[target.score_columns].to_numpy(float), views(cases, target)
    calibration = _calibration_measure(top_class(cases, target))
    present = [view for view in questions if view.truth.any()]

    def measure(weights: Floats) -> dict[str, Floats]:
        matrix = metrics.confusion_matrix(truth, decision, len(target.names), weights)
        seen = [index for index, view in enumerate(questions) if view.truth.any() or view.decision.any()]
        areas = [metrics.roc_auc(view.truth, view.score, weights) for view in present]
        precisions = [metrics.average_precision(view.truth, view.score, weights) for view in present]
        return {
            "roc_auc": _mean(areas, len(weights)),
            "average_precision": _mean(precisions, len(weights)),
            "f1": _mean(list(metrics.f1_score(matrix)[:, seen].T), len(weights)),
            **_decisions(matrix),
            "brier": metrics.brier_score(truth, scores, weights),
            "log_loss": metrics.log_loss(truth, scores, weights),
            **calibration(weights),
        }

    return measure


def _labels_measure(questions: list[View]) -> Measure:
    measures = [question_measure(view) for view in questions]
    right = np.logical_and.reduce([view.truth == view.decision for view in questions]).astype(float)
    defined = [{name: ~np.isnan(value[0]) for name, value in each(_once(right)).items()} for each in measures]

    def measure(weights: Floats) -> dict[str, Floats]:
        found = [each(weights) for each in measures]
        means = {
            name: _mean([one[name] for one, there in zip(found, defined, strict=True) if there[name]], len(weights))
            for name in _MEANS
        }
        return {**means, "exact_match": metrics.weighted_mean(right, weights)}

    return measure


def value_measure(truth: Floats, predicted: Floats) -> Measure:
    """Return the figures of one real-valued target."""

    def measure(weights: Floats) -> dict[str, Floats]:
        return {
            "mae": metrics.mean_absolute_error(truth, predicted, weights),
            "rmse": metrics.root_mean_squared_error(truth, predicted, weights),
            "r2": metrics.r_squared(truth, predicted, weights),
            "spearman": metrics.spearman(truth, predicted, weights),
        }

    return measure


def _values_measure(cases: pd.DataFrame, target: TargetInfo) -> Measure:
    pairs = zip(target.truth_columns, target.score_columns, strict=True)
    measures = [value_measure(cases[truth].to_numpy(float), cases[score].to_numpy(float)) for truth, score in pairs]
    if len(measures) == 1:
        return measures[0]

    def measure(weights: Floats) -> dict[str, Floats]:
        found = [each(weights) for each in measures]  # errors of different units have no mean
        return {name: _mean([one[name] for one in found], len(weights)) for name in ("r2", "spearman")}

    return measure


def _once(values: Floats) -> Floats:
    return np.ones((1, len(values)))


def _mean(rows: list[Floats], n: int) -> Floats:
    """Mean over classes or targets; NaN without any, and where one is not defined."""
    return np.mean(rows, axis=0) if rows else np.full(n, np.nan)
