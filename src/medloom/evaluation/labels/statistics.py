"""The statistics behind the metrics: from weights of the cases to arrays by name, for the bootstrap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloom import metrics
from medloom.evaluation.family import Measure
from medloom.evaluation.labels.curves import bin_edges
from medloom.evaluation.labels.questions import Question

__all__ = ["Measure", "calibration_measure", "decision_metrics", "mean_of", "question_measure", "value_measure"]

Floats64 = NDArray[np.float64]


def question_measure(question: Question) -> Measure:
    """Return all metrics of a yes-or-no question."""
    calibration = calibration_measure(question)

    def measure(every: Floats64) -> dict[str, Floats64]:
        weights = question.of(every)
        matrix = metrics.confusion_matrix(question.truth, question.decision, 2, weights)
        return {
            "roc_auc": metrics.roc_auc(question.truth, question.score, weights),
            "average_precision": metrics.average_precision(question.truth, question.score, weights),
            "sensitivity": metrics.sensitivity(matrix)[:, 1],
            "specificity": metrics.specificity(matrix)[:, 1],
            "precision": metrics.precision(matrix)[:, 1],
            "npv": metrics.precision(matrix)[:, 0],
            "f1": metrics.f1_score(matrix)[:, 1],
            **decision_metrics(matrix),
            "brier": metrics.brier_score(question.truth, question.score, weights),
            "log_loss": metrics.log_loss(question.truth, question.score, weights),
            **calibration(every),
        }

    return measure


def decision_metrics(matrix: Floats64) -> dict[str, Floats64]:
    """Return what confusion matrices (B, K, K) say of all classes together."""
    return {
        "accuracy": metrics.accuracy(matrix),
        "balanced_accuracy": metrics.balanced_accuracy(matrix),
        "mcc": metrics.matthews(matrix),
    }


def calibration_measure(question: Question) -> Measure:
    """Return both calibration errors of a question."""
    edges = bin_edges(question)

    def measure(every: Floats64) -> dict[str, Floats64]:
        weights = question.of(every)
        return {
            name: metrics.expected_calibration_error(question.truth, question.score, edges[kind], weights)
            for name, kind in (("ece", "width"), ("ece_mass", "mass"))
        }

    return measure


def value_measure(truth: Floats64, predicted: Floats64) -> Measure:
    """Return the metrics of one predicted number; NaN is a truth that is not known, and counts nowhere."""
    places = np.flatnonzero(~np.isnan(truth))
    known, said = truth[places], predicted[places]

    def measure(every: Floats64) -> dict[str, Floats64]:
        weights = every[:, places]
        return {
            "mae": metrics.mean_absolute_error(known, said, weights),
            "rmse": metrics.root_mean_squared_error(known, said, weights),
            "r2": metrics.r_squared(known, said, weights),
            "spearman": metrics.spearman(known, said, weights),
        }

    return measure


def mean_of(rows: list[Floats64], n: int) -> Floats64:
    """Return the mean over classes or targets; NaN without any, and where one is not defined."""
    return np.mean(rows, axis=0) if rows else np.full(n, np.nan)
