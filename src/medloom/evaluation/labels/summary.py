"""From the per-case table of labels to every metric that is reported, each with its interval.

The baseline beside the metrics always gives the same answer: the more frequent class, with its frequency among
these very cases as probability (of numbers their mean). No constant can do better, so what does not beat it has
learnt nothing.
"""

from __future__ import annotations

import pandas as pd

from medloom.evaluation.family import Facts
from medloom.evaluation.labels.beside import baseline_facts, baseline_notes
from medloom.evaluation.labels.calibrated import calibration_facts
from medloom.evaluation.labels.chance import chance_notes
from medloom.evaluation.labels.expected import review_of
from medloom.evaluation.labels.groups import groups
from medloom.evaluation.labels.measured import Measured
from medloom.evaluation.labels.sampling import Sampler, compared

__all__ = ["summarise"]

_FEWEST_CASES = 10


def summarise(cases: pd.DataFrame, labels: Measured, resamples: int) -> Facts:
    """Take every metric from the cases of one split.

    Args:
        cases: Rows of the per-case table, of one split; see ``Measured`` for its columns.
        labels: What is predicted.
        resamples: Resamples of the patients for the 95 % intervals; 0 gives no intervals.

    Returns:
        ``counts``, ``metrics`` (name: value, low, high, n, patients), ``baselines``, ``calibration`` (see
        ``calibration_facts``), ``review`` (see ``review_facts``), ``cautions`` (a sentence for
        each headline whose interval includes what chance gets, and for each cheap model that is about as good),
        ``confusion``, ``reliability``, ``curves``, ``per_target`` (each class against the rest, or each target, with
        the same entries), ``groups`` and ``per_patient``; plain JSON types, None where a metric is not defined.

    Raises:
        DataError: If the table does not hold what the target says.
    """
    labels.check(cases)
    sampler = Sampler(cases, resamples)
    constant = labels.constant(cases) if len(cases) else cases
    metrics = sampler.metrics(labels.statistics(cases), labels.basis(cases))
    baseline = sampler.metrics(labels.statistics(constant), labels.basis(constant))
    cheap = baseline_facts(cases, labels, sampler) if len(cases) else {}
    chance = chance_notes(metrics, baseline, labels.headlines)
    return {
        "counts": _counts(cases, labels),
        "metrics": metrics,
        "baselines": compared(baseline, labels.constant_answer(constant)) | cheap,
        "calibration": calibration_facts(cases, labels, sampler),
        "review": review_of(cases, labels, resamples),
        "cautions": [*chance, *baseline_notes(metrics, cheap, labels.headlines[0])],
        "confusion": labels.confusion(cases),
        **{"reliability": {}, "curves": {}, **labels.drawn(cases, sampler)},
        "per_target": labels.per_target(cases, sampler),
        "groups": [_group(*group, labels, resamples) for group in groups(cases)],
        "per_patient": _per_patient(cases, labels, resamples),
    }


def _counts(cases: pd.DataFrame, labels: Measured) -> Facts:
    """Images and patients, and how many of them are positive for each class or target."""
    positives = {
        question.name: {
            "images": int(question.truth.sum()),
            "patients": int(question.taken(cases["patient_id"])[question.truth].nunique()),
            "prevalence": float(question.truth.mean()) if len(question.truth) else None,
            **({} if question.places is None else {"unknown": len(cases) - len(question.truth)}),
        }
        for question in labels.questions(cases)
    }
    return {"images": len(cases), "patients": int(cases["patient_id"].nunique()), "positives": positives}


def _group(column: str, value: str, cases: pd.DataFrame, labels: Measured, resamples: int) -> Facts:
    """Counts of a group, and its headline metrics where they mean something."""
    questions = labels.questions(cases)
    mixed = [question for question in questions if 0 < question.truth.sum() < len(question.truth)]
    note = ""
    if len(cases) < _FEWEST_CASES:
        note = f"fewer than {_FEWEST_CASES} cases"
    elif questions and not mixed:
        note = "one class only"
    metrics = {}
    if not note:
        metrics = Sampler(cases, resamples).metrics(labels.statistics(cases), labels.basis(cases))
    headlines = {name: metrics[name] for name in labels.headlines if name in metrics}
    return {"column": column, "value": value, **_counts(cases, labels), "metrics": headlines or None, "note": note}


def _per_patient(cases: pd.DataFrame, labels: Measured, resamples: int) -> Facts | None:
    pooled = labels.pooled(cases)
    if pooled is None:
        return None
    metrics = Sampler(pooled, resamples).metrics(labels.statistics(pooled), labels.basis(pooled))
    return {
        "patients": len(pooled),
        "rule": labels.pooling,
        "metrics": metrics,
        "confusion": labels.confusion(pooled),
    }
