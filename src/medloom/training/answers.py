"""What a network answered in validation, beside the truth, for the rules that watch a training.

Shapes: N validation samples, K classes, labels or numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

__all__ = ["Answers", "Variety", "class_answers", "label_answers", "number_answers", "presence_answers", "yes_answers"]

Floats64 = NDArray[np.float64]
Names = tuple[str, ...]


@dataclass(frozen=True)
class Variety:
    """How much answers differ between samples, beside how much the truth does.

    Args:
        name: Of the class, the label or the number.
        answered: Standard deviation of the answers; 0 where all are the same.
        true: Standard deviation of the truth.
        mean: Mean of the answers: of a class the share of samples that are said to be of it.
        samples: How many have a known truth.
    """

    name: str
    answered: float
    true: float
    mean: float
    samples: int


@dataclass(frozen=True)
class Answers:
    """The answers of a validation pass.

    Args:
        names: Of the K columns.
        answered: ``(N, K)`` yes (1) or no (0) at probability one half, or numbers.
        truth: ``(N, K)`` the same of the truth; NaN where it is not known.
        probabilities: ``(N, K)`` of yes, or None for numbers.
        exclusive: Whether each sample is of one of the K classes, so that a row of probabilities sums to 1.
    """

    names: Names
    answered: Floats64
    truth: Floats64
    probabilities: Floats64 | None = None
    exclusive: bool = False

    def variety(self) -> list[Variety]:
        """Return how much the answers differ, for each column of which some truth is known."""
        found = []
        for column, name in enumerate(self.names):
            known = ~np.isnan(self.truth[:, column])
            said, true = self.answered[known, column], self.truth[known, column]
            if len(true):
                found.append(Variety(name, float(said.std()), float(true.std()), float(said.mean()), len(true)))
        return found


def yes_answers(names: Names, logits: Floats64, truth: Floats64) -> Answers:
    """Return the answers of a network that tells one class from another; ``names`` has the negative class first."""
    return label_answers(names[1:], logits, truth)


def label_answers(names: Names, logits: Floats64, truth: Floats64) -> Answers:
    """Return the answers of outputs each of which is a yes or no: logits ``(N, K)``, labels ``(N, K)``."""
    probabilities = expit(logits)
    return Answers(names, (probabilities >= 0.5).astype(float), truth, probabilities)


def class_answers(names: Names, logits: Floats64, truth: Floats64) -> Answers:
    """Return the answers of one class of several: logits ``(N, K)``, indices ``(N, 1)``."""
    classes = np.arange(len(names))
    known = np.where(np.isnan(truth), np.nan, (truth == classes).astype(float))
    said = (logits.argmax(axis=1)[:, None] == classes).astype(float)
    return Answers(names, said, known, softmax(logits, axis=1), exclusive=True)


def number_answers(names: Names, logits: Floats64, truth: Floats64) -> Answers:
    """Return numbers ``(N, K)`` as they are."""
    return Answers(names, logits, truth)


def presence_answers(probability: Floats64, truth: Floats64) -> Answers:
    """Return whether images hold foreground: the largest probability of a pixel ``(N,)``, and whether there is some."""
    said = (probability >= 0.5).astype(float)
    return Answers(("foreground",), said[:, None], truth[:, None], probability[:, None])
