"""What the audit and the data report need of a pixel store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["StoredPixels", "blocks", "evenly"]

_BLOCK = 32


class StoredPixels(Protocol):
    """Decoded images and masks by row, memory-mapped or in memory."""

    @property
    def images(self) -> npt.NDArray[Any]:
        """Images (N, C, h, w) in their narrow dtype."""

    @property
    def masks(self) -> npt.NDArray[np.uint8]:
        """Class indices (N, h, w)."""

    def rows(self, sample_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each sample."""


def blocks(images: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[Any]]:
    """Yield images of ``rows`` a few at a time, so that a set larger than the memory can be read."""
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        follow = bool((np.diff(some) == 1).all())
        yield np.asarray(images[some[0] : some[-1] + 1] if follow else images[some])  # a slice copies nothing


def evenly(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most ``most`` indices below ``count``, evenly spaced, the first and the last among them."""
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
