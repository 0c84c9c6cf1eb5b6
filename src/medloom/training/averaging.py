"""Averages of the weights over the run: the mean of the final epochs (SWA) or an exponential average (EMA)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.optim import swa_utils

from medloom.recipe import TrainConfig

__all__ = ["Averaging"]


class Averaging(nn.Module):
    """Keeps the average of a network's weights beside it.

    It is a module like any other, so the average moves to the device and into the checkpoint by itself, and
    the trained weights are never swapped out. Running statistics of normalisation layers are averaged like
    the weights, so the average needs no extra pass over the data.

    Args:
        network: What is trained; it is copied.
        config: The recipe's ``train``, whose ``averaging`` is ``swa`` or ``ema``.
    """

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        super().__init__()
        self.every_step = config.averaging == "ema"
        self.first_epoch = 0 if self.every_step else int(config.swa_start * config.epochs)
        combine = _exponential(config.ema_decay) if self.every_step else None
        self.average = swa_utils.AveragedModel(network, multi_avg_fn=combine, use_buffers=True)
        self.average.requires_grad_(False)

    def after_step(self, network: nn.Module, epoch: int, *, ends_epoch: bool) -> None:
        """Take the weights into the average, if it is time.

        Args:
            network: The trained network, after the optimiser's step.
            epoch: From 0.
            ends_epoch: Whether this was the epoch's last step.
        """
        if epoch >= self.first_epoch and (self.every_step or ends_epoch):
            self.average.update_parameters(network)

    def best_of(self, network: nn.Module) -> nn.Module:
        """Return the network to validate and save: the average, or ``network`` before there is one."""
        averaged: nn.Module = self.average.module
        return averaged if int(self.average.n_averaged) > 0 else network


def _exponential(decay: float) -> Callable[..., None]:
    """torch's exponential average, which carries no types."""
    make: Callable[[float], Callable[..., None]] = swa_utils.get_ema_multi_avg_fn
    return make(decay)
