"""Histograms with bins that never change, so that those of different steps can be laid beside each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

__all__ = ["GRADIENTS", "OUTPUTS", "Bins", "Thinned"]

_MOST = 40


@dataclass(frozen=True)
class Bins:
    """Bins between edges, one below the first and one above the last.

    Args:
        edges: In order.
        absolute: Whether only the size of values counts.
    """

    edges: tuple[float, ...]
    absolute: bool = False

    @cached_property
    def _tensor(self) -> Tensor:
        return torch.tensor(self.edges)

    def count(self, values: Tensor) -> Tensor:
        """Return how many values are in each bin, ``(len(edges) + 1,)``; those that are no number count nowhere."""
        sizes = values.float().abs() if self.absolute else values.float()
        places = torch.bucketize(sizes[~sizes.isnan()], self._tensor.to(values.device))
        return torch.bincount(places, minlength=len(self.edges) + 1)


_DECADES = tuple(10.0**exponent for exponent in range(-3, 3))
GRADIENTS = Bins(tuple(10.0 ** (half / 2) for half in range(-24, 5)), absolute=True)
"""Half a decade each, from 1e-12 to 100."""

OUTPUTS = Bins(
    tuple(
        [-one for one in reversed([value for ten in _DECADES for value in (ten, 3 * ten)])]
        + [value for ten in _DECADES for value in (ten, 3 * ten)]
    )
)
"""About half a decade each, from 0.001 to 300 on either side of zero; the middle one holds zero."""


@dataclass
class Thinned:
    """Entries of a training of any length, few enough for a report: every so many, evenly from the first on.

    Args:
        entries: What is kept.
        seen: How many entries came.
        stride: Every how manieth is kept.

    Example:
        >>> kept = Thinned()
        >>> for step in range(100):
        ...     kept.add(step)
        >>> kept.stride, kept.entries[:3], len(kept.entries)
        (4, [0, 4, 8], 25)
    """

    entries: list[Any] = field(default_factory=list)
    seen: int = 0
    stride: int = 1

    def add(self, entry: Any) -> None:  # noqa: ANN401 - plain types
        """Take an entry, or pass over it."""
        if self.seen % self.stride == 0:
            self.entries.append(entry)
        self.seen += 1
        if len(self.entries) > _MOST:
            self.entries, self.stride = self.entries[::2], self.stride * 2
