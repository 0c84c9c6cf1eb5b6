"""Yes-or-no questions about cases, of which most metrics of labels are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Question"]

Floats64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Question:
    """One yes-or-no question about every case: the only one, one of several, or one class against the rest.

    Args:
        name: The positive class, or the target.
        truth: Whether each case is positive, (N,) bool.
        score: Its probability, (N,) 0 to 1.
        decision: Whether it was called positive, (N,) bool.
    """

    name: str
    truth: NDArray[np.bool_]
    score: Floats64
    decision: NDArray[np.bool_]

    def constant(self) -> Question:
        """Return the best answer that never looks: the more frequent class, and its frequency as probability."""
        share = float(self.truth.mean()) if len(self.truth) else 0.0
        return Question(
            self.name, self.truth, np.full(len(self.truth), share), np.full(len(self.truth), share > 0.5, dtype=bool)
        )
