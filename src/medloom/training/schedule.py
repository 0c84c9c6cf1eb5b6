"""The optimiser and how its learning rate changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

__all__ = ["Cosine", "Plateau", "Schedule", "build_optimizer", "cosine_factor"]


def build_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    *,
    name: str = "adamw",
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    momentum: float = 0.9,
    fused: bool = False,
) -> Optimizer:
    """Build an optimiser.

    Args:
        parameters: What is trained, or groups of it with rates of their own.
        name: ``adamw``, ``adam`` or ``sgd``, which is with Nesterov momentum.
        lr: Learning rate of what has none of its own.
        weight_decay: Decoupled for ``adamw``, an L2 penalty for the others.
        momentum: Of ``sgd``.
        fused: One kernel for all parameters, which is faster.
    """
    own = {"momentum": momentum, "nesterov": momentum > 0} if name == "sgd" else {}
    optimizer = _METHODS[name](parameters, lr=lr, weight_decay=weight_decay, fused=fused or None, **own)
    optimizer.register_load_state_dict_post_hook(_lie_as_their_weights)
    return optimizer


def _lie_as_their_weights(optimizer: Optimizer) -> None:
    """Bring what a checkpoint held into the order of the weights in memory, which a fused step takes for granted."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


_METHODS: dict[str, Callable[..., Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


class Schedule:
    """A rate that stays; the base of the others."""

    def begin(self, optimizer: Optimizer) -> None:
        """Take the optimiser, once it is built."""

    def before_step(self, optimizer: Optimizer, step: int) -> None:
        """Set the rates for a step, counted from 0 over the whole run."""

    def after_epoch(self, value: float) -> None:
        """See the monitored metric of an epoch."""

    def state(self) -> dict[str, Any] | None:
        """Return what a checkpoint must hold, or None."""
        return None

    def restore(self, state: dict[str, Any] | None) -> None:
        """Take it back, before ``begin``."""


class Cosine(Schedule):
    """Falls to zero over the run, step by step; see ``cosine_factor``.

    Args:
        lr: The largest rate.
        steps: Steps of the whole run.
        warmup: Share of the steps that rise, in 0..1.
    """

    def __init__(self, lr: float, steps: int, warmup: float) -> None:
        self.lr, self.steps, self.warmup = lr, steps, warmup

    def before_step(self, optimizer: Optimizer, step: int) -> None:
        """Set the rate of each group."""
        factor = cosine_factor(step, self.steps, self.warmup)
        for group in optimizer.param_groups:
            group["lr"] = self.lr * factor * group.get("lr_scale", 1.0)


class Plateau(Schedule):
    """Lowers the rate when the monitored metric stalls.

    Args:
        factor: What the rate is multiplied by.
        patience: Epochs without improvement before it.
        larger_is_better: Of the metric.
    """

    def __init__(self, factor: float, patience: int, *, larger_is_better: bool) -> None:
        self.factor, self.patience, self.larger_is_better = factor, patience, larger_is_better
        self._inner: ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] | None = None

    def begin(self, optimizer: Optimizer) -> None:
        """Watch over the optimiser's rates."""
        self._inner = ReduceLROnPlateau(
            optimizer,
            mode="max" if self.larger_is_better else "min",
            factor=self.factor,
            patience=self.patience,
            threshold=0.0,
        )
        if self._restored is not None:
            self._inner.load_state_dict(self._restored)

    def after_epoch(self, value: float) -> None:
        """Count the epochs without improvement."""
        if self._inner is not None:
            self._inner.step(value)

    def state(self) -> dict[str, Any] | None:
        """Return torch's own state."""
        return None if self._inner is None else self._inner.state_dict()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Keep it until there is an optimiser."""
        self._restored = state


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
