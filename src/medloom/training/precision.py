"""Which device computes, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from medloom.errors import RecipeError

__all__ = ["LIGHTNING_PRECISION", "Precision", "choose_device", "choose_precision", "multiplies_bf16"]

Precision = Literal["32", "bf16", "fp16"]

LIGHTNING_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
"""What Lightning calls each of them. Weights stay in float32 in all three."""

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
    if there < devices:
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


def multiplies_bf16(device: Literal["cpu", "cuda"]) -> bool:
    """Whether the hardware multiplies bf16 natively."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(flag, False) for flag in _CPU_FLAGS)
