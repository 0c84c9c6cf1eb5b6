"""How far one image is from those that a model learned from, as an answer says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Novelty"]

_DIGITS = 4


@dataclass(frozen=True)
class Novelty:
    """How far an image is from those that a model learned from; see ``medloom.inference.fingerprint``.

    Args:
        score: Above 1 it is set apart; below, the nearer to 0 the more usual.
        warnings: In which respect, a sentence each; empty for one that is not set apart.
        measured: ``(42,)`` what is measured of it.
        embedded: ``(D,)`` what the network makes of it, in standard deviations of the training images; none where the
            model cannot say.
    """

    score: float
    warnings: tuple[str, ...] = ()
    measured: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    embedded: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False, repr=False)

    @property
    def flagged(self) -> bool:
        """Whether it is set apart."""
        return self.score > 1.0

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types: the score and whether the image is set apart."""
        return {"score": float(f"{self.score:.{_DIGITS}g}"), "flagged": self.flagged}
