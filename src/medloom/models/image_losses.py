"""Losses for labels of whole images: logits and targets in, a scalar in float32 out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.models.registry import LabelKind, check_name
from medloom.recipe import LossConfig

__all__ = ["ImageLoss", "build_image_loss"]

_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "cross-entropy": ("class_weights", "label_smoothing"),
    "focal": ("class_weights", "label_smoothing", "gamma", "alpha"),
    "mse": (),
}


class ImageLoss(nn.Module):
    """A loss on the labels of whole images, always in float32: the mean over the images and their labels.

    Cross-entropy is the focal loss with ``gamma`` 0 and without ``alpha``.

    Args:
        kind: What a label is; ``real`` means the mean squared error.
        weights: Weight of each class (``binary``: of 0 and of 1), or of each label (``multi-label``).
        smoothing: How much of each target is shared out evenly over the classes.
        gamma: How much the focal loss plays down what is already right (Lin et al. 2017, equation 5).
        alpha: Weight of positives, 1 - ``alpha`` that of negatives; binary and multi-label only.
        deviations: Unit in which the errors of each number are taken, so that all count alike; ``real`` only.
    """

    weights: Tensor | None
    deviations: Tensor | None

    def __init__(
        self,
        kind: LabelKind,
        *,
        weights: Sequence[float] | None = None,
        smoothing: float = 0.0,
        gamma: float = 0.0,
        alpha: float | None = None,
        deviations: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.kind: LabelKind = kind
        self.smoothing, self.gamma, self.alpha = smoothing, gamma, alpha
        for name, given in (("weights", weights), ("deviations", deviations)):
            values = None if given is None else torch.tensor(given, dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(N, K)``, any float dtype; for ``binary`` K is 1.
            targets: ``(N, T)`` float32. ``binary`` and ``multi-label``: 0 or 1, T = K; ``multi-class``: the index of
                the class, T = 1; ``real``: numbers, T = K.

        Returns:
            Scalar, float32.

        Raises:
            ValueError: If the shapes do not belong together.
        """
        expected = (len(logits), 1 if self.kind == "multi-class" else logits.shape[1])
        if tuple(targets.shape) != expected:
            raise ValueError(f"expected targets of shape {expected} for {self.kind}; got {tuple(targets.shape)}")
        if self.weights is not None and self.kind != "binary" and len(self.weights) != logits.shape[1]:
            raise ValueError(f"there are {len(self.weights)} weights for {logits.shape[1]} outputs")
        with torch.autocast(logits.device.type, enabled=False):
            return _LOSSES[self.kind](self, logits.float(), targets.float()).mean()


def _multi_class(loss: ImageLoss, logits: Tensor, targets: Tensor) -> Tensor:
    classes = targets[:, 0].long()
    values = functional.cross_entropy(logits, classes, reduction="none", label_smoothing=loss.smoothing)
    if loss.gamma:
        others = logits.scatter(1, classes[:, None], -math.inf)
        values = values * (loss.gamma * (others.logsumexp(dim=1) - logits.logsumexp(dim=1))).exp()
    # divided by the number of images, not by the sum of their weights: else a batch without a rare class would
    # count as much as one with it
    return values if loss.weights is None else values * loss.weights[classes]


def _two_sided(loss: ImageLoss, logits: Tensor, targets: Tensor) -> Tensor:
    soft = targets * (1.0 - loss.smoothing) + 0.5 * loss.smoothing
    values = functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    if loss.gamma:
        # (1 - p) ** gamma by its logarithm: the power itself has no finite gradient at p = 1 for gamma below 1
        values = values * (loss.gamma * functional.logsigmoid(logits * (1.0 - 2.0 * targets))).exp()
    if loss.alpha is not None:
        values = values * (loss.alpha * targets + (1.0 - loss.alpha) * (1.0 - targets))
    if loss.weights is None:
        return values
    if loss.kind == "multi-label":
        return values * loss.weights
    return values * (loss.weights[1] * targets + loss.weights[0] * (1.0 - targets))


def _squared(loss: ImageLoss, logits: Tensor, targets: Tensor) -> Tensor:
    errors = logits - targets
    return (errors if loss.deviations is None else errors / loss.deviations).square()


_LOSSES: dict[str, Callable[[ImageLoss, Tensor, Tensor], Tensor]] = {
    "binary": _two_sided,
    "multi-class": _multi_class,
    "multi-label": _two_sided,
    "real": _squared,
}


