"""Averages of the weights over the run: the mean of the final epochs (SWA) or an exponential average (EMA)."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn

from medloom.models.network import Network

__all__ = ["Averaging", "average_weight"]


def average_weight(averaged: int, decay: float | None) -> float:
    """Return how much of the average the newest weights become.

    Args:
        averaged: How many weights were taken in before.
        decay: What a step of the exponential average keeps; None for the plain mean.

    Returns:
        In 0..1. The first weights are the whole average, so the initial weights leave no trace in it. The
        exponential average forgets faster while it is young: early weights change the most.

    Example:
        >>> [average_weight(n, None) for n in (0, 1, 3)]
        [1.0, 0.5, 0.25]
        >>> [round(average_weight(n, 0.99), 2) for n in (0, 8, 90, 5000)]
        [1.0, 0.5, 0.09, 0.01]
    """
    if averaged == 0 or decay is None:
        return 1.0 / (averaged + 1)
    return max(1.0 - decay, 9.0 / (10.0 + averaged))


class Averaging(nn.Module):
    """Keeps the average of a network's weights beside it.

    It is a module like any other, so the average moves to the device and into the checkpoint by itself, and
    the trained weights are never swapped out. Running statistics of normalisation layers are averaged like
    the weights, so the average needs no extra pass over the data. Counters are taken over as they are.

    Args:
        network: What is trained; it is copied.
        decay: What a step of the exponential average (EMA) keeps; None for the plain mean at the end of each epoch
            (SWA).
        first_epoch: Epoch, from 0, with which averaging begins.
    """

    averaged: Tensor

    def __init__(self, network: Network, *, decay: float | None, first_epoch: int = 0) -> None:
        super().__init__()
        self.decay = decay
        self.first_epoch = first_epoch
        self.average = deepcopy(network).requires_grad_(requires_grad=False)
        self.register_buffer("averaged", torch.zeros((), dtype=torch.int64))
        self._count = 0
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None
        self._counters: tuple[list[Tensor], list[Tensor]] = ([], [])

    def after_step(self, network: Network, epoch: int, *, ends_epoch: bool) -> None:
        """Take the weights into the average, if it is time.

        Args:
            network: The trained network, after the optimiser's step.
            epoch: From 0.
            ends_epoch: Whether this was the epoch's last step.
        """
        if epoch >= self.first_epoch and (self.decay is not None or ends_epoch):
            self._take_in(network)

    def best_of(self, network: Network) -> Network:
        """Return the network to validate and save: the average, or ``network`` before there is one."""
        return self.average if int(self.averaged) > 0 else network

    def _take_in(self, network: nn.Module) -> None:
        averages, weights = self._pairs or self._pair(network)
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, average_weight(self._count, self.decay))
            if self._counters[0]:
                torch._foreach_copy_(*self._counters)
            self.averaged.add_(1)
        self._count += 1

    def _pair(self, network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """Collect the tensors once they are on the device: walking the modules takes longer than averaging them."""
        mine, theirs = _tensors(self.average), _tensors(network)
        both = list(zip(mine, theirs, strict=True))
        self._count = int(self.averaged)
        self._counters = _apart(pair for pair in both if not pair[0].is_floating_point())
        self._pairs = _apart(pair for pair in both if pair[0].is_floating_point())
        return self._pairs


def _apart(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    kept = list(pairs)
    return [average for average, _ in kept], [weight for _, weight in kept]


def _tensors(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(network.parameters(), network.buffers())]
