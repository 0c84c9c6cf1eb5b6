"""Which labels may be wrong, as confident learning ranks them.

Source: Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels (JAIR 2021).

Shapes: N samples, C classes of which each sample has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.training.answers import Answers

__all__ = ["SURE", "Suspect", "confident_disagreements", "find_suspects", "loss_of_others"]

Floats64 = NDArray[np.float64]

SURE = 0.1
"""Up to this probability of its label a sample is answered surely otherwise."""


@dataclass(frozen=True)
class Suspect:
    """A validation sample whose label may be wrong.

    Args:
        place: Position among the validation samples.
        given: Its label.
        suggested: What the network is confident of.
        probability: Probability that the network gives the label it has.
        confidence: Probability of what is suggested.
    """

    place: int
    given: str
    suggested: str
    probability: float
    confidence: float


def confident_disagreements(probabilities: Floats64, given: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return which samples the network is confident to be of another class than they are said to be.

    It is confident of a class where its probability is at least the mean probability of that class over the samples
    that are said to be of it. What counts is the most probable class that it is confident of.

    Args:
        probabilities: ``(N, C)``, of samples that the network did not learn from.
        given: ``(N,)`` indices of classes.

    Returns:
        Positions and suggested classes, ranked by the margin by which the label's probability is below that of the
        most probable other class.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05], [0.2, 0.8]])
        >>> confident_disagreements(probabilities, np.array([0, 0, 1, 1, 1]))
        [(3, 0)]
    """
    count, classes = probabilities.shape
    own = given[:, None] == np.arange(classes)
    held = own.sum(axis=0)
    limits = np.where(held > 0, (probabilities * own).sum(axis=0) / np.maximum(held, 1), np.inf)
    confident = np.where(probabilities >= limits, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    found = np.flatnonzero((confident.max(axis=1) >= 0) & (suggested != given))
    margin = probabilities[np.arange(count), given] - np.where(own, -1.0, probabilities).max(axis=1)
    ranked = found[np.argsort(margin[found], kind="stable")]
    return [(int(place), int(suggested[place])) for place in ranked]


def find_suspects(answers: Answers) -> list[Suspect]:
    """Return the validation samples whose label may be wrong, those with the largest disagreement first.

    Args:
        answers: Of a validation pass; probabilities may be means over several. Numbers have no suspects. Labels that
            do not exclude each other are looked at one by one.
    """
    if answers.probabilities is None:
        return []
    if answers.exclusive:
        known = np.asarray(~np.isnan(answers.truth).any(axis=1))
        given = np.nan_to_num(answers.truth).argmax(axis=1)
        return _suspects(answers.probabilities, given, known, answers.names)
    found: list[Suspect] = []
    for column, name in enumerate(answers.names):
        truth, yes = answers.truth[:, column], answers.probabilities[:, column]
        pair, names = np.stack([1 - yes, yes], axis=1), (f"no {name}", name)
        found += _suspects(pair, np.nan_to_num(truth).astype(np.int64), ~np.isnan(truth), names)
    return sorted(found, key=lambda one: one.probability - one.confidence)


def loss_of_others(answers: Answers) -> float | None:
    """Return the mean cross-entropy over the labels that are not answered surely otherwise; None if there are none.

    Args:
        answers: As in ``find_suspects``.
    """
    if answers.probabilities is None:
        return None
    yes, no = answers.truth == 1, (answers.truth == 0) & (not answers.exclusive)
    given = np.concatenate([answers.probabilities[yes], 1 - answers.probabilities[no]])
    others = given[given > SURE]
    return float(-np.log(others).mean()) if len(others) else None


def _suspects(
    probabilities: Floats64, given: NDArray[np.int64], known: NDArray[np.bool_], names: tuple[str, ...]
) -> list[Suspect]:
    places = np.flatnonzero(known)
    pairs = confident_disagreements(probabilities[places], given[places]) if len(places) else []
    return [
        Suspect(
            int(places[at]),
            names[given[places[at]]],
            names[suggested],
            round(float(probabilities[places[at], given[places[at]]]), 4),
            round(float(probabilities[places[at], suggested]), 4),
        )
        for at, suggested in pairs
    ]
