"""The metrics of labels, taken on all cases and on resamples of the patients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.family import Facts
from medloom.evaluation.labels.curves import curve_facts, curves, reliability_facts
from medloom.evaluation.labels.enough import Basis, basis_of_question
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.statistics import Measure, question_measure
from medloom.evaluation.metrics import Metric
from medloom.metrics import Resampled, confusion_matrix, resample

__all__ = ["METRICS", "Sampler", "compared", "drawn_facts", "matrix_facts", "question_facts"]

_SEED = 0

METRICS: dict[str, Metric] = {
    "roc_auc": Metric(
        "ROC AUC",
        "Chance that a positive case has a higher score than a negative one; 0.5 says nothing.",
        chance="constant",
    ),
    "average_precision": Metric(
        "Average precision",
        "Area under precision and recall; without skill, the share of positive cases.",
        chance="constant",
    ),
    "sensitivity": Metric("Sensitivity", "Share of the positive cases that were called positive."),
    "specificity": Metric("Specificity", "Share of the negative cases that were called negative."),
    "precision": Metric(
        "Precision (PPV)",
        "Positive predictive value: share of the cases called positive that are; it falls with the share of positive "
        "cases.",
    ),
    "npv": Metric(
        "NPV",
        "Negative predictive value: share of the cases called negative that are; it rises as the share of positive "
        "cases falls.",
    ),
    "f1": Metric("F1", "Harmonic mean of precision and sensitivity; over several classes their mean."),
    "accuracy": Metric(
        "Accuracy", "Share of the cases decided rightly; compare it with the baseline's.", chance="constant"
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy",
        "Mean of the shares found of each class; a constant gets 1 / classes.",
        chance="constant",
    ),
    "mcc": Metric("Matthews correlation", "Correlation of truth and decision; 0 says nothing.", chance=0.0),
    "exact_match": Metric("Exact match", "Share of the cases with every label decided rightly."),
    "brier": Metric("Brier score", "Mean squared distance of the probabilities from the truth.", better="lower"),
    "log_loss": Metric(
        "Log loss", "Mean negative logarithm of the true class's probability, in nats.", "nats", "lower"
    ),
    "ece": Metric(
        "Calibration error",
        "Expected calibration error: mean distance between probability and share of positive cases in ten bins of "
        "equal width; for several classes, of the most probable one. Chance raises it, and resampling "
        "adds chance, so the resamples are moved until their median is the value.",
        better="lower",
        centred=True,
    ),
    "ece_mass": Metric(
        "Calibration error, equal bins",
        "The same in ten bins that hold equally many cases.",
        better="lower",
        centred=True,
    ),
    "mae": Metric("Mean absolute error", "Mean distance between prediction and truth.", "value", "lower"),
    "rmse": Metric("Root mean squared error", "As above, large errors counting more.", "value", "lower"),
    "r2": Metric("R²", "Share of the variance explained; 0 for always predicting the mean.", chance=0.0),
    "spearman": Metric("Spearman correlation", "Correlation of the ranks; 0 says nothing.", chance=0.0),
}
"""Every metric of a ``summary.json`` of labels, in the order of the report."""


class Sampler:
    """Draws the same patients for every metric of a table.

    Args:
        cases: The per-case table.
        resamples: Resamples of the patients; 0 gives no intervals.
    """

    def __init__(self, cases: pd.DataFrame, resamples: int) -> None:
        self._patients = cases["patient_id"].astype(str).to_numpy()
        self._weights = cases["weight"].to_numpy(float) if "weight" in cases else None
        self._resamples = resamples

    def draw(self, measure: Measure) -> Resampled:
        """Take a statistic on all cases and on every resample."""
        return resample(self._patients, measure, self._resamples, _SEED, self._weights)

    def metrics(self, measure: Measure, basis: Basis) -> Facts:
        """Return estimates by name in the order of ``METRICS``; one with too few cases has no value but a ``note``.

        Args:
            measure: The statistics.
            basis: How many cases count in each.
        """
        found = self.draw(measure)
        return {name: _estimate(name, found, basis) for name in METRICS if name in found.point}

    def only(self, measure: Measure, names: Iterable[str]) -> Facts:
        """Return estimates of some metrics by name, those that there are."""
        found = self.draw(measure)
        size = len(self._patients)
        return {
            name: found.estimate(name, size, centred=METRICS[name].centred).plain()
            for name in names
            if name in found.point
        }

    def differences(self, ours: Measure, theirs: Measure, names: Iterable[str]) -> Facts:
        """Return by how much metrics of ours exceed those of theirs, with intervals over the same draws."""
        found = self.draw(ours).minus(self.draw(theirs))
        return {name: found.estimate(name, len(self._patients)).plain() for name in names if name in found.point}


def compared(metrics: Facts, answer: str = "") -> Facts:
    """Return the baselines of labels: the metrics of always giving the same answer, and which."""
    return {"constant": {"title": "Constant answer", "answer": answer, "metrics": metrics}}


def question_facts(question: Question, sampler: Sampler) -> Facts:
    """Return everything about one question."""
    constant = question.constant()
    return {
        "metrics": sampler.metrics(question_measure(question), basis_of_question(question)),
        "baselines": compared(sampler.metrics(question_measure(constant), basis_of_question(constant))),
        "confusion": matrix_facts(question.truth, question.decision, ("no", "yes")),
        **drawn_facts(question, sampler),
    }


def drawn_facts(question: Question, sampler: Sampler) -> Facts:
    """Return what is drawn of a question."""
    found = sampler.draw(lambda weights: curves(question, weights))
    return {"reliability": reliability_facts(question, found), "curves": curve_facts(question, found)}


def matrix_facts(truth: NDArray[Any], decision: NDArray[Any], names: tuple[str, ...]) -> Facts:
    """Return a confusion matrix: class indices of the truth in rows, of the decisions in columns."""
    counts = confusion_matrix(truth, decision, len(names))[0].astype(int)
    return {"classes": list(names), "matrix": counts.tolist()}


def _estimate(name: str, found: Resampled, basis: Basis) -> Facts:
    plain: Facts = found.estimate(name, basis.sizes.get(name, basis.cases), centred=METRICS[name].centred).plain()
    if name in basis.lacks:
        return {**plain, "value": None, "low": None, "high": None, "note": basis.lacks[name]}
    return {**plain, "note": basis.notes[name]} if name in basis.notes else plain