def build_image_loss(
    config: LossConfig,
    kind: LabelKind,
    class_counts: Sequence[int] | None = None,
    deviations: Sequence[float] | None = None,
) -> ImageLoss:
    """Build a loss.

    Arguments: ``class_weights`` (``balanced``, or a list), ``label_smoothing``, and for ``focal`` also ``gamma``
    (default 2) and ``alpha``. ``balanced`` weighs each class by what is left when all are to count alike, with mean 1
    over the training images; for ``multi-label`` it weighs the labels, not their two sides: rare labels count more.

    Args:
        config: Name and the arguments that replace the defaults.
        kind: What a label is.
        class_counts: Training images of each class (``binary``: of 0 and of 1), or with each label
            (``multi-label``). Only ``balanced`` needs them; a list of weights is checked against them.
        deviations: Of each number over the training images (``real``), the unit of its errors; None: as they are.

    Returns:
        The loss.

    Raises:
        RecipeError: If the loss is not for this kind, or an argument is wrong.

    Example:
        >>> loss = build_image_loss(LossConfig(name="cross-entropy"), "binary", None)
        >>> round(loss(torch.zeros(4, 1), torch.ones(4, 1)).item(), 4)
        0.6931
    """
    if (kind == "real") != (config.name == "mse"):
        fitting = "mse" if kind == "real" else "cross-entropy or focal"
        raise RecipeError(f"loss.name: expected {fitting} where data.labels.kind is {kind}; got {config.name!r}")
    check_name("loss for whole images named", config.name, _ARGUMENTS)
    for key in config.args:
        if not _ARGUMENTS[config.name]:
            raise RecipeError(f"loss.args: the loss {config.name!r} takes none; got {key!r}")
        check_name(f"argument of loss {config.name!r} named", key, _ARGUMENTS[config.name])
    if kind == "multi-class" and config.args.get("alpha") is not None:
        raise RecipeError("loss.args.alpha: expected empty where there are several classes; take class_weights")
    return ImageLoss(
        kind,
        weights=_weights(config.args.get("class_weights"), kind, class_counts),
        smoothing=_number(config.args, "label_smoothing", 0.0, below=1.0),
        gamma=_number(config.args, "gamma", 2.0 if config.name == "focal" else 0.0, below=math.inf),
        alpha=_number(config.args, "alpha", 0.0, below=1.0) if config.args.get("alpha") is not None else None,
        deviations=deviations,
    )


def _number(arguments: Mapping[str, JsonValue], key: str, default: float, *, below: float) -> float:
    value = arguments.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        bound = f"from 0 to below {below:g}" if below < math.inf else "from 0"
        raise RecipeError(f"loss.args.{key}: expected a number {bound}; got {value!r}")
    return float(value)


def _weights(given: JsonValue, kind: LabelKind, counts: Sequence[int] | None) -> list[float] | None:
    if given is None:
        return None
    if given == "balanced":
        return _balanced(kind, counts)
    if not isinstance(given, list) or not given:
        raise RecipeError(f"loss.args.class_weights: expected balanced or a list of numbers; got {given!r}")
    number = 2 if kind == "binary" else len(counts) if counts is not None else len(given)
    if len(given) != number:
        what = "labels" if kind == "multi-label" else "classes"
        raise RecipeError(
            f"loss.args.class_weights: expected {number} numbers, for the {what} in order; got {len(given)}"
        )
    for value in given:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise RecipeError(f"loss.args.class_weights: expected numbers above 0; got {value!r}")
    return [float(value) for value in given if isinstance(value, int | float)]


def _balanced(kind: LabelKind, counts: Sequence[int] | None) -> list[float]:
    if counts is None:
        raise RecipeError("loss.args.class_weights: balanced needs the training images of each class; give a list")
    if min(counts) < 1:
        what = "label" if kind == "multi-label" else "class"
        raise RecipeError(
            f"loss.args.class_weights: balanced needs a training image of every {what}; there is none of {what} "
            f"{list(counts).index(min(counts))}, counted from 0"
        )
    if kind == "multi-label":
        inverse = [1.0 / count for count in counts]
        return [value * len(inverse) / sum(inverse) for value in inverse]
    return [sum(counts) / (len(counts) * count) for count in counts]
