"""Batch normalisation over the batches of several processes, as one process would do it.

PyTorch's own ``SyncBatchNorm`` runs on GPUs only and leaves it to its user that a process may hold a sample that is
another's. This one is the same on every device.

Source: Ioffe and Szegedy 2015; the gradient of a sum over processes is the sum over processes of the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.errors import RecipeError

__all__ = ["Part", "share_statistics"]

_ONE_VALUE = "Expected more than 1 value per channel when training"
"""What PyTorch says of a batch whose statistics would be those of one number."""


@dataclass
class Part:
    """What this process holds of a step's batch.

    Args:
        here: Samples that it holds, at least 1.
        owned: How many of them count: all, or 0 for one that is another process's.
        whole: Samples of the batch, over all processes.
    """

    here: int = 1
    owned: int = 1
    whole: int = 1


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; each of them gets it, so each of them has a share in the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ANN401 - PyTorch's context
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        return _summed(gradients[0])


def _sum(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return total


class _Shared(_BatchNorm):
    """Takes the statistics of a training step over all processes. A layer becomes one by its class alone."""

    part: Part

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, input: Tensor) -> Tensor:
        """Normalise; in validation as the layer that it was."""
        if self.training:
            return self._after(self._train(input))
        mean, variance, untracked = self.running_mean, self.running_var, self.running_mean is None
        return self._after(
            functional.batch_norm(input, mean, variance, self.weight, self.bias, untracked, 0.0, self.eps)
        )

    def _after(self, normalised: Tensor) -> Tensor:
        return normalised

    def _train(self, given: Tensor) -> Tensor:
        values = given.float()
        axes, shape = [0, *range(2, values.ndim)], [1, -1, *[1] * (values.ndim - 2)]
        weight = float(self.part.owned > 0)
        total = values.numel() / values.shape[1] * self.part.whole / self.part.here
        if total <= 1:
            raise ValueError(f"{_ONE_VALUE}, got input size {tuple(given.shape)}")
        mean = _sum(values.sum(axes) * weight) / total
        centred = values - mean.view(shape)
        variance = _sum(centred.square().sum(axes) * weight) / total
        self._remember(mean.detach(), variance.detach() * (total / (total - 1)))
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        normalised = centred * scale.view(shape)
        normalised = normalised if self.bias is None else normalised + self.bias.view(shape)
        return normalised.to(given.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _SharedAct(_Shared):
    """The layer of timm that drops and activates in one go."""

    drop: nn.Module
    act: nn.Module

    def _after(self, normalised: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(normalised))
        return activated


_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def share_statistics(network: nn.Module, part: Part) -> int:
    """Let every batch normalisation of a network take its statistics over all processes.

    Weights, running statistics and their names stay as they are.

    Args:
        network: What is trained.
        part: Says in each step what this process holds of the batch.

    Returns:
        How many layers there are.

    Raises:
        RecipeError: If one of them is of a kind that is not known here.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        if type(layer) not in _PLAIN and type(layer).__name__ != "BatchNormAct2d":
            raise RecipeError(
                f"train.devices: the network normalises by batches with {type(layer).__name__}, which cannot be shared "
                "by several processes; take another network, or train.devices=1"
            )
    for layer in layers:
        layer.__class__ = _Shared if type(layer) in _PLAIN else _SharedAct
        layer.part = part  # type: ignore[assignment]
    return len(layers)
