"""The metrics of a validation pass over masks, summed on the device batch by batch.

They are taken at the size of the pixel store and at threshold 0.5, to pick the best epoch. The metrics that
are reported come from ``medloom.evaluation``, in the geometry of the original images.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medloom.targets import IGNORED
from medloom.training.answers import Answers, presence_answers

__all__ = ["MaskScores", "sample_scores"]

_SUMS = 6


def sample_scores(logits: Tensor, masks: Tensor) -> Tensor:
    """Compare predictions with the truth, sample by sample.

    With several classes, Dice is the mean over the classes of the foreground: those in the truth for samples
    with foreground, all of them (empty and left empty = 1) for ``dice_all``.

    Args:
        logits: ``(N, K, H, W)``; K = 1 for background and one class, else one for each class.
        masks: ``(N, H, W)`` integer class indices, 0 for the background; pixels that are ``IGNORED`` are left out.

    Returns:
        ``(N, 4)`` float64: Dice over the classes present (0 without any), Dice over all classes, whether the
        truth holds foreground, whether the prediction does.
    """
    predicted, truth = _foreground(logits, masks)
    hits = (predicted & truth).sum((2, 3)).double()
    predicted_px, truth_px = predicted.sum((2, 3)), truth.sum((2, 3))
    total = (predicted_px + truth_px).double()
    dice = torch.where(total > 0, 2.0 * hits / total.clamp(min=1.0), 1.0)
    present = (truth_px > 0).double()
    dice_present = (dice * present).sum(1) / present.sum(1).clamp(min=1.0)
    columns = [dice_present, dice.mean(1), present.amax(1), (predicted_px.sum(1) > 0).double()]
    return torch.stack(columns, dim=1)


def _foreground(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """One boolean plane for each class of the foreground: ``(N, F, H, W)`` predicted and true."""
    known = (masks != IGNORED)[:, None]
    if logits.shape[1] == 1:
        return (logits >= 0) & known, (masks[:, None] > 0) & known
    classes = torch.arange(1, logits.shape[1], device=logits.device)[:, None, None]
    return (logits.argmax(1, keepdim=True) == classes) & known, masks[:, None] == classes


def _sureness(logits: Tensor, masks: Tensor) -> Tensor:
    """The largest probability of foreground of a pixel that counts, ``(N,)``."""
    odds = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1:].logsumexp(1) - logits[:, 0]
    return odds.masked_fill(masks == IGNORED, -torch.inf).amax((1, 2)).sigmoid()


class MaskScores:
    """Sums over the samples of a validation pass, and of each whether it holds foreground and how sure that is.

    Args:
        device: Where the sums live; nothing waits for the device until ``metrics``.
        count: Validation samples; 0 where nobody asks for single ones.
    """

    def __init__(self, device: torch.device, count: int = 0) -> None:
        self.sums = torch.zeros(_SUMS + 2 * count, dtype=torch.float64, device=device)
        self._seen = 0

    def add(
        self, loss: Tensor, logits: Tensor, masks: Tensor, picks: NDArray[np.int64] | None = None, whole: int = 0
    ) -> None:
        """Add this process's part of a batch.

        Args:
            loss: Its mean loss.
            logits: ``(N, K, H, W)``.
            masks: ``(N, H, W)``.
            picks: Positions in the batch, ``(N,)``; None where nobody asks for single samples.
            whole: Samples of the batch, over all processes.
        """
        dice_present, dice_all, true, found = sample_scores(logits, masks).T
        count = len(masks)
        parts = [loss.double() * count, dice_present, dice_all, found * (1 - true), true, torch.ones_like(true)]
        self.sums[:_SUMS] += torch.stack([part.sum() for part in parts])
        if picks is not None:
            rows = torch.from_numpy(self._seen + picks).to(self.sums.device)
            self.sums[_SUMS:].view(-1, 2)[rows] = torch.stack([_sureness(logits, masks).double(), true], dim=1)
        self._seen += whole

    def skip(self, whole: int) -> None:
        """Pass over a batch that other processes add."""
        self._seen += whole

    def answers(self) -> Answers | None:
        """Return whether samples hold foreground, as answered and in truth; None where nobody asks for single ones."""
        table = self.sums[_SUMS:].view(-1, 2)[: self._seen].cpu().numpy()
        return presence_answers(table[:, 0], table[:, 1]) if len(table) else None

    def metrics(self) -> dict[str, float]:
        """Return every metric; NaN where there is nothing to take it over.

        ``dice_balanced`` is the mean of ``dice_foreground`` and 1 - ``false_positive_rate``, or the one of them that
        exists.
        """
        loss, dice_present, dice_all, false_positives, positives, samples = self.sums[:_SUMS].tolist()
        dice = _ratio(dice_present, positives)
        false_positive_rate = _ratio(false_positives, samples - positives)
        balanced = [value for value in (dice, 1.0 - false_positive_rate) if not math.isnan(value)]
        return {
            "val_loss": _ratio(loss, samples),
            "dice_foreground": dice,
            "dice_all": _ratio(dice_all, samples),
            "false_positive_rate": false_positive_rate,
            "dice_balanced": _ratio(sum(balanced), len(balanced)),
        }


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan
