"""Losses by name, from MONAI: logits and a mask of class indices in, a scalar in float32 out."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import inspect
from typing import Any

import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, TverskyLoss
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.registry import check_name
from medloom.recipe import LossConfig

__all__ = ["SegmentationLoss", "build_loss"]

_CLASSES: dict[str, type[nn.Module]] = {
    "dice": DiceLoss,
    "dice-ce": DiceCELoss,
    "dice-focal": DiceFocalLoss,
    "tversky": TverskyLoss,
}
_SET_BY_TASK = ("sigmoid", "softmax", "to_onehot_y", "other_act")


class SegmentationLoss(nn.Module):
    """A MONAI loss that takes logits and class indices, always in float32.

    Args:
        loss: The MONAI loss, already told which activation to use.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Sums over pixels lose digits in half precision, so autocast is off in here.

        Args:
            logits: ``(N, K, H, W)``, any float dtype.
            target: ``(N, H, W)`` integer class indices, 0 for the background.

        Returns:
            Scalar, float32.
        """
        with torch.autocast(logits.device.type, enabled=False):
            value: Tensor = self.loss(logits.float(), target[:, None].float())
            return value


def build_loss(config: LossConfig, out_channels: int) -> SegmentationLoss:
    """Build a loss.

    ``batch: true`` in its arguments sums the Dice term over the whole batch instead of image by image, which
    is what makes it meaningful on slices without a lesion. It is the default.

    Args:
        config: Name and the arguments that replace the defaults.
        out_channels: K of the logits: 1 means sigmoid, more means softmax over the classes.

    Returns:
        The loss.

    Raises:
        RecipeError: If an argument is wrong.

    Example:
        >>> loss = build_loss(LossConfig(name="dice"), 1)
        >>> loss(torch.full((1, 1, 8, 8), 20.0), torch.ones(1, 8, 8)).item() < 1e-3
        True
    """
    kind = _CLASSES[config.name]
    valid = [name for name in inspect.signature(kind).parameters if name not in _SET_BY_TASK]
    for key in config.args:
        check_name(f"argument of loss {config.name!r} named", key, valid)
    binary = out_channels == 1
    arguments: dict[str, Any] = {"batch": True, **config.args}
    if isinstance(arguments.get("weight"), list):
        arguments["weight"] = torch.tensor(arguments["weight"], dtype=torch.float32)
    try:
        return SegmentationLoss(kind(sigmoid=binary, softmax=not binary, to_onehot_y=not binary, **arguments))
    except (ValueError, TypeError) as error:
        raise RecipeError(f"loss.args: the loss {config.name!r} cannot be built: {error}") from error
