"""Choosing from which probability on a case is called positive, on validation cases alone.

Rules, for a question with yes and no:

- ``youden``: the most sensitivity plus specificity (Youden's J);
- ``sensitivity``: of the thresholds that reach a fixed sensitivity, the one with the highest specificity;
- ``cost``: the least cost, where a missed positive costs ``cost_ratio`` false positives.

Every threshold that changes a decision is tried: half-way between neighbouring scores, so that rounding moves no
case across, and beyond both ends. Of thresholds that are equally good, the lowest: it misses fewest; for
``sensitivity``, the highest that still reaches it. With several labels each has its own threshold; of several
classes the most probable is decided for, the first of equal ones, and there is nothing to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medloom.metrics import FEWEST_CASES, counts_at
from medloom.recipe.kinds.labels import ClassesEvaluate
from medloom.wording import counted

__all__ = ["PLAIN_THRESHOLD", "Rule", "choose_threshold", "note_of", "thresholds_text"]

Floats64 = NDArray[np.float64]

PLAIN_THRESHOLD = 0.5
"""What is taken where validation holds no choice."""

_CLOSE = 1e-9


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen.

    Args:
        name: ``youden``, ``sensitivity`` or ``cost``; see this module.
        min_sensitivity: The sensitivity to reach, for ``sensitivity``.
        cost_ratio: What a missed positive costs in false positives, for ``cost``.
    """

    name: Literal["youden", "sensitivity", "cost"] = "youden"
    min_sensitivity: float = 0.95
    cost_ratio: float = 1.0

    @classmethod
    def of(cls, section: ClassesEvaluate) -> Self:
        """Take what a recipe's ``evaluate`` says."""
        return cls(section.rule, section.min_sensitivity, section.cost_ratio)

    @property
    def words(self) -> str:
        """The rule in words."""
        return {
            "youden": "most sensitivity plus specificity on the validation cases (Youden)",
            "sensitivity": f"highest threshold that reaches a sensitivity of {self.min_sensitivity:g} on the "
            "validation cases",
            "cost": f"least cost on the validation cases, where a missed positive costs {self.cost_ratio:g} false "
            "positives",
        }[self.name]


def choose_threshold(truth: ArrayLike, score: ArrayLike, rule: Rule) -> float:
    """Choose the threshold of one question.

    Args:
        truth: Whether each validation case is positive, shape (N,).
        score: Its probability, shape (N,), 0 to 1.
        rule: By which rule.

    Returns:
        The threshold, 0 to 1; 0.5 where the cases are all positive or all negative.

    Example:
        >>> choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], Rule())
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
    hits, wrong = (counts[0] for counts in counts_at(true, scores, thresholds))
    if rule.name == "sensitivity":
        reaching = thresholds[hits >= rule.min_sensitivity * positive - _CLOSE]
        return _tidy(reaching[-1], scores)
    loss = {
        "youden": wrong / negative - hits / positive,
        "cost": rule.cost_ratio * (positive - hits) + wrong,
    }[rule.name]
    return _tidy(thresholds[np.flatnonzero(loss <= loss.min() + _CLOSE)[0]], scores)


def note_of(name: str, truth: Floats64, score: Floats64, threshold: float) -> str:
    """Return what a reader should know of a threshold that was chosen; empty if there is nothing.

    Args:
        name: Name of the question.
        truth: Whether each validation case is positive, shape (N,).
        score: Its probability, shape (N,).
        threshold: What was chosen.
    """
    called = int((score >= threshold).sum())
    if not 0 < truth.sum() < len(truth):
        return f"{name}: validation holds one class only, so {PLAIN_THRESHOLD} was taken"
    if called in (0, len(score)):
        which = "no" if called == 0 else "every"
        return f"{name}: by this rule {which} validation case is called positive, so nothing is told apart"
    positives, fewer = int(truth.sum()), int(min(truth.sum(), len(truth) - truth.sum()))
    if fewer < FEWEST_CASES:
        what = "positive" if positives == fewer else "negative"
        return f"{name}: the threshold was chosen with {counted(fewer, f'{what} validation case')}, which may be chance"
    return ""


def thresholds_text(names: Sequence[str], thresholds: Sequence[float], rule: str) -> str:
    """Say in one sentence from where on each question is answered with yes.

    Args:
        names: Names of the questions.
        thresholds: One for each; none where the decisions were not made by thresholds.
        rule: How they were chosen, in words.
    """
    if not thresholds:
        return f"Decided by {rule}."
    limits = ", ".join(f"{name} from probability {at:.3g} on" for name, at in zip(names, thresholds, strict=True))
    return f"{limits}: {rule}."


def _candidates(score: Floats64) -> Floats64:
    """Everything that changes a decision, ascending: 0, half-way between scores, and beyond the highest."""
    scores = np.unique(score)
    halfway = (scores[1:] + scores[:-1]) / 2
    # Half-way between neighbours of floating point may be the lower one, which would be called as well.
    between = np.where(halfway > scores[:-1], halfway, scores[1:])
    beyond = [(scores[-1] + 1.0) / 2] if scores[-1] < 1.0 else []
    return np.concatenate([[0.0], between, beyond])


def _tidy(threshold: float, score: Floats64) -> float:
    """The shortest number that decides every case in the same way."""
    below, above = score[score < threshold].max(initial=-1.0), score[score >= threshold].min(initial=1.0)
    rounded = (round(float(threshold), digits) for digits in range(2, 17))
    return next((value for value in rounded if below < value <= above), float(threshold))
