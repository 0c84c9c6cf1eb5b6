"""Spaces that are ready, by recipe key; ``medloom.registry.SPACES`` names them.

Two are those of published studies; the others are ranges in which the best setting of most data sets lies.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from medloom.recipe import Parameter

__all__ = ["BRAIN_MRI", "CHEST_XRAY", "CLASSES", "MASKS", "NUMBERS"]

Space = Mapping[str, Parameter]


def _levels(first: int) -> dict[str, JsonValue]:
    """Filters of five levels, from those of the first block on."""
    return {"channels": [first * 2**level for level in range(5)]}


BRAIN_MRI: Space = {
    "model.name": Parameter(choices=("unet", "attention-unet")),
    "model.args": Parameter(choices=(_levels(8), _levels(16), _levels(32))),
    "model.args.dropout": Parameter(uniform=(0.0, 0.5)),
    "train.optimizer.lr": Parameter(log_uniform=(1e-6, 1e-1)),
    "train.batch_size": Parameter(choices=(16, 32)),
}

CHEST_XRAY: Space = {
    "train.optimizer.lr": Parameter(log_uniform=(1e-4, 1e-1)),
    "train.batch_size": Parameter(choices=(32, 64, 128)),
}

_ANY: Space = {
    "train.optimizer.lr": Parameter(log_uniform=(1e-5, 1e-2)),
    "train.optimizer.weight_decay": Parameter(log_uniform=(1e-6, 1e-1)),
    "train.batch_size": Parameter(choices=(8, 16, 32)),
    "train.averaging": Parameter(choices=("none", "ema")),
}

MASKS: Space = {**_ANY, "train.positive_share": Parameter(choices=(None, 0.5))}

CLASSES: Space = {**_ANY, "model.dropout": Parameter(uniform=(0.0, 0.5))}

NUMBERS: Space = CLASSES
