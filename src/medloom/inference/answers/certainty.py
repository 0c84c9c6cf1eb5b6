"""What an answer says of how sure it is, in a few numbers: what ``medloom.inference.quality`` goes by.

All are taken from calibrated probabilities, on the network's own grid, in float64. ``docs/bundle.md`` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medloom.inference.calibration import logit_of
from medloom.inference.postprocess import foreground_probability

__all__ = [
    "OF_CLASSES",
    "OF_LABELS",
    "OF_MASKS",
    "OF_TWO",
    "class_certainty",
    "label_certainty",
    "mask_certainty",
    "two_class_certainty",
]

Floats32 = NDArray[np.float32]

OF_MASKS = ("size", "empty", "overlap", "missed", "doubt")
OF_TWO = ("margin", "positive", "margin_if_positive")
OF_CLASSES = ("margin", "entropy")
OF_LABELS = ("nearest", "entropy")

_FARTHEST = 20.0
"""A margin beyond it, in natural logarithms of odds, says no more than one of it."""


def mask_certainty(probabilities_khw: Floats32, mask_hw: NDArray[np.bool_]) -> tuple[float, ...]:
    """Return the numbers ``OF_MASKS``.

    ``size`` is the logarithm of the mask's pixels (plus one) by that of all pixels, ``empty`` 1 where there are none.
    ``overlap`` is the Dice coefficient of the mask and the foreground probability (0 of an empty mask), ``missed`` the
    largest probability outside the mask, and ``doubt`` the logarithm of one plus the entropy of all pixels (bits) by
    the pixels that are expected or found.

    Args:
        probabilities_khw: ``(K, h, w)``, calibrated, before small regions are erased.
        mask_hw: ``(h, w)``, where the answer has foreground.
    """
    p = foreground_probability(probabilities_khw).astype(np.float64)
    found, expected = int(np.count_nonzero(mask_hw)), float(p.sum())
    shared = float(p[mask_hw].sum())
    outside = float(np.max(p[~mask_hw], initial=0.0))
    unsure = p[(p > 0.0) & (p < 1.0)]
    entropy = -float((unsure * np.log2(unsure) + (1.0 - unsure) * np.log2(1.0 - unsure)).sum())
    return (
        math.log1p(found) / math.log1p(p.size),
        float(found == 0),
        2.0 * shared / (found + expected) if found else 0.0,
        outside,
        math.log1p(entropy / (found + expected + 1.0)),
    )


def two_class_certainty(scores: Sequence[float], threshold: float) -> tuple[float, ...]:
    """Return the numbers ``OF_TWO``: how far the log-odds lie from those of the threshold, and on which side.

    Args:
        scores: The network's probability of the second class, calibrated.
        threshold: From where it is the second class.
    """
    positive = float(scores[0] >= threshold)
    margin = _apart(scores[0], threshold)
    return (margin, positive, margin * positive)


def class_certainty(scores: Sequence[float]) -> tuple[float, ...]:
    """Return the numbers ``OF_CLASSES``: how far the likeliest class is before the next, and the entropy.

    Args:
        scores: Probability of each class, calibrated.
    """
    first, second = sorted(map(float, scores), reverse=True)[:2]
    smallest = float(np.finfo(np.float32).tiny)
    margin = math.log(max(first, smallest)) - math.log(max(second, smallest))
    entropy = -sum(p * math.log2(p) for p in scores if p > 0.0) / math.log2(len(scores))
    return (min(margin, _FARTHEST), entropy)


def label_certainty(scores: Sequence[float], thresholds: Sequence[float]) -> tuple[float, ...]:
    """Return the numbers ``OF_LABELS``: the least distance of log-odds from a threshold, and the mean entropy.

    Args:
        scores: Probability of each label, calibrated.
        thresholds: From where each is on.
    """
    nearest = min(_apart(score, limit) for score, limit in zip(scores, thresholds, strict=True))
    return (nearest, sum(map(_bits, scores)) / len(scores))


def _apart(score: float, threshold: float) -> float:
    one, other = logit_of(np.array([score, threshold], np.float32))
    return min(abs(float(one) - float(other)), _FARTHEST)


def _bits(p: float) -> float:
    """The entropy of a yes-or-no question in bits."""
    return -sum(q * math.log2(q) for q in (p, 1.0 - p) if q > 0.0)
