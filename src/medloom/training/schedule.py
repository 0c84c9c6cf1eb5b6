"""The optimiser and how its learning rate changes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from medloom.recipe.sections.training import OptimizerConfig, ScheduleConfig

__all__ = ["build_optimizer", "build_plateau", "cosine_factor"]


def build_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], config: OptimizerConfig, *, fused: bool
) -> Optimizer:
    """Build the optimiser.

    Args:
        parameters: What is trained, or groups of it with rates of their own.
        config: The recipe's ``train.optimizer``.
        fused: One kernel for all parameters, which is faster.
    """
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=fused or None,
        )
    method = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return method(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=fused or None)


def cosine_factor(step: int, steps: int, warmup: float) -> float:
    """Return what the largest learning rate is multiplied by at a step.

    It rises in a straight line over the first ``warmup`` of the steps, then falls along half a cosine, close
    to zero at the last step. It depends on the step and the number of steps only: when a finished run is
    extended to more epochs, the rate goes on from where the longer curve stands at that step.

    Args:
        step: From 0.
        steps: Steps of the whole run.
        warmup: Share of the steps that rise, in 0..1.

    Returns:
        Factor in 0..1.

    Example:
        >>> [round(cosine_factor(step, 5, warmup=0.2), 2) for step in range(5)]
        [1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1.0 + math.cos(math.pi * min((step - rising) / max(steps - rising, 1), 1.0)))


def build_plateau(optimizer: Optimizer, config: ScheduleConfig, *, larger_is_better: bool) -> ReduceLROnPlateau:
    """Build the schedule that lowers the rate when the monitored metric stalls."""
    return ReduceLROnPlateau(
        optimizer,
        mode="max" if larger_is_better else "min",
        factor=config.factor,
        patience=config.patience,
        threshold=0.0,
    )
