"""From the per-case table of a classification to every figure that is reported, each with its interval.

The baseline beside the figures always gives the same answer: the more frequent class, with its frequency among
these very cases as probability (of real values their mean). No constant can do better, so what does not beat it has
learnt nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.classification.curves import curve_facts, curves, reliability_facts
from medloom.evaluation.classification.groups import groups, pool_patients
from medloom.evaluation.classification.operating_point import ThresholdChoice
from medloom.evaluation.classification.statistics import (
    Measure,
    question_measure,
    table_measure,
    top_class,
    value_measure,
)
from medloom.evaluation.classification.target import TargetInfo, View, check_cases, views
from medloom.evaluation.figures import Figure, interval_facts, meanings
from medloom.metrics import Resampled, confusion_matrix, resample

__all__ = ["CLASSIFICATION_FIGURES", "classification_summary", "summarise_classification"]

_SEED = 0
_FEWEST_CASES = 10
Facts = dict[str, Any]
Floats = NDArray[np.float64]

CLASSIFICATION_FIGURES: dict[str, Figure] = {
    "roc_auc": Figure(
        "ROC AUC", "Chance that a positive case has a higher score than a negative one; 0.5 says nothing."
    ),
    "average_precision": Figure(
        "Average precision", "Area under precision and recall; without skill, the share of positive cases."
    ),
    "sensitivity": Figure("Sensitivity", "Share of the positive cases that were called positive."),
    "specificity": Figure("Specificity", "Share of the negative cases that were called negative."),
    "precision": Figure(
        "Precision", "Share of the cases called positive that are; it falls with the share of positive cases."
    ),
    "f1": Figure("F1", "Harmonic mean of precision and sensitivity; over several classes their mean."),
    "accuracy": Figure("Accuracy", "Share of the cases decided rightly; compare it with the baseline's."),
    "balanced_accuracy": Figure(
        "Balanced accuracy", "Mean of the shares found of each class; a constant gets 1 / classes."
    ),
    "mcc": Figure("Matthews correlation", "Correlation of truth and decision; 0 says nothing."),
    "exact_match": Figure("Exact match", "Share of the cases with every label decided rightly."),
    "brier": Figure("Brier score", "Mean squared distance of the probabilities from the truth.", better="lower"),
    "log_loss": Figure(
        "Log loss", "Mean negative logarithm of the true class's probability, in nats.", "nats", "lower"
    ),
    "ece": Figure(
        "Calibration error",
        "Expected calibration error: mean distance between probability and share of positive cases in ten bins of "
        "equal width; for several classes, of the most probable one. Chance raises it, and resampling "
        "adds chance: its interval lies high.",
        better="lower",
    ),
    "ece_mass": Figure(
        "Calibration error, equal bins", "The same in ten bins that hold equally many cases.", better="lower"
    ),
    "mae": Figure("Mean absolute error", "Mean distance between prediction and truth.", "value", "lower"),
    "rmse": Figure("Root mean squared error", "As above, large errors counting more.", "value", "lower"),
    "r2": Figure("R²", "Share of the variance explained; 0 for always predicting the mean."),
    "spearman": Figure("Spearman correlation", "Correlation of the ranks; 0 says nothing."),
}
"""Every figure of a classification's ``summary.json`` in the order of the report."""

_HEADLINES = {
    "binary": ("roc_auc", "average_precision", "sensitivity", "specificity"),
    "multi-class": ("balanced_accuracy", "roc_auc", "average_precision", "accuracy"),
    "multi-label": ("roc_auc", "average_precision", "sensitivity", "specificity"),
    "real": ("mae", "rmse", "r2", "spearman"),
}


