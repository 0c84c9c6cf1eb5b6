"""What is to be explained, and how much there is of it in an answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.inference.calibration import logit_of
from medloom.targets import Activation

__all__ = ["Asked", "evidence"]

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Asked:
    """An output of the network that is asked about.

    Args:
        name: Of the class, label or number.
        output: Which output, from 0.
        against: Whether what speaks against the output is asked for: for the first of two classes, of which the only
            output is the second.
        found: Of masks whether there is any of the class in the answer; if not, all pixels are asked about.
        region: Of masks the pixels that are asked about, ``(h, w)`` on the network's grid; None for the whole image.
    """

    name: str
    output: int
    against: bool = False
    found: bool = True
    region: NDArray[np.bool_] | None = None


def evidence(answers: Floats32, asked: Asked, activation: Activation) -> Floats64:
    """Return how much speaks for what is asked about: the log-odds, or the number itself where numbers are predicted.

    Args:
        answers: ``(N, K)`` or ``(N, K, h, w)`` as a runtime gives them, not calibrated: a calibration by temperature or
            shift only stretches and moves log-odds.
        asked: What is asked about; of masks the mean over its pixels is taken.
        activation: How the network made its answers.

    Returns:
        ``(N,)``.

    Example:
        >>> evidence(np.array([[0.5], [0.9]], np.float32), Asked("ill", 0), "sigmoid").round(3).tolist()
        [0.0, 2.197]
    """
    chosen = answers[:, asked.output]
    found = chosen.astype(np.float64) if activation == "identity" else logit_of(chosen)
    if asked.region is not None:
        found = found[:, asked.region].mean(axis=1)
    return np.asarray(-found if asked.against else found)
