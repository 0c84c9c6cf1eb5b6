"""Losses for masks by name, most from MONAI: logits and a mask of class indices in, a scalar in float32 out.

``medloom.registry.LOSSES`` names the builders. A builder takes the number of outputs and the arguments that replace
the defaults.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, TverskyLoss
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.calling import check_arguments
from medloom.registry import LOSSES, check_name, load, names_for
from medloom.targets import IGNORED

__all__ = [
    "CompoundLoss",
    "EveryScale",
    "KnownPixels",
    "MaskLoss",
    "Weight",
    "build_mask_loss",
    "compound",
    "counted",
    "dice",
    "dice_ce",
    "dice_focal",
    "focal_tversky",
    "sums_in",
    "tversky",
]

_SET_BY_TARGET = ("sigmoid", "softmax", "to_onehot_y", "other_act")


class MaskLoss(nn.Module):
    """A MONAI loss that takes logits and class indices, always in float32.

    Args:
        loss: The MONAI loss, already told which activation to use.
        each: Whether it is the mean of the losses of the images, and not one of all pixels of the batch.
    """

    def __init__(self, loss: nn.Module, *, each: bool = False) -> None:
        super().__init__()
        self.loss, self.each = loss, each

    def over_known(self) -> nn.Module:
        """Return the same loss over the pixels whose class is known."""
        return KnownPixels(self, each=self.each)

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

    It is for losses that do not look at where a pixel lies, as all of MONAI's here.

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

    def counted(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return of how many images ``forward`` is the mean; where it is of all pixels together, how many those are."""
        known = target != IGNORED
        return known.flatten(1).any(1).sum() if self.each else known.sum()

    def _of_known(self, logits: Tensor, target: Tensor) -> Tensor:
        known = target != IGNORED
        pixels = logits.movedim(1, -1)[known]
        value: Tensor = self.loss(pixels.T[None, :, :, None], target[known][None, :, None])
        return value


