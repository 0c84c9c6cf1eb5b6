"""Losses for masks by name, from MONAI: logits and a mask of class indices in, a scalar in float32 out.

``medloom.registry.LOSSES`` names the builders. A builder takes the number of outputs and the arguments that replace
the defaults.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, TverskyLoss
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.calling import check_arguments
from medloom.registry import LOSSES, check_name, load, names_for
from medloom.targets import IGNORED

__all__ = ["KnownPixels", "MaskLoss", "build_mask_loss", "dice", "dice_ce", "dice_focal", "tversky"]

_SET_BY_TARGET = ("sigmoid", "softmax", "to_onehot_y", "other_act")


class MaskLoss(nn.Module):
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


class KnownPixels(nn.Module):
    """A loss over the pixels whose class is known: the others are cut out, so nothing of them reaches it.

    It is for losses that do not look at where a pixel lies, as all of ``medloom.registry.LOSSES`` for masks are.

    Args:
        loss: Takes logits and class indices.
        each: Take the loss of each image by itself, and the mean of them; else that of all pixels of the batch.
    """

    def __init__(self, loss: nn.Module, *, each: bool = False) -> None:
        super().__init__()
        self.loss, self.each = loss, each

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(N, K, H, W)``, any float dtype.
            target: ``(N, H, W)`` integer class indices, ``medloom.targets.IGNORED`` where a pixel does not count.

        Returns:
            Scalar, float32; 0 where no pixel counts.
        """
        parts = zip(logits[:, None], target[:, None], strict=True) if self.each else [(logits, target)]
        values = [self._of_known(*part) for part in parts if (part[1] != IGNORED).any()]
        # Of nothing, the sum is 0 and has a gradient, which is 0 as well.
        return torch.stack(values).mean() if values else logits[:0].float().sum()

    def _of_known(self, logits: Tensor, target: Tensor) -> Tensor:
        known = target != IGNORED
        pixels = logits.movedim(1, -1)[known]
        value: Tensor = self.loss(pixels.T[None, :, :, None], target[known][None, :, None])
        return value


def build_mask_loss(name: str, outputs: int, args: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a loss.

    ``batch: true`` in its arguments sums the Dice term over the whole batch instead of image by image, which
    is what makes it meaningful on images without foreground. It is the default.

    Args:
        name: A name in ``medloom.registry.LOSSES`` that is for masks.
        outputs: K of the logits: 1 means sigmoid, more means softmax over the classes.
        args: Arguments that replace the defaults.

    Returns:
        The loss.

    Raises:
        RecipeError: If the name or an argument is wrong.

    Example:
        >>> loss = build_mask_loss("dice", 1)
        >>> loss(torch.full((1, 1, 8, 8), 20.0), torch.ones(1, 8, 8)).item() < 1e-3
        True
    """
    check_name("loss for masks named", name, names_for(LOSSES, "masks"), RecipeError)
    loss: nn.Module = load(LOSSES[name])(outputs, **(args or {}))
    return loss


def dice(outputs: int, /, **given: Any) -> MaskLoss:  # noqa: ANN401 - MONAI's own
    """Soft Dice."""
    return _make(DiceLoss, "dice", outputs, given)


def dice_ce(outputs: int, /, **given: Any) -> MaskLoss:  # noqa: ANN401
    """Dice plus cross-entropy."""
    return _make(DiceCELoss, "dice-ce", outputs, given)


def dice_focal(outputs: int, /, **given: Any) -> MaskLoss:  # noqa: ANN401
    """Dice plus focal."""
    return _make(DiceFocalLoss, "dice-focal", outputs, given)


def tversky(outputs: int, /, **given: Any) -> MaskLoss:  # noqa: ANN401
    """Tversky, which weighs misses and false positives apart."""
    return _make(TverskyLoss, "tversky", outputs, given)


def _make(kind: type[nn.Module], name: str, outputs: int, given: Mapping[str, Any]) -> MaskLoss:
    """Call a constructor of MONAI with arguments that it has."""
    valid = [parameter for parameter in inspect.signature(kind).parameters if parameter not in _SET_BY_TARGET]
    check_arguments("loss.args", f"loss {name!r}", given, valid)
    single = outputs == 1
    arguments: dict[str, Any] = {"batch": True, **given}
    if isinstance(arguments.get("weight"), list):
        arguments["weight"] = torch.tensor(arguments["weight"], dtype=torch.float32)
    try:
        return MaskLoss(kind(sigmoid=single, softmax=not single, to_onehot_y=not single, **arguments))
    except (ValueError, TypeError) as error:
        raise RecipeError(f"loss.args: the loss {name!r} cannot be built: {error}") from error
