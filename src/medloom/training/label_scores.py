"""The metrics of a validation pass over labels of whole images, to pick the best epoch.

The metrics that are reported come from ``medloom.evaluation``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from medloom.metrics.classification import accuracy, confusion_matrix, f1_score
from medloom.metrics.ranking import average_precision, roc_auc
from medloom.metrics.weights import divide
from medloom.training.answers import Answers

__all__ = ["LabelAnswers", "LabelMetrics", "LabelScores", "no_metrics", "rank_classes", "rank_each"]

Floats64 = NDArray[np.float64]

LabelMetrics = Callable[[Floats64, Floats64], dict[str, float]]
"""From logits ``(N, K)`` and labels ``(N, T)`` to metrics; NaN where the samples do not have what one takes."""

LabelAnswers = Callable[[Floats64, Floats64], Answers]
"""From the same to what was answered."""


class LabelScores:
    """Keeps every answer of a validation pass beside its truth: a rank cannot be summed batch by batch.

    Several processes fill their own places of the same table, so the sum over the processes is the whole.

    Args:
        count: Validation samples.
        outputs: K of the logits.
        width: T of the labels.
        measure: What is measured beside the loss.
        device: Where the table lives.
        answer: What logits and truth say; None where nobody asks for single samples.
    """

    def __init__(
        self,
        count: int,
        outputs: int,
        width: int,
        measure: LabelMetrics,
        device: torch.device,
        answer: LabelAnswers | None = None,
    ) -> None:
        self.outputs = outputs
        self.sums = torch.zeros((count, outputs + width + 1), dtype=torch.float64, device=device)
        self._measure, self._answer = measure, answer
        self._seen = 0

    def add(self, loss: Tensor, logits: Tensor, truth: Tensor, picks: NDArray[np.int64], whole: int) -> None:
        """Add this process's part of a batch.

        Args:
            loss: Its mean loss.
            logits: ``(N, K)``.
            truth: ``(N, T)``; NaN where a label is unknown.
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

    def metrics(self) -> dict[str, float]:
        """Return every metric; NaN where the samples do not have what it takes, such as a second class."""
        table = self.sums[: self._seen].cpu().numpy()
        logits, truth = self._split(table)
        # A batch's loss is the mean over its known labels, so it weighs as much as there are of them.
        known = np.count_nonzero(~np.isnan(truth), axis=1)
        return {"val_loss": float(divide(table[:, -1] @ known, known.sum())), **self._measure(logits, truth)}

    def answers(self) -> Answers | None:
        """Return what was answered beside the truth; None before the first validation, or where nobody asks."""
        if self._answer is None or self._seen == 0:
            return None
        return self._answer(*self._split(self.sums[: self._seen].cpu().numpy()))

    def _split(self, table: Floats64) -> tuple[Floats64, Floats64]:
        return table[:, : self.outputs], table[:, self.outputs : -1]


def rank_each(logits: Floats64, truth: Floats64) -> dict[str, float]:
    """Return ``auc``, ``average_precision``, ``f1`` and ``accuracy`` of outputs of which each is a yes or no.

    The first three are means over the outputs, the last is over all answers; yes is from probability 0.5 on.
    """
    known = ~np.isnan(truth)
    pairs = [(truth[told, index].astype(np.int64), logits[told, index]) for index, told in enumerate(known.T)]
    matrices = np.concatenate([confusion_matrix(labels, scores >= 0, 2) for labels, scores in pairs])
    return {**_ranking(pairs), **_deciding(f1_score(matrices)[:, 1], matrices.sum(axis=0))}


def rank_classes(logits: Floats64, truth: Floats64) -> dict[str, float]:
    """Return ``auc``, ``average_precision``, ``f1``, means over the classes against the rest, and ``accuracy``.

    The last two are of the most probable class.
    """
    shares, classes = softmax(logits, axis=1), logits.shape[1]
    matrix = confusion_matrix(truth[:, 0], logits.argmax(axis=1), classes)[0]
    pairs = [((truth[:, 0] == index).astype(np.int64), shares[:, index]) for index in range(classes)]
    return {**_ranking(pairs), **_deciding(f1_score(matrix), matrix)}


def no_metrics(logits: Floats64, truth: Floats64) -> dict[str, float]:
    """Return nothing: the loss is the only metric."""
    return {}


def _ranking(pairs: Sequence[tuple[NDArray[np.int64], Floats64]]) -> dict[str, float]:
    return {
        "auc": _mean([float(roc_auc(labels, scores)[0]) for labels, scores in pairs]),
        "average_precision": _mean([float(average_precision(labels, scores)[0]) for labels, scores in pairs]),
    }


def _deciding(f1: Floats64, matrix: Floats64) -> dict[str, float]:
    return {"f1": _mean(f1.tolist()), "accuracy": float(accuracy(matrix))}


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
