"""Choosing from which probability on a case is called positive, on validation cases alone.

Rules, for a question with yes and no:

- ``youden``: the most sensitivity plus specificity (Youden's J);
- ``sensitivity``: of the thresholds that reach a fixed sensitivity, the one with the highest specificity;
- ``cost``: the least cost, where a missed positive costs ``cost_ratio`` false alarms.

Every threshold that changes a decision is tried: half-way between neighbouring scores, so that rounding moves no
case across, and beyond both ends. Of thresholds that are equally good, the lowest: it misses fewest; for
``sensitivity``, the highest that still reaches it. With several labels each has its own threshold; of several
classes the most probable is decided for, the first of equal ones, and there is nothing to choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from medloom.evaluation.classification.target import TargetInfo
from medloom.metrics import counts_at
from medloom.recipe import EvaluateConfig

__all__ = ["PLAIN_THRESHOLD", "WITHOUT_THRESHOLD", "ThresholdChoice", "choose_threshold", "choose_thresholds", "decide"]

Floats = NDArray[np.float64]

PLAIN_THRESHOLD = 0.5
"""What is taken where validation holds no choice."""

WITHOUT_THRESHOLD: dict[str, str] = {
    "multi-class": "the most probable class; of equally probable ones the first",
    "real": "the predicted value",
}
"""By which rule the kinds are answered that have no threshold."""

_CLOSE = 1e-9


@dataclass(frozen=True)
class ThresholdChoice:
    """The operating point.

    Args:
        thresholds: From which probability on each question is answered with yes; empty where the most probable
            class is decided for or values are predicted.
        rule: How they were chosen, in words.
        notes: What a reader should know, such as a target without a positive validation case.
    """

    thresholds: tuple[float, ...]
    rule: str
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"thresholds": list(self.thresholds), "rule": self.rule, "notes": list(self.notes)}


def choose_thresholds(cases: pd.DataFrame, target: TargetInfo, config: EvaluateConfig) -> ThresholdChoice:
    """Choose the operating point.

    Args:
        cases: Validation rows of the per-case table; ``decision`` is not looked at.
        target: What is predicted.
        config: ``threshold``, ``rule``, ``min_sensitivity`` and ``cost_ratio`` of the recipe.

    Returns:
        One threshold for ``binary``, one a target for ``multi-label``, none otherwise.
    """
    if target.kind in WITHOUT_THRESHOLD:
        return ThresholdChoice((), WITHOUT_THRESHOLD[target.kind])
    pairs = list(zip(target.truth_columns, target.score_columns, strict=True))
    if config.threshold != "auto":
        return ThresholdChoice((config.threshold,) * len(pairs), "fixed in the recipe: threshold")
    names = target.names[1:] if target.kind == "binary" else target.names
    chosen, notes = [], []
    for name, (truth, score) in zip(names, pairs, strict=True):
        values, scores = cases[truth].to_numpy(float), cases[score].to_numpy(float)
        chosen.append(choose_threshold(values, scores, config))
        called = int((scores >= chosen[-1]).sum())
        if not 0 < values.sum() < len(values):
            notes.append(f"{name}: validation holds one class only, so {PLAIN_THRESHOLD} was taken")
        elif called in (0, len(scores)):
            which = "no" if called == 0 else "every"
            notes.append(f"{name}: by this rule {which} validation case is called positive, so nothing is told apart")
    return ThresholdChoice(tuple(chosen), describe_rule(config), tuple(notes))


def choose_threshold(truth: ArrayLike, score: ArrayLike, config: EvaluateConfig) -> float:
    """Choose the threshold of one question by the recipe's rule.

    Args:
        truth: Whether each validation case is positive, shape (N,).
        score: Its probability, shape (N,), 0 to 1.
        config: ``rule``, ``min_sensitivity`` and ``cost_ratio``.

    Returns:
        The threshold, 0 to 1; 0.5 where the cases are all positive or all negative.

    Example:
        >>> choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], EvaluateConfig())
        0.4

    Source:
        Youden, Index for rating diagnostic tests, Cancer 3 (1950)
    """
    true = np.asarray(truth, float)
    positive, negative = true.sum(), (1 - true).sum()
    if not positive or not negative:
        return PLAIN_THRESHOLD
    scores = np.asarray(score, float)
    thresholds = _candidates(scores)
    hits, alarms = (counts[0] for counts in counts_at(true, scores, thresholds))
    if config.rule == "sensitivity":
        reaching = thresholds[hits >= config.min_sensitivity * positive - _CLOSE]
        return _tidy(reaching[-1], scores)
    loss = {
        "youden": alarms / negative - hits / positive,
        "cost": config.cost_ratio * (positive - hits) + alarms,
    }[config.rule]
    return _tidy(thresholds[np.flatnonzero(loss <= loss.min() + _CLOSE)[0]], scores)


def describe_rule(config: EvaluateConfig) -> str:
    """Say the rule in words."""
    return {
        "youden": "most sensitivity plus specificity on the validation cases (Youden)",
        "sensitivity": f"highest threshold that reaches a sensitivity of {config.min_sensitivity:g} on the "
        "validation cases",
        "cost": f"least cost on the validation cases, where a missed positive costs {config.cost_ratio:g} false alarms",
    }[config.rule]


def decide(cases: pd.DataFrame, target: TargetInfo, thresholds: tuple[float, ...]) -> pd.DataFrame:
    """Return the table with its decisions made.

    Args:
        cases: The per-case table with its scores.
        target: What is predicted.
        thresholds: Of the operating point.

    Returns:
        A copy with the columns ``decision…``.
    """
    if target.kind == "real":
        return cases.copy()
    if target.kind == "multi-class":
        return cases.assign(decision=cases[target.score_columns].to_numpy(float).argmax(axis=1))
    trio = zip(target.score_columns, target.decision_columns, thresholds, strict=True)
    return cases.assign(**{decision: (cases[score] >= threshold).astype(int) for score, decision, threshold in trio})


def _candidates(score: Floats) -> Floats:
    """Everything that changes a decision, ascending: 0, half-way between scores, and beyond the highest."""
    scores = np.unique(score)
    halfway = (scores[1:] + scores[:-1]) / 2
    # Half-way between neighbours of floating point may be the lower one, which would be called as well.
    between = np.where(halfway > scores[:-1], halfway, scores[1:])
    beyond = [(scores[-1] + 1.0) / 2] if scores[-1] < 1.0 else []
    return np.concatenate([[0.0], between, beyond])


def _tidy(threshold: float, score: Floats) -> float:
    """The shortest number that decides every case in the same way."""
    below, above = score[score < threshold].max(initial=-1.0), score[score >= threshold].min(initial=1.0)
    rounded = (round(float(threshold), digits) for digits in range(2, 17))
    return next((value for value in rounded if below < value <= above), float(threshold))
