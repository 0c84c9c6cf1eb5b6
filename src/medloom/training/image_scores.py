"""The figures of a validation pass over labels of whole images, to pick the best epoch.

The figures that are reported come from ``medloom.evaluation``.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from medloom.metrics.ranking import average_precision, roc_auc
from medloom.models.registry import LabelKind

__all__ = ["ImageScores"]

Floats = NDArray[np.float64]


class ImageScores:
    """Keeps every answer of a validation pass beside its truth: a rank cannot be summed batch by batch.

    Several processes fill their own places of the same table, so the sum over the processes is the whole.

    Args:
        kind: What a label is.
        count: Validation samples.
        outputs: K of the logits.
        targets: T of the labels.
        device: Where the table lives.
    """

    def __init__(self, kind: LabelKind, count: int, outputs: int, targets: int, device: torch.device) -> None:
        self.kind = kind
        self.outputs = outputs
        self.sums = torch.zeros((count, outputs + targets + 1), dtype=torch.float64, device=device)
        self._seen = 0

    def add(self, loss: Tensor, logits: Tensor, truth: Tensor, picks: NDArray[np.int64], whole: int) -> None:
        """Add this process's part of a batch.

        Args:
            loss: Its mean loss.
            logits: ``(N, K)``.
            truth: ``(N, T)``.
            picks: Positions in the batch, ``(N,)``.
            whole: Samples of the batch, over all processes.
        """
        rows = torch.from_numpy(self._seen + picks).to(self.sums.device)
        losses = loss.double().expand(len(rows), 1)
        self.sums[rows] = torch.cat([logits.double(), truth.double(), losses], dim=1)
        self._seen += whole

    def skip(self, whole: int) -> None:
        """Pass over a batch that other processes add."""
        self._seen += whole

    def figures(self) -> dict[str, float]:
        """Return every metric; NaN where the samples do not have what it takes, such as a second class.

        With several classes, ``auc`` and ``average_precision`` are means over the classes, each against the rest.
        """
        table = self.sums[: self._seen].cpu().numpy()
        logits, truth = table[:, : self.outputs], table[:, self.outputs : -1]
        found = {"val_loss": float(table[:, -1].mean())}
        if self.kind == "real":
            return found
        pairs = _one_against_rest(logits, truth, self.kind)
        return found | {
            "auc": _mean([float(roc_auc(labels, scores)[0]) for labels, scores in pairs]),
            "average_precision": _mean([float(average_precision(labels, scores)[0]) for labels, scores in pairs]),
        }


def _one_against_rest(logits: Floats, truth: Floats, kind: LabelKind) -> list[tuple[NDArray[np.int64], Floats]]:
    if kind == "multi-class":
        shares = softmax(logits, axis=1)
        return [((truth[:, 0] == index).astype(np.int64), shares[:, index]) for index in range(logits.shape[1])]
    return [(truth[:, index].astype(np.int64), logits[:, index]) for index in range(logits.shape[1])]


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
