"""Which device computes, in which precision, and whether compiled."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from medloom.errors import RecipeError
from medloom.extras import find_compiler
from medloom.training.ranks import processes_here

__all__ = [
    "LIGHTNING_PRECISION",
    "Precision",
    "choose_channels_last",
    "choose_compiling",
    "choose_device",
    "choose_precision",
    "multiplies_bf16",
]

Precision = Literal["32", "bf16", "fp16"]

LIGHTNING_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
"""What Lightning calls each of them. Weights stay in float32 in all three."""

_WORTH_COMPILING = 10**9
"""Pixels to train on from which compiled steps win back what compiling costs. Measured on two cores: compiling
takes 50 s and saves 15 to 24 s in 10**8 pixels with the networks of the two recipes for brain MRI."""

_CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def choose_device(wanted: Literal["auto", "cpu", "cuda"], devices: int = 1) -> Literal["cpu", "cuda"]:
    """Return the device to train on.

    Args:
        wanted: The recipe's ``train.device``.
        devices: The recipe's ``train.devices``.

    Raises:
        RecipeError: If a GPU is asked for and too few are there.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and there == 0):
        return "cpu"
    if there < processes_here(devices):
        raise RecipeError(
            f"train.device: {devices} GPU(s) were asked for and torch sees {there}; "
            "set train.device=cpu, or lower train.devices"
        )
    return "cuda"


def choose_precision(wanted: Literal["auto", "32", "bf16", "fp16"], device: Literal["cpu", "cuda"]) -> Precision:
    """Return the precision of the network's arithmetic.

    ``auto`` takes bf16 only where the hardware multiplies it natively. Elsewhere it is emulated and takes
    many times longer than float32.

    Args:
        wanted: The recipe's ``train.precision``.
        device: Where the network runs.

    Raises:
        RecipeError: If fp16 is asked for on a CPU.
    """
    if wanted == "fp16" and device == "cpu":
        raise RecipeError("train.precision: fp16 needs a GPU; on a CPU take 32, bf16 or auto")
    if wanted != "auto":
        return wanted
    return "bf16" if multiplies_bf16(device) else "32"


def choose_compiling(wanted: bool | Literal["auto"], device: Literal["cpu", "cuda"], pixels: int) -> bool:
    """Return whether to compile the network.

    Args:
        wanted: The recipe's ``train.compile``.
        device: Where the network runs.
        pixels: Pixels that the whole run trains on, over all its epochs.
    """
    if wanted == "auto":
        return device == "cpu" and pixels >= _WORTH_COMPILING and find_compiler() is not None
    return wanted


def choose_channels_last(wanted: bool | Literal["auto"], network: nn.Module, *, compiled: bool = False) -> bool:
    """Return whether the network's weights and feature maps lie in memory channel beside channel.

    On a CPU a step of networks with batch normalisation alone was 1.04 to 1.27 times as fast in that order, of others
    0.92 to 1.09 times. For GPUs PyTorch's documentation advises it. A compiler chooses the order by itself.

    Args:
        wanted: The recipe's ``train.channels_last``.
        network: What is trained.
        compiled: Whether it will be compiled.

    Source: https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html
    """
    if wanted != "auto":
        return wanted
    kinds = {type(module) for module in network.modules()}
    by_image = any(issubclass(kind, (_InstanceNorm, nn.GroupNorm, nn.LayerNorm)) for kind in kinds)
    return not compiled and not by_image and any(issubclass(kind, _BatchNorm) for kind in kinds)


def multiplies_bf16(device: Literal["cpu", "cuda"]) -> bool:
    """Whether the hardware multiplies bf16 natively."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(flag, False) for flag in _CPU_FLAGS)
