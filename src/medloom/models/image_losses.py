"""Losses for labels of whole images by name: logits and targets in, a scalar in float32 out.

``medloom.registry.LOSSES`` names the builders. ``cross_entropy`` and ``focal`` take the class that the labels need
and how often each was seen in training, ``mse`` the unit of each number; what a recipe may say is keyword-only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.models.calling import check_arguments, keyword_arguments
from medloom.registry import LOSSES, check_name, load, names_for

__all__ = [
    "BinaryLoss",
    "ClassesLoss",
    "EntropyLoss",
    "LabelsLoss",
    "NumbersLoss",
    "build_label_loss",
    "cross_entropy",
    "focal",
    "mse",
]


class _ImageLoss(nn.Module):
    """A loss over labels of whole images, always in float32: the mean over the images and their known labels."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(N, K)``, any float dtype.
            targets: ``(N, T)`` float32; see the class. NaN where a label is unknown: it counts nowhere. Of mixed
                images, shares in 0..1 of each answer: the loss is the mean of their losses in these shares.

        Returns:
            Scalar, float32; 0 where no label is known.

        Raises:
            ValueError: If the shapes do not belong together.
        """
        expected = (len(logits), self._width(logits))
        if tuple(targets.shape) != expected and not self._are_shares(logits, targets):
            raise ValueError(f"expected targets of shape {expected}; got {tuple(targets.shape)}")
        with torch.autocast(logits.device.type, enabled=False):
            known = ~targets.isnan()
            # A number in the place of NaN: a gradient that is multiplied by zero would still be NaN.
            values = self._each(logits.float(), torch.where(known, targets, 0.0).float())
            known = _told(known, values)
            return torch.where(known, values, 0.0).sum() / known.sum().clamp(min=1)

    def counted(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return of how many known labels ``forward`` is the mean; shapes as there."""
        with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
            known = ~targets.isnan()
            return _told(known, self._each(logits.float(), torch.where(known, targets, 0.0).float())).sum()

    def _width(self, logits: Tensor) -> int:
        """T, the numbers in the targets of an image."""
        return logits.shape[1]

    def _are_shares(self, logits: Tensor, targets: Tensor) -> bool:
        """Whether targets of another shape say how much of each class there is."""
        return False

    def _each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image, and of each of its labels, before the mean."""
        raise NotImplementedError


def _told(known: Tensor, values: Tensor) -> Tensor:
    """Which losses count: an image has one loss for all that is known of it, or one for each of its labels."""
    return known.all(1) if known.dim() > values.dim() else known


class EntropyLoss(_ImageLoss):
    """Cross-entropy, and with ``gamma`` or ``alpha`` the focal loss (Lin et al. 2017, equation 5).

    Args:
        weights: Weight of each class, or of each label.
        smoothing: How much of each target is shared out evenly over the classes.
        gamma: How much what is already right is played down; 0 is cross-entropy.
        alpha: Weight of positives, 1 - ``alpha`` that of negatives; not for several classes.
    """

    weights: Tensor | None
    one: ClassVar[str] = "class"
    """What a weight is for."""
    several: ClassVar[str] = "classes"
    takes_alpha: ClassVar[bool] = True

    def __init__(
        self,
        weights: Sequence[float] | None = None,
        *,
        smoothing: float = 0.0,
        gamma: float = 0.0,
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.smoothing, self.gamma, self.alpha = smoothing, gamma, alpha
        values = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("weights", values, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; also a ValueError where the weights are not one for each output."""
        if self.weights is not None and len(self.weights) != self._weighed(logits):
            raise ValueError(f"there are {len(self.weights)} weights for {logits.shape[1]} outputs")
        return super().forward(logits, targets)

    def _weighed(self, logits: Tensor) -> int:
        """How many weights fit."""
        return logits.shape[1]

    @classmethod
    def fitting(cls, counts: Sequence[int] | None, given: Sequence[object]) -> int:
        """Return how many weights a recipe should give: one for each class or label, where it is known how many."""
        return len(given) if counts is None else len(counts)

    @classmethod
    def balanced(cls, counts: Sequence[int]) -> list[float]:
        """Return weights by which all classes count alike, with mean 1 over the training images."""
        return [sum(counts) / (len(counts) * count) for count in counts]


