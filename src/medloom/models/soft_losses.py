"""Losses against the answers of another network, for distillation: what is not known of the truth counts nowhere.

Shapes: N images of a batch, K outputs, S scales.

Sources: Hinton et al. 2015 (arXiv:1503.02531) for the temperature; Wang et al. 2023 (arXiv:2303.16296) for the Dice
semimetric, which unlike the soft Dice is least where the probabilities are those that were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from medloom.targets import Activation

__all__ = ["DistilledLoss", "SoftLoss"]

_LEAST = 1e-6
"""Probabilities are kept so far from 0 and 1, so that their logarithms are finite."""


class SoftLoss(nn.Module):
    """How far logits are from answers of another network, in float32.

    Args:
        activation: What turns logits into answers: ``sigmoid`` and ``softmax`` give the Kullback-Leibler divergence,
            ``identity`` the mean squared error.
        temperature: What logits of both are divided by; the loss is multiplied by its square, so that its gradient
            stays as large.
        overlap: Add the Dice semimetric of the foreground over the whole batch.
        deviations: Of ``identity``: the unit of each number ``(K,)``.
    """

    unit: Tensor | None

    def __init__(
        self,
        activation: Activation,
        *,
        temperature: float = 1.0,
        overlap: bool = False,
        deviations: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.activation, self.temperature, self.batch = activation, temperature, overlap
        unit = None if deviations is None else torch.tensor(deviations, dtype=torch.float32)
        self.register_buffer("unit", unit, persistent=False)

    def forward(self, logits: Tensor, soft: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(N, K, ...)``, or ``(N, S, K, ...)`` of several scales, the finest first, each of which counts
                half as much as the finer one.
            soft: ``(N, K, ...)`` float, answers of the other network; NaN where nothing is to be learned.

        Returns:
            Scalar, float32; 0 where both are the same, and where nothing is to be learned.
        """
        scales = logits.unbind(1) if logits.dim() > soft.dim() else (logits,)
        weights = [0.5**scale for scale in range(len(scales))]
        with torch.autocast(logits.device.type, enabled=False):
            values = [weight * self._of(one.float(), soft.float()) for weight, one in zip(weights, scales, strict=True)]
        return torch.stack(values).sum() / sum(weights)

    def _of(self, logits: Tensor, soft: Tensor) -> Tensor:
        known = ~soft.isnan()
        asked = torch.where(known, soft, 0.5)  # a number in the place of NaN: its gradient is cut off below
        if self.activation == "identity" and self.unit is not None:
            logits, asked = logits / self.unit, asked / self.unit
        values = _APART[self.activation](logits, asked, self.temperature)
        counts = known if values.dim() == known.dim() else known.all(1)
        loss = torch.where(counts, values, 0.0).sum() / counts.sum().clamp(min=1)
        return loss + self._overlap(logits, asked, known) if self.batch else loss

    def _overlap(self, logits: Tensor, asked: Tensor, known: Tensor) -> Tensor:
        """The Dice semimetric, the mean over the classes other than the background."""
        first = 0 if logits.shape[1] == 1 else 1
        given = logits.sigmoid() if first == 0 else logits.softmax(1)
        axes = [0, *range(2, logits.dim())]
        ours, theirs = (torch.where(known, part, 0.0)[:, first:] for part in (given, asked))
        apart, whole = (ours - theirs).abs().sum(axes), (ours + theirs).sum(axes)
        return (apart / whole.clamp(min=_LEAST)).mean()


class DistilledLoss(nn.Module):
    """Against the answers of another network in training, against the truth in validation.

    Args:
        soft: Takes logits and answers.
        hard: Takes logits and the truth.
    """

    def __init__(self, soft: nn.Module, hard: nn.Module) -> None:
        super().__init__()
        self.soft, self.hard = soft, hard

    def forward(self, logits: Tensor, asked: Tensor) -> Tensor:
        """Return the loss."""
        value: Tensor = (self.soft if self.training else self.hard)(logits, asked)
        return value


def _of_each(logits: Tensor, soft: Tensor, temperature: float) -> Tensor:
    """Of each output, (N, K, ...)."""
    asked = soft.clamp(_LEAST, 1 - _LEAST).logit() / temperature
    share = asked.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(logits / temperature, share, reduction="none")
    return temperature**2 * (cross - functional.binary_cross_entropy_with_logits(asked, share, reduction="none"))


def _of_all(logits: Tensor, soft: Tensor, temperature: float) -> Tensor:
    """Of all outputs together, (N, ...)."""
    asked = (soft.clamp(min=_LEAST).log() / temperature).log_softmax(1)
    given = (logits / temperature).log_softmax(1)
    return temperature**2 * functional.kl_div(given, asked, reduction="none", log_target=True).sum(1)


def _squared(logits: Tensor, soft: Tensor, temperature: float) -> Tensor:
    return (logits - soft).square()


_APART: Mapping[Activation, Callable[[Tensor, Tensor, float], Tensor]] = {
    "sigmoid": _of_each,
    "softmax": _of_all,
    "identity": _squared,
}