@dataclass(frozen=True)
class Weight:
    """The weight of a term of a sum, which may rise or fall from epoch to epoch.

    Args:
        first: In epoch 0.
        per_epoch: How much is added in each further epoch.
        until: Where it stops; None: a rising weight never, a falling one at 0.

    Example:
        >>> [round(Weight(0.01, 0.01, 0.03).at(epoch), 2) for epoch in range(5)]
        [0.01, 0.02, 0.03, 0.03, 0.03]
    """

    first: float
    per_epoch: float = 0.0
    until: float | None = None

    def at(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        value = self.first + self.per_epoch * epoch
        if self.per_epoch < 0:
            return max(value, self.until or 0.0)
        return value if self.until is None else min(value, self.until)


class CompoundLoss(nn.Module):
    """A weighted sum of losses.

    Args:
        terms: Weight and loss of each.
    """

    def __init__(self, terms: Sequence[tuple[Weight, nn.Module]]) -> None:
        super().__init__()
        self.terms = [weight for weight, _ in terms]
        self.losses = nn.ModuleList(loss for _, loss in terms)
        self.set_epoch(0)

    @property
    def changes(self) -> bool:
        """Whether a weight is not the same in all epochs."""
        return any(weight.per_epoch for weight in self.terms)

    def set_epoch(self, epoch: int) -> None:
        """Take the weights of an epoch, counted from 0; they depend on nothing else, so a resumed run has the same."""
        self.weights = [weight.at(epoch) for weight in self.terms]

    def over_known(self) -> nn.Module:
        """Return the same sum, of losses over the pixels whose class is known."""
        known: list[nn.Module] = [loss.over_known() for loss in self.losses]  # type: ignore[operator]
        return CompoundLoss(list(zip(self.terms, known, strict=True)))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum; shapes as for ``MaskLoss``."""
        values = [weight * loss(logits, target) for weight, loss in zip(self.weights, self.losses, strict=True)]
        return torch.stack(values).sum()


class EveryScale(nn.Module):
    """The loss of all answers of a network, each counting half as much as the one before; the weights sum to 1.

    Args:
        loss: Takes logits ``(N, K, H, W)`` and class indices ``(N, H, W)``.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(N, S, K, H, W)``, the network's own answer first, or ``(N, K, H, W)`` outside of training.
            target: ``(N, H, W)`` integer class indices.
        """
        if logits.dim() == target.dim() + 1:
            value: Tensor = self.loss(logits, target)
            return value
        weights = [0.5**scale for scale in range(logits.shape[1])]
        values = [weight * self.loss(one, target) for weight, one in zip(weights, logits.unbind(1), strict=True)]
        return torch.stack(values).sum() / sum(weights)


def counted(loss: nn.Module, logits: Tensor, target: Tensor) -> float:
    """Return of how many a loss is the mean: images, unless it says that it counts something else.

    Two batches together have the mean of their losses, each counted by this number, if the loss is such a mean at all.

    Args:
        loss: For masks or labels.
        logits: What it was given.
        target: The truth with it.
    """
    inner = loss.loss if isinstance(loss, EveryScale) else loss
    own = getattr(inner, "counted", None)
    if own is None:
        return float(len(target))
    scales = isinstance(loss, EveryScale) and logits.dim() > target.dim() + 1
    return float(own(logits[:, 0] if scales else logits, target))


def sums_in(loss: nn.Module) -> list[CompoundLoss]:
    """Return the weighted sums that a loss is made of, also those within others."""
    return [part for part in loss.modules() if isinstance(part, CompoundLoss)]


class _FocalTversky(nn.Module):
    """MONAI's Tversky loss of each class to the power of 1 / gamma, then the mean."""

    def __init__(self, *, gamma: float = 4 / 3, alpha: float = 0.3, beta: float = 0.7, **given: Any) -> None:  # noqa: ANN401
        super().__init__()
        if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 < gamma < math.inf:
            raise ValueError(f"gamma: expected a number above 0; got {gamma!r}")
        self.exponent = 1.0 / gamma
        self.tversky = TverskyLoss(alpha=alpha, beta=beta, reduction="none", **given)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        # Below 1 the power has no finite gradient at 0, where all is right and nothing is to be learned.
        value: Tensor = self.tversky(logits, target).clamp_min(1e-7).pow(self.exponent).mean()
        return value


def build_mask_loss(
    name: str, outputs: int, args: Mapping[str, Any] | None = None, *, ignores: bool = False
) -> nn.Module:
    """Build a loss.

    ``batch: true`` in its arguments sums the Dice term over the whole batch instead of image by image, which
    is what makes it meaningful on images without foreground. It is the default.

    Args:
        name: A name in ``medloom.registry.LOSSES`` that is for masks.
        outputs: K of the logits: 1 means sigmoid, more means softmax over the classes.
        args: Arguments that replace the defaults.
        ignores: Whether there are pixels of class ``medloom.targets.IGNORED``, which are to count nowhere.

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
    return loss.over_known() if ignores else loss  # type: ignore[operator]


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


def focal_tversky(outputs: int, /, **given: Any) -> MaskLoss:  # noqa: ANN401
    """Tversky to the power of 1 / ``gamma``, which heeds classes more that are found badly (Abraham and Khan 2019).

    As in MONAI's Tversky, ``alpha`` weighs false positives and ``beta`` misses.
    """
    own = [*inspect.signature(TverskyLoss).parameters, "gamma"]
    return _make(_FocalTversky, "focal-tversky", outputs, given, [key for key in own if key != "reduction"])


def compound(outputs: int, /, *, terms: object = None, **given: Any) -> CompoundLoss:  # noqa: ANN401
    """Build a weighted sum of losses.

    Args:
        outputs: K of the logits.
        terms: A list of ``{name, weight, per_epoch, until, args}``; the weight is 1, in every epoch, and the arguments
            are the defaults if left out. ``per_epoch`` is added to the weight in each epoch but the first, ``until`` is
            where it stops.
        given: Refused: each term has arguments of its own.

    Raises:
        RecipeError: If a term is not as it should be.
    """
    check_arguments("loss.args", "loss 'compound'", given, ["terms"])
    if not isinstance(terms, list) or not terms:
        raise RecipeError(
            "loss.args.terms: expected a list such as [{name: dice-ce}, {name: boundary, weight: 0.01}]; "
            f"got {terms!r}"
        )
    return CompoundLoss([_term(outputs, number, one) for number, one in enumerate(terms)])


def _term(outputs: int, number: int, given: object) -> tuple[Weight, nn.Module]:
    """Weight and loss of one term."""
    place = f"loss.args.terms.{number}"
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise RecipeError(f"{place}: expected a group with name, weight and args; got {given!r}")
    check_arguments(place, "term", given, ["name", "weight", "per_epoch", "until", "args"])
    weight, args = _weight(place, given), given.get("args", {})
    if not isinstance(args, dict):
        raise RecipeError(f"{place}.args: expected a group of keys; got {args!r}")
    return weight, build_mask_loss(given["name"], outputs, args)


def _weight(place: str, given: Mapping[str, object]) -> Weight:
    """The weight of a term."""
    first = _number(f"{place}.weight", given.get("weight", 1.0))
    step = _number(f"{place}.per_epoch", given.get("per_epoch", 0.0))
    if first < 0 or (first == 0 and step <= 0):
        raise RecipeError(f"{place}.weight: expected a number above 0, or 0 with per_epoch above 0; got {first:g}")
    if given.get("until") is None:
        return Weight(first, step)
    until = _number(f"{place}.until", given["until"])
    if step == 0:
        raise RecipeError(f"{place}.until: it acts only with per_epoch, which is what the weight changes by")
    if (until <= first) if step > 0 else not 0 <= until < first:
        ways = f"above {first:g}, for a weight that rises" if step > 0 else f"from 0 to below {first:g}, as it falls"
        raise RecipeError(f"{place}.until: expected a number {ways}; got {until:g}")
    return Weight(first, step, until)


def _number(place: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RecipeError(f"{place}: expected a number; got {value!r}")
    return float(value)


def _make(
    kind: Callable[..., nn.Module],
    name: str,
    outputs: int,
    given: Mapping[str, Any],
    parameters: Sequence[str] | None = None,
) -> MaskLoss:
    """Call a constructor of MONAI with arguments that it has."""
    parameters = parameters or list(inspect.signature(kind).parameters)
    valid = [parameter for parameter in parameters if parameter not in _SET_BY_TARGET]
    check_arguments("loss.args", f"loss {name!r}", given, valid)
    single = outputs == 1
    arguments: dict[str, Any] = {"batch": True, **given}
    if isinstance(arguments.get("weight"), list):
        arguments["weight"] = torch.tensor(arguments["weight"], dtype=torch.float32)
    try:
        loss = kind(sigmoid=single, softmax=not single, to_onehot_y=not single, **arguments)
        return MaskLoss(loss, each=not arguments["batch"])
    except (ValueError, TypeError) as error:
        raise RecipeError(f"loss.args: the loss {name!r} cannot be built: {error}") from error
