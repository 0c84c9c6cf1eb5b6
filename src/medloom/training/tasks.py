"""What differs between tasks while a network learns: inputs, truth, scores. The steps are the same.

Shapes: N images of a batch, C channels, H height, W width, K outputs, T targets, F columns of metadata.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from medloom.models.classifier import build_classifier
from medloom.models.image_losses import build_image_loss
from medloom.models.kinds import label_kind, outputs_of, targets_of
from medloom.models.losses import build_loss
from medloom.models.networks import build_network
from medloom.models.registry import LabelKind
from medloom.recipe import ModelConfig, Recipe
from medloom.training.batches import Batch
from medloom.training.image_scores import ImageScores
from medloom.training.scores import Scores
from medloom.transforms.augment import Augment, AugmentParameters, normalise

__all__ = ["Forward", "Task", "TaskScores", "build_task", "build_task_loss", "build_task_network", "check_network"]

Forward = Callable[..., Tensor]
"""A network, or its ``forward`` where it shall run uncompiled."""


class TaskScores(Protocol):
    """The figures of a validation pass; ``sums`` may be added over the processes."""

    sums: Tensor

    def figures(self) -> dict[str, float]:
        """Return every metric; NaN where there is nothing to take it over."""
        ...


class Task(Protocol):
    """What a task does with a batch."""

    def learn(
        self, network: Forward, augment: Augment, batch: Batch, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Return logits of the augmented batch and the truth that goes with them."""
        ...

    def answer(self, network: Forward, batch: Batch) -> Tensor:
        """Return logits of the batch as validation sees it."""
        ...

    def begin(self, device: torch.device) -> TaskScores:
        """Begin the figures of a validation pass."""
        ...

    def score(self, loss: Tensor, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the pass that was begun; one that this process does not own only counts."""
        ...


class SegmentationTask:
    """Images to a class for each pixel."""

    def __init__(self) -> None:
        self._scores = Scores(torch.device("cpu"))

    def learn(
        self, network: Forward, augment: Augment, batch: Batch, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Return logits ``(N, K, H, W)`` and the moved masks ``(N, H, W)``."""
        images, masks = augment.apply(batch.images, batch.truth, batch.offset, batch.scale, params)
        return network(images), masks

    def answer(self, network: Forward, batch: Batch) -> Tensor:
        """Return logits ``(N, K, H, W)``."""
        return network(normalise(batch.images, batch.offset, batch.scale))

    def begin(self, device: torch.device) -> TaskScores:
        """Begin the sums."""
        self._scores = Scores(device)
        return self._scores

    def score(self, loss: Tensor, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the sums."""
        if batch.owned > 0:
            self._scores.add(loss, logits, batch.truth)


class ImageTask:
    """Images, with or without metadata, to classes or numbers.

    Args:
        kind: What a label is.
        outputs: K.
        targets: T.
        validation: Number of validation samples.
        crop: Height and width of what the network sees, or None for the whole stored image.
    """

    def __init__(
        self, kind: LabelKind, outputs: int, targets: int, validation: int, crop: tuple[int, int] | None
    ) -> None:
        self.kind = kind
        self.outputs = outputs
        self.targets = targets
        self.validation = validation
        self.crop = crop
        self._scores = self._fresh(torch.device("cpu"))

    def learn(
        self, network: Forward, augment: Augment, batch: Batch, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Return logits ``(N, K)`` and labels ``(N, T)``."""
        return network(augment.apply_image(batch.images, batch.offset, batch.scale, params), batch.table), batch.truth

    def answer(self, network: Forward, batch: Batch) -> Tensor:
        """Return logits ``(N, K)`` of the middle of the images."""
        return network(normalise(batch.images, batch.offset, batch.scale, self.crop), batch.table)

    def begin(self, device: torch.device) -> TaskScores:
        """Begin the table of answers."""
        self._scores = self._fresh(device)
        return self._scores

    def score(self, loss: Tensor, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the table."""
        if batch.owned > 0:
            self._scores.add(loss, logits, batch.truth, batch.picks, len(batch.rows))
        else:
            self._scores.skip(len(batch.rows))

    def _fresh(self, device: torch.device) -> ImageScores:
        return ImageScores(self.kind, self.validation, self.outputs, self.targets, device)


def build_task(recipe: Recipe, validation: int) -> Task:
    """Build the task of a recipe.

    Args:
        recipe: The recipe, with its labels' kind known.
        validation: Number of validation samples.
    """
    if recipe.task == "segmentation":
        return SegmentationTask()
    return ImageTask(label_kind(recipe), outputs_of(recipe), targets_of(recipe), validation, recipe.preprocess.crop)


def build_task_network(recipe: Recipe, channels: int, table_features: int, *, trained: bool = False) -> nn.Module:
    """Build the network of a recipe.

    Args:
        recipe: The recipe.
        channels: C.
        table_features: F.
        trained: Its weights will be loaded, so no pretrained ones are fetched.
    """
    size = recipe.preprocess.input_size
    if recipe.task == "segmentation":
        return build_network(recipe.model, channels, outputs_of(recipe), size)
    model = _without_weights(recipe.model) if trained else recipe.model
    return build_classifier(
        model, in_channels=channels, outputs=outputs_of(recipe), size=size, table_features=table_features
    )


def _without_weights(model: ModelConfig) -> ModelConfig:
    return model.model_copy(update={"weights": "none"})


def check_network(recipe: Recipe) -> None:
    """Build the network once, so that a wrong name, argument or file of weights is found before any image is read.

    Nothing is fetched from a hub, and the caller's random numbers stay as they are.

    Args:
        recipe: The recipe; the kind of its labels need not be known.

    Raises:
        RecipeError: If the network cannot be built.
    """
    channels, size = len(recipe.data.channels), recipe.preprocess.input_size
    with torch.random.fork_rng():
        if recipe.task == "segmentation":
            build_network(recipe.model, channels, outputs_of(recipe), size)
            build_loss(recipe.loss, outputs_of(recipe))
            return
        model = _without_weights(recipe.model) if recipe.model.weights == "imagenet" else recipe.model
        metadata = recipe.data.labels.metadata
        columns = len(metadata.numeric) + len(metadata.categorical)  # whatever numbers they are going to make
        build_classifier(model, in_channels=channels, outputs=1, size=size, table_features=columns)


def build_task_loss(recipe: Recipe, class_counts: list[int] | None, deviations: list[float] | None) -> nn.Module:
    """Build the loss of a recipe.

    Args:
        recipe: The recipe.
        class_counts: Training samples of each class, or with each label; for balanced class weights.
        deviations: Of each number over the training samples; the unit of its errors.
    """
    if recipe.task == "segmentation":
        return build_loss(recipe.loss, outputs_of(recipe))
    return build_image_loss(recipe.loss, label_kind(recipe), class_counts, deviations)
