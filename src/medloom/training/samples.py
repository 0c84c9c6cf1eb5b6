"""What is learned from what: the pixels of a store beside masks, or beside labels and metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Samples"]

Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """Arrays with one row for each row of the store.

    Args:
        images: ``(N, C, H, W)`` in the store's dtype.
        truth: ``(N, H, W)`` class indices, or ``(N, T)`` float32 labels.
        table: ``(N, F)`` float32; F = 0 without metadata.
        offset: ``(N, C)`` float32.
        scale: ``(N, C)`` float32.
        positive: ``(N,)`` whether a sample holds foreground, or is not of the first class.
        context: ``(N, 2k + 1)`` rows that the network sees with each, the lowest first; None for each row by itself.
    """

    images: NDArray[Any]
    truth: NDArray[Any]
    table: Floats32
    offset: Floats32
    scale: Floats32
    positive: NDArray[np.bool_]
    context: NDArray[np.int64] | None = None

    @property
    def channels(self) -> int:
        """How many channels the network sees."""
        return int(self.images.shape[1]) * (1 if self.context is None else self.context.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of the large arrays."""
        return int(self.images.nbytes + self.truth.nbytes)
