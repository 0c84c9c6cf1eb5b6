"""Yes-or-no questions about cases, of which most metrics of labels are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
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
        places: Which cases of the table these are; None for all of them. A case of which the truth is not known is
            none of them.
    """

    name: str
    truth: NDArray[np.bool_]
    score: Floats64
    decision: NDArray[np.bool_]
    places: NDArray[np.int64] | None = None

    @classmethod
    def asked(cls, name: str, truth: pd.Series[Any], score: pd.Series[Any], decision: pd.Series[Any]) -> Self:
        """Ask about the cases whose truth is known: 0 or 1, and not NaN."""
        places = np.flatnonzero(truth.notna().to_numpy())
        yes, called = (column.to_numpy()[places] == 1 for column in (truth, decision))
        return cls(name, yes, score.to_numpy(float)[places], called, None if len(places) == len(truth) else places)

    def of(self, weights: Floats64) -> Floats64:
        """Return the weights of its cases, (B, N), among those of all cases of the table."""
        return weights if self.places is None else weights[:, self.places]

    def taken(self, column: pd.Series[Any]) -> pd.Series[Any]:
        """Return what a column of the table holds of its cases."""
        return column if self.places is None else column.iloc[self.places]

    def constant(self) -> Question:
        """Return the best answer that never looks: the more frequent class, and its frequency as probability."""
        share = float(self.truth.mean()) if len(self.truth) else 0.0
        count = len(self.truth)
        return replace(self, score=np.full(count, share), decision=np.full(count, share > 0.5, dtype=bool))