def classification_summary(
    cases: pd.DataFrame, target: TargetInfo, choice: ThresholdChoice, resamples: int, *, over: str = "patients"
) -> Facts:
    """Return everything that ``summary.json`` of a classification holds.

    Args:
        cases: The per-case table with its decisions; a part for each value of ``split``.
        target: What is predicted.
        choice: The operating point by which the decisions were made.
        resamples: Resamples of the patients for the 95 % intervals; 0 gives no intervals.
        over: What was drawn: ``patients``, or ``images`` where nobody said which images are of one patient.

    Returns:
        ``task``, ``target``, ``operating_point``, ``rule``, ``interval``, ``headlines``, ``test`` (and
        ``validation`` where there is such a part) as from ``summarise_classification``, and ``meanings``.
    """
    splits = cases["split"].to_numpy()
    parts = [split for split in ("validation", "test") if split == "test" or (splits == split).any()]
    return {
        "task": "classification",
        "target": target.plain(),
        "operating_point": {"thresholds": list(choice.thresholds), "notes": list(choice.notes)},
        "rule": choice.rule,
        "interval": interval_facts(resamples, over),
        "headlines": list(_HEADLINES[target.kind]),
        **{split: summarise_classification(cases[splits == split], target, resamples) for split in parts},
        "meanings": meanings(CLASSIFICATION_FIGURES),
    }


def summarise_classification(cases: pd.DataFrame, target: TargetInfo, resamples: int) -> Facts:
    """Take every figure from the cases of one split.

    Args:
        cases: Rows of the per-case table, of one split; see ``TargetInfo`` for its columns.
        target: What is predicted.
        resamples: Resamples of the patients for the 95 % intervals; 0 gives no intervals.

    Returns:
        ``counts``, ``figures`` (name: value, low, high, n, patients), ``baseline``, ``confusion``,
        ``reliability``, ``curves``, ``per_target`` (each class against the rest, or each target, with the same
        entries), ``groups`` and ``per_patient``; plain JSON types, None where a figure is not defined.

    Raises:
        DataError: If the table does not hold what the target says.
    """
    check_cases(cases, target)
    sampler = _Sampler(cases, resamples)
    found: Facts = {
        "counts": _counts(cases, target),
        "figures": sampler.figures(table_measure(cases, target), _sizes(cases, target)),
        "baseline": _baseline(cases, target, sampler),
        "confusion": _confusion(cases, target),
        "reliability": {},
        "curves": {},
        "per_target": {},
        "groups": [_group(*group, target, resamples) for group in groups(cases)],
        "per_patient": _per_patient(cases, target, resamples),
    }
    questions = views(cases, target)
    if target.kind == "binary":
        found |= _drawn(questions[0], sampler)
    elif target.kind == "multi-class":
        found["reliability"] = _drawn(top_class(cases, target), sampler)["reliability"]
    if target.kind in ("multi-class", "multi-label"):
        found["per_target"] = {view.name: _question(view, sampler) for view in questions}
    elif target.kind == "real" and len(target.names) > 1:
        found["per_target"] = _values(cases, target, sampler)
    return found


class _Sampler:
    """Draws the same patients for every figure of a table."""

    def __init__(self, cases: pd.DataFrame, resamples: int) -> None:
        self._patients = cases["patient_id"].astype(str).to_numpy()
        self._weights = cases["weight"].to_numpy(float) if "weight" in cases else None
        self._resamples = resamples

    def draw(self, measure: Measure) -> Resampled:
        return resample(self._patients, measure, self._resamples, _SEED, self._weights)

    def figures(self, measure: Measure, sizes: dict[str, int]) -> Facts:
        """Estimates by name in the order of ``CLASSIFICATION_FIGURES``; ``sizes`` says how many cases count."""
        found, n = self.draw(measure), len(self._patients)
        names = [name for name in CLASSIFICATION_FIGURES if name in found.point]
        return {name: found.estimate(name, sizes.get(name, n)).plain() for name in names}


def _counts(cases: pd.DataFrame, target: TargetInfo) -> Facts:
    """Cases and patients, and how many of them are positive for each class or target."""
    positives = {
        view.name: {
            "cases": int(view.truth.sum()),
            "patients": int(cases["patient_id"][view.truth].nunique()),
            "prevalence": float(view.truth.mean()) if len(view.truth) else None,
        }
        for view in views(cases, target)
    }
    return {"cases": len(cases), "patients": int(cases["patient_id"].nunique()), "positives": positives}


def _sizes(cases: pd.DataFrame, target: TargetInfo) -> dict[str, int]:
    return _question_sizes(views(cases, target)[0]) if target.kind == "binary" else {}


def _question_sizes(view: View) -> dict[str, int]:
    return {
        "sensitivity": int(view.truth.sum()),
        "specificity": int((~view.truth).sum()),
        "precision": int(view.decision.sum()),
    }


