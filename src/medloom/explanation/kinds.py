"""What is asked about for each kind of answer: the one table by which this room tells kinds apart."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.explanation.asked import Asked
from medloom.explanation.labels import FIRST, LIKELIEST, TWO
from medloom.explanation.masks import Masks
from medloom.inference import Predictor
from medloom.inference.answers import Point
from medloom.targets import Target

__all__ = ["KINDS", "Asking", "ask"]


class Asking(Protocol):
    """Chooses what is asked about."""

    def ask(self, answer: NDArray[np.float32], target: Target, point: Point, name: str = "") -> Asked:
        """Return what is asked about; see ``ask`` below."""
        ...


KINDS: dict[str, Asking] = {
    "masks": Masks(),
    "binary": TWO,
    "multi-class": LIKELIEST,
    "multi-label": LIKELIEST,
    "regression": FIRST,
}
"""By the target's kind."""


def ask(predictor: Predictor, answer: NDArray[np.float32], name: str = "") -> Asked:
    """Return what of an answer is asked about.

    Args:
        predictor: The model.
        answer: What its network says about one image, ``(K,)`` or ``(K, h, w)``.
        name: A class, label or number by its name; empty for the usual one: of two classes the second, of several
            classes or labels the likeliest, of numbers the first, of masks the foreground class with the most pixels.

    Raises:
        UserError: If there is no such name.
    """
    return KINDS[predictor.target.kind].ask(answer, predictor.target, predictor.point, name)