class ClassesLoss(EntropyLoss):
    """Loss over one of several classes; targets ``(N, 1)`` hold the index of the class, ``(N, K)`` shares of each."""

    takes_alpha = False

    def _width(self, logits: Tensor) -> int:
        return 1

    def _are_shares(self, logits: Tensor, targets: Tensor) -> bool:
        return targets.shape == logits.shape

    def _each(self, logits: Tensor, targets: Tensor) -> Tensor:
        if targets.shape[1] == 1:
            return self._of(logits, targets[:, 0].long())
        each = [self._of(logits, torch.full_like(logits[:, 0], k, dtype=torch.long)) for k in range(logits.shape[1])]
        return (targets * torch.stack(each, dim=1)).sum(1)

    def _of(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The loss of each image if it is of a class."""
        values = functional.cross_entropy(logits, classes, reduction="none", label_smoothing=self.smoothing)
        if self.gamma:
            others = logits.scatter(1, classes[:, None], -math.inf)
            values = values * (self.gamma * (others.logsumexp(dim=1) - logits.logsumexp(dim=1))).exp()
        # divided by the number of images, not by the sum of their weights: else a batch without a rare class would
        # count as much as one with it
        return values if self.weights is None else values * self.weights[classes]


class LabelsLoss(EntropyLoss):
    """Loss over any of several labels; targets ``(N, K)`` hold 0 and 1, and a weight is of a label."""

    one, several = "label", "labels"

    def _each(self, logits: Tensor, targets: Tensor) -> Tensor:
        present, absent = (self._of(logits, torch.full_like(targets, answer)) for answer in (1.0, 0.0))
        return targets * present + (1.0 - targets) * absent

    def _of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each label if all answers are these."""
        soft = targets * (1.0 - self.smoothing) + 0.5 * self.smoothing
        values = functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        if self.gamma:
            # (1 - p) ** gamma by its logarithm: the power itself has no finite gradient at p = 1 for gamma below 1
            values = values * (self.gamma * functional.logsigmoid(logits * (1.0 - 2.0 * targets))).exp()
        if self.alpha is not None:
            values = values * (self.alpha * targets + (1.0 - self.alpha) * (1.0 - targets))
        return values if self.weights is None else values * self._weights_of(targets, self.weights)

    def _weights_of(self, targets: Tensor, weights: Tensor) -> Tensor:
        return weights

    @classmethod
    def balanced(cls, counts: Sequence[int]) -> list[float]:
        """Return weights of the labels, with mean 1: the rarer a label, the more it counts."""
        inverse = [1.0 / count for count in counts]
        return [value * len(inverse) / sum(inverse) for value in inverse]


class BinaryLoss(LabelsLoss):
    """Loss over a yes or no; targets ``(N, 1)`` hold 0 and 1, and the two weights are of 0 and of 1."""

    one, several = "class", "classes"

    def _weighed(self, logits: Tensor) -> int:
        return 2

    def _weights_of(self, targets: Tensor, weights: Tensor) -> Tensor:
        return weights[1] * targets + weights[0] * (1.0 - targets)

    @classmethod
    def fitting(cls, counts: Sequence[int] | None, given: Sequence[object]) -> int:
        """Return 2."""
        return 2

    @classmethod
    def balanced(cls, counts: Sequence[int]) -> list[float]:
        """Return weights by which both answers count alike."""
        return EntropyLoss.balanced(counts)


class NumbersLoss(_ImageLoss):
    """Mean squared error; targets ``(N, K)`` hold the numbers.

    Args:
        deviations: Unit in which the errors of each number are taken, so that all count alike; None: as they are.
    """

    deviations: Tensor | None

    def __init__(self, deviations: Sequence[float] | None = None) -> None:
        super().__init__()
        values = None if deviations is None else torch.tensor(deviations, dtype=torch.float32)
        self.register_buffer("deviations", values, persistent=False)

    def _each(self, logits: Tensor, targets: Tensor) -> Tensor:
        errors = logits - targets
        return (errors if self.deviations is None else errors / self.deviations).square()


def build_label_loss(name: str, kind: str, facts: Sequence[Any], args: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a loss.

    Args:
        name: A name in ``medloom.registry.LOSSES``.
        kind: The kind of answer that it must be for.
        facts: What the losses of this kind take before the arguments of the recipe.
        args: Arguments that replace the defaults.

    Returns:
        The loss.

    Raises:
        RecipeError: If the loss is not for this kind, or an argument is wrong.

    Example:
        >>> loss = build_label_loss("cross-entropy", "binary", (BinaryLoss, None))
        >>> round(loss(torch.zeros(4, 1), torch.ones(4, 1)).item(), 4)
        0.6931
    """
    check_name(f"loss for {kind} named", name, names_for(LOSSES, kind), RecipeError)
    builder: Callable[..., nn.Module] = load(LOSSES[name])
    given = args or {}
    check_arguments("loss.args", f"loss {name!r}", given, keyword_arguments(builder))
    return builder(*facts, **given)


def cross_entropy(
    kind: type[EntropyLoss],
    counts: Sequence[int] | None,
    *,
    class_weights: object = None,
    label_smoothing: object = 0.0,
) -> EntropyLoss:
    """Build cross-entropy over classes, or over 0 and 1.

    Args:
        kind: The loss that these labels need.
        counts: Training images of each class, or with each label; only ``balanced`` needs them, and a list of
            weights is checked against them.
        class_weights: None, ``balanced``, or a weight for each class or label.
        label_smoothing: From 0 to below 1.

    Raises:
        RecipeError: If an argument is wrong.
    """
    weights = _weights(class_weights, kind, counts)
    return kind(weights, smoothing=_number("label_smoothing", label_smoothing, below=1.0))


def focal(
    kind: type[EntropyLoss],
    counts: Sequence[int] | None,
    *,
    class_weights: object = None,
    label_smoothing: object = 0.0,
    gamma: object = 2.0,
    alpha: object = None,
) -> EntropyLoss:
    """Build the focal loss (Lin et al. 2017).

    Args:
        kind: The loss that these labels need.
        counts: As for ``cross_entropy``.
        class_weights: As for ``cross_entropy``.
        label_smoothing: From 0 to below 1.
        gamma: From 0.
        alpha: From 0 to below 1, or None; not for several classes.

    Raises:
        RecipeError: If an argument is wrong.
    """
    if alpha is not None and not kind.takes_alpha:
        raise RecipeError("loss.args.alpha: expected empty where there are several classes; take class_weights")
    return kind(
        _weights(class_weights, kind, counts),
        smoothing=_number("label_smoothing", label_smoothing, below=1.0),
        gamma=_number("gamma", gamma, below=math.inf),
        alpha=None if alpha is None else _number("alpha", alpha, below=1.0),
    )


def mse(deviations: Sequence[float] | None) -> NumbersLoss:
    """Build the mean squared error.

    Args:
        deviations: Of each number over the training images, the unit of its errors; None: as they are.
    """
    return NumbersLoss(deviations)


def _number(key: str, value: object, *, below: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        bound = f"from 0 to below {below:g}" if below < math.inf else "from 0"
        raise RecipeError(f"loss.args.{key}: expected a number {bound}; got {value!r}")
    return float(value)


def _weights(given: object, kind: type[EntropyLoss], counts: Sequence[int] | None) -> list[float] | None:
    if given is None:
        return None
    if given == "balanced":
        return _balanced(kind, counts)
    if not isinstance(given, list) or not given:
        raise RecipeError(f"loss.args.class_weights: expected balanced or a list of numbers; got {given!r}")
    number = kind.fitting(counts, given)
    if len(given) != number:
        raise RecipeError(
            f"loss.args.class_weights: expected {number} numbers, for the {kind.several} in order; got {len(given)}"
        )
    for value in given:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise RecipeError(f"loss.args.class_weights: expected numbers above 0; got {value!r}")
    return [float(value) for value in given]


def _balanced(kind: type[EntropyLoss], counts: Sequence[int] | None) -> list[float]:
    if counts is None:
        raise RecipeError("loss.args.class_weights: balanced needs the training images of each class; give a list")
    if min(counts) < 1:
        raise RecipeError(
            f"loss.args.class_weights: balanced needs a training image of every {kind.one}; there is none of "
            f"{kind.one} {list(counts).index(min(counts))}, counted from 0"
        )
    return kind.balanced(counts)
