"""What all metrics on two masks begin with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bits", "Mask", "both_set"]

Mask = NDArray[Any]
Bits = NDArray[np.bool_]


def both_set(truth: Mask, predicted: Mask) -> tuple[Bits, Bits]:
    """Return where either mask is set.

    Raises:
        ValueError: If the shapes differ.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the masks differ in shape: truth {truth.shape}, predicted {predicted.shape}")
    return truth.astype(bool), predicted.astype(bool)