def _question(view: View, sampler: _Sampler) -> Facts:
    constant = view.constant()
    return {
        "figures": sampler.figures(question_measure(view), _question_sizes(view)),
        "baseline": {"figures": sampler.figures(question_measure(constant), _question_sizes(constant))},
        "confusion": _matrix(view.truth, view.decision, ("no", "yes")),
        **_drawn(view, sampler),
    }


def _drawn(view: View, sampler: _Sampler) -> Facts:
    """What is drawn of a question."""
    found = sampler.draw(lambda weights: curves(view, weights))
    return {"reliability": reliability_facts(view, found), "curves": curve_facts(view, found)}


def _values(cases: pd.DataFrame, target: TargetInfo, sampler: _Sampler) -> Facts:
    """The figures of each real-valued target."""
    found = {}
    for name, truth, score in zip(target.names, target.truth_columns, target.score_columns, strict=True):
        true, guess = cases[truth].to_numpy(float), cases[score].to_numpy(float)
        mean = np.full(len(true), true.mean() if len(true) else 0.0)
        found[name] = {
            "figures": sampler.figures(value_measure(true, guess), {}),
            "baseline": {"figures": sampler.figures(value_measure(true, mean), {})},
        }
    return found


def _baseline(cases: pd.DataFrame, target: TargetInfo, sampler: _Sampler) -> Facts:
    """Figures of always giving the same answer, and which."""
    constant = _as_constant(cases, target)
    figures = sampler.figures(table_measure(constant, target), _sizes(constant, target))
    if target.kind == "real" or not len(cases):
        return {"answer": "the mean", "figures": figures}
    if target.kind == "multi-label":
        return {"answer": "the more frequent answer for each label", "figures": figures}
    return {"answer": target.names[int(constant["decision"].iloc[0])], "figures": figures}


def _as_constant(cases: pd.DataFrame, target: TargetInfo) -> pd.DataFrame:
    """The table as it would be if every case got the same answer."""
    if not len(cases):
        return cases
    if target.kind == "multi-class":
        truth = cases["truth"].to_numpy().astype(int)
        shares = np.bincount(truth, minlength=len(target.names)) / len(truth)
        scores = dict(zip(target.score_columns, shares, strict=True))
        return cases.assign(decision=int(shares.argmax()), **scores)
    means = {
        score: cases[truth].mean() for truth, score in zip(target.truth_columns, target.score_columns, strict=True)
    }
    decisions = zip(target.decision_columns, means.values(), strict=False)
    return cases.assign(**means, **{name: int(mean > 0.5) for name, mean in decisions})


def _confusion(cases: pd.DataFrame, target: TargetInfo) -> Facts | None:
    if target.kind not in ("binary", "multi-class"):
        return None
    truth, decision = (cases[name].to_numpy() for name in ("truth", "decision"))
    return _matrix(truth, decision, target.names)


def _matrix(truth: NDArray[Any], decision: NDArray[Any], names: tuple[str, ...]) -> Facts:
    counts = confusion_matrix(truth, decision, len(names))[0].astype(int)
    return {"classes": list(names), "matrix": counts.tolist()}


def _group(column: str, value: str, cases: pd.DataFrame, target: TargetInfo, resamples: int) -> Facts:
    """Counts of a group, and its headline figures where they mean something."""
    questions = views(cases, target)
    mixed = [view for view in questions if 0 < view.truth.sum() < len(view.truth)]
    note = ""
    if len(cases) < _FEWEST_CASES:
        note = f"fewer than {_FEWEST_CASES} cases"
    elif questions and not mixed:
        note = "one class only"
    figures = {}
    if not note:
        figures = _Sampler(cases, resamples).figures(table_measure(cases, target), _sizes(cases, target))
    headlines = {name: figures[name] for name in _HEADLINES[target.kind] if name in figures}
    return {"column": column, "value": value, **_counts(cases, target), "figures": headlines or None, "note": note}


def _per_patient(cases: pd.DataFrame, target: TargetInfo, resamples: int) -> Facts | None:
    pooled = pool_patients(cases, target)
    if pooled is None:
        return None
    figures = _Sampler(pooled, resamples).figures(table_measure(pooled, target), _sizes(pooled, target))
    return {"counts": _counts(pooled, target), "figures": figures, "confusion": _confusion(pooled, target)}
