"""Whether probabilities hold elsewhere: in the mean, and as the slope and intercept of a logistic recalibration.

Source: Cox, Two further applications of a model for binary regression, Biometrika 45 (1958); Van Calster et al.,
Calibration: the Achilles heel of predictive analytics, BMC Medicine 17 (2019)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from medloom.evaluation.labels import KINDS
from medloom.inference.calibration import logit_of
from medloom.metrics import FEWEST_CASES, fit_sigmoid
from medloom.targets import Target

__all__ = ["recalibration_facts"]

_SLOPES = (-20.0, 20.0)


def recalibration_facts(table: pd.DataFrame, target: Target) -> dict[str, dict[str, Any]]:
    """Return for each yes-or-no question how its probabilities would have to be corrected on these cases.

    Args:
        table: The per-case table.
        target: What is predicted.

    Returns:
        By question: ``expected`` (mean probability), ``observed`` (share of positives), ``slope`` (1 is right, below 1
        the probabilities are too far from each other, below 0 they point the wrong way) and ``intercept`` (0 is right);
        no slope from too few cases, and nothing for masks and numbers.
    """
    measured = KINDS.get(target.kind)
    questions = measured(target).questions(table) if measured is not None and len(table) else []
    found = {}
    for question in questions:
        positives = int(question.truth.sum())
        slope, intercept = None, None
        if min(positives, len(question.truth) - positives) >= FEWEST_CASES:
            logits = logit_of(question.score.astype(np.float32))
            slope, intercept = fit_sigmoid(logits, question.truth, shift=True, scales=_SLOPES)
        found[question.name] = {
            "expected": float(question.score.mean()) if len(question.score) else None,
            "observed": float(question.truth.mean()) if len(question.truth) else None,
            "slope": slope,
            "intercept": intercept,
        }
    return found
