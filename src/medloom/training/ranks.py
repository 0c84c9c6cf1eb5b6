"""Sums over the processes of a run; with one process there is nothing to do."""

from __future__ import annotations

import torch.distributed
from torch import Tensor

__all__ = ["sum_over_ranks"]


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over all processes, the same in each of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total
