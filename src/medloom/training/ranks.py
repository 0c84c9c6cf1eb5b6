"""Which of the processes of a run this is, and sums over all of them; with one process there is nothing to do."""

from __future__ import annotations

import os

import torch.distributed
from torch import Tensor

__all__ = ["is_in_group", "processes_here", "sum_over_ranks"]


def is_in_group() -> bool:
    """Whether ``torchrun`` has started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def processes_here(devices: int) -> int:
    """Return how many of the processes of a run are on this host: all of them, unless ``torchrun`` says otherwise.

    Args:
        devices: The recipe's ``train.devices``.
    """
    return int(os.environ["LOCAL_WORLD_SIZE"]) if devices > 1 and is_in_group() else devices


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over all processes, the same in each of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total
