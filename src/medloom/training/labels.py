"""Learning a row of numbers for the whole image, from the image, its metadata, or both.

Shapes: N images of a batch, C channels, H height, W width, K outputs, T numbers in a label, F columns of metadata.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medloom.data.catalogue import labels_of, meta_of
from medloom.errors import DataError
from medloom.recipe import LabelsRecipe, Recipe
from medloom.training.answers import Answers, class_answers, label_answers, number_answers, yes_answers
from medloom.training.batches import Batch, Rows
from medloom.training.label_scores import LabelMetrics, LabelScores, no_metrics, rank_classes, rank_each
from medloom.training.preview import View, image_views
from medloom.training.samples import Samples
from medloom.training.tasks import Forward, Pictures
from medloom.transforms.augment import Augment, AugmentParameters, normalise
from medloom.transforms.augment.mixing import mix_images, mix_rows

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore

__all__ = ["AUTO", "BINARY", "MULTI_CLASS", "MULTI_LABEL", "REGRESSION", "LabelTask", "LabelTraining", "LabelTruth"]

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Shares = Callable[[Tensor, int], Tensor]
"""From labels ``(N, T)`` and the number of outputs K to numbers of which a mean of two has a meaning."""


@dataclass(frozen=True)
class LabelTruth:
    """Labels and metadata of the samples.

    Args:
        sample_ids: ``(M,)``.
        labels: ``(M, T)``: a class index, or a number for each target; NaN where it is unknown.
        metadata: ``(M, F)``, encoded; F may be 0.
    """

    sample_ids: tuple[str, ...]
    labels: Floats32
    metadata: Floats32

    def samples(self, store: PixelStore) -> Samples:
        """Return the store's images with labels and metadata, in the order of the store's rows."""
        rows = store.rows(self.sample_ids)
        truth = np.zeros((len(store), self.labels.shape[1]), np.float32)
        table = np.zeros((len(store), self.metadata.shape[1]), np.float32)
        truth[rows], table[rows] = self.labels, self.metadata
        positive = np.asarray((truth > 0).any(axis=1))
        return Samples(store.images, truth, table, store.offset, store.scale, positive)


class LabelTask:
    """See ``medloom.training.tasks.Task``.

    Args:
        begin: From a device to the empty table of a validation pass.
        crop: Height and width of what the network sees, or None for the whole stored image.
        shares: From labels ``(N, T)`` and K to how much of each the loss can be given.
    """

    pictures: Pictures | None = None

    def __init__(
        self, begin: Callable[[torch.device], LabelScores], crop: tuple[int, int] | None, shares: Shares
    ) -> None:
        self.crop = crop
        self._shares = shares
        self._begin = begin
        self._scores = begin(torch.device("cpu"))

    def learn(
        self, network: Forward, augment: Augment, batch: Batch, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Return logits ``(N, K)`` and labels ``(N, T)``, or where images are mixed what the loss takes for shares."""
        images = augment.apply_image(batch.images, batch.offset, batch.scale, params)
        if params.mixing is None:
            return network(images, batch.table), batch.truth
        logits = network(mix_images(images, params.mixing), mix_rows(batch.table, params.mixing))
        return logits, mix_rows(self._shares(batch.truth, logits.shape[1]), params.mixing)

    def answer(self, network: Forward, batch: Batch) -> Tensor:
        """Return logits ``(N, K)`` of the middle of the images."""
        return network(normalise(batch.images, batch.offset, batch.scale, self.crop), batch.table)

    def unknown(self, truth: Tensor) -> Tensor:
        """Return which labels are not known, ``(N, T)``, or ``(N, K)`` of shares."""
        return truth.isnan()

    def begin(self, device: torch.device) -> LabelScores:
        """Begin the table of answers."""
        self._scores = self._begin(device)
        return self._scores

    def score(self, loss: Tensor, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the table."""
        if batch.owned > 0:
            self._scores.add(loss, logits, batch.truth, batch.picks, len(batch.rows))
        else:
            self._scores.skip(len(batch.rows))


def as_they_are(truth: Tensor, outputs: int) -> Tensor:
    """Return labels of 0 and 1, which are shares already."""
    return truth


def of_each_class(truth: Tensor, outputs: int) -> Tensor:
    """Return ``(N, K)`` the share of each class: all of one; unknown where the class is.

    Args:
        truth: ``(N, 1)`` float32 indices of classes, NaN where unknown.
        outputs: K.
    """
    known = ~truth.isnan()
    whole = functional.one_hot(torch.where(known, truth, 0)[:, 0].long(), outputs).float()
    return torch.where(known, whole, torch.nan)


@dataclass(frozen=True)
class LabelTraining:
    """See ``medloom.training.tasks.TrainingKind``.

    Args:
        measure: What is measured in validation beside the loss.
        answer: From the names of the target, logits and labels to what was answered.
        shares: How labels are written where images, and with them their labels, are mixed.
    """

    measure: LabelMetrics = no_metrics
    answer: Callable[[tuple[str, ...], Floats64, Floats64], Answers] = number_answers
    shares: Shares = as_they_are

    def read_truth(self, catalogue: pd.DataFrame, tables: TableEncoding | None) -> LabelTruth:
        """Take labels and metadata from the catalogue."""
        labels = labels_of(catalogue).astype(np.float32)
        table = np.zeros((len(labels), 0), np.float32) if tables is None else tables.encode(meta_of(catalogue))
        return LabelTruth(tuple(catalogue["sample_id"].tolist()), labels, table)

    def check(self, samples: Samples, validation_rows: Rows, monitor: str) -> None:
        """Raise if a ranking is monitored and there is nothing to rank."""
        truth = samples.truth[validation_rows]
        if monitor in ("auc", "average_precision") and not any(_several(column) for column in truth.T):
            raise DataError(f"train.monitor is {monitor} and validation has one class only; take loss")

    def task(self, recipe: Recipe, validation: int) -> LabelTask:
        """Return what is done with a batch."""
        target, measure = recipe.predicts(), self.measure
        answer = partial(self.answer, target.names)

        def begin(device: torch.device) -> LabelScores:
            return LabelScores(validation, target.outputs, target.truth_width, measure, device, answer)

        return LabelTask(begin, LabelsRecipe.of(recipe).preprocess.crop, self.shares)

    def augment(self, recipe: Recipe) -> Augment:
        """Return the random changes."""
        crop = LabelsRecipe.of(recipe).preprocess.crop
        return Augment.of(recipe.augment, crop, in_colour=recipe.in_colour)

    def positive_share(self, recipe: Recipe) -> float | None:
        """Return the share of the drawn samples that are not of the first class; numbers have no such key."""
        share: float | None = getattr(recipe.train, "positive_share", None)
        return share

    def fitted_truth(self, samples: Samples, train_rows: Rows) -> NDArray[Any]:
        """Return the labels ``(M, T)`` of the training samples."""
        labels: NDArray[Any] = samples.truth[train_rows]
        return labels

    def views(self, recipe: Recipe, store: PixelStore) -> Callable[[int], list[View]]:
        """Return a function that shows a row."""
        return image_views(self.augment(recipe), store, recipe.train.seed)


def _several(column: NDArray[Any]) -> bool:
    """Whether labels, as far as they are known, differ."""
    return len(np.unique(column[~np.isnan(column)])) > 1


BINARY = LabelTraining(rank_each, yes_answers)
MULTI_CLASS = LabelTraining(rank_classes, class_answers, of_each_class)
MULTI_LABEL = LabelTraining(rank_each, label_answers)
REGRESSION = LabelTraining()
AUTO = LabelTraining()
"""For labels that are not known yet: images can be shown as training may see them."""
