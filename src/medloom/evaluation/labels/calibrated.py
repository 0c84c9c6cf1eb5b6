"""What a calibration changed on the cases that are measured: the metrics of probabilities before and after it."""

from __future__ import annotations

import pandas as pd

from medloom.evaluation.family import Facts
from medloom.evaluation.labels.measured import Measured
from medloom.evaluation.labels.questions import Question
from medloom.evaluation.labels.sampling import Sampler
from medloom.evaluation.labels.statistics import Measure, question_measure
from medloom.evaluation.tables import UNCALIBRATED
from medloom.metrics import chance_calibration_error

__all__ = ["OF_PROBABILITIES", "calibration_facts"]

OF_PROBABILITIES = ("ece", "ece_mass", "brier", "log_loss")
"""The metrics that a calibration is to mend."""


def calibration_facts(cases: pd.DataFrame, labels: Measured, sampler: Sampler) -> Facts:
    """Return the metrics of probabilities without the calibration, and by how much it changed them.

    Args:
        cases: The per-case table of one split.
        labels: What is predicted.
        sampler: Draws the patients, the same for both.

    Returns:
        ``before``, and ``change`` (after minus before, over the same resamples), for several labels also
        ``per_target`` with both for each; of one question alone ``chance``, the error that the calibrated probabilities
        would have if they were exactly right. Nothing where nothing was calibrated.
    """
    own = [f"{UNCALIBRATED}{name}" for name in labels.score_columns]
    if not len(cases) or not set(own) <= set(cases):
        return {}
    fill = {name: cases[before].fillna(cases[name]) for name, before in zip(labels.score_columns, own, strict=True)}
    without = cases.assign(**fill)
    found = _compared(labels.statistics(cases), labels.statistics(without), sampler)
    pairs = list(zip(labels.questions(cases), labels.questions(without), strict=True))
    each = {now.name: _of(now, before, sampler) for now, before in pairs}
    return {**each[pairs[0][0].name], "per_target": {}} if len(pairs) == 1 else {**found, "per_target": each}


def _of(now: Question, before: Question, sampler: Sampler) -> Facts:
    compared = _compared(question_measure(now), question_measure(before), sampler)
    return {**compared, "chance": chance_calibration_error(now.score)} if len(now.score) else compared


def _compared(now: Measure, before: Measure, sampler: Sampler) -> Facts:
    return {
        "before": sampler.only(before, OF_PROBABILITIES),
        "after": sampler.only(now, OF_PROBABILITIES),
        "change": sampler.differences(now, before, OF_PROBABILITIES),
    }
