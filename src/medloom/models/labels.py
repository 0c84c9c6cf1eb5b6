"""Networks and losses of recipes whose answer is a row of numbers for the whole image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from medloom.errors import BundleError
from medloom.models.classifier import Classifier, build_classifier
from medloom.models.image_losses import BinaryLoss, ClassesLoss, LabelsLoss, build_label_loss
from medloom.models.network import Network
from medloom.models.soft_losses import SoftLoss
from medloom.models.sources import is_remote
from medloom.models.spec import Spec
from medloom.models.tuning import Tuning
from medloom.recipe import LabelsRecipe, Recipe
from medloom.recipe.kinds.labels import LabelsModel
from medloom.targets import Target

__all__ = ["AUTO", "BINARY", "MULTI_CLASS", "MULTI_LABEL", "REGRESSION", "LabelModels", "NumberModels"]

Truth = NDArray[Any]
Facts = Callable[[Target, Truth | None], tuple[Any, ...]]
"""From the target and the labels ``(N, T)`` of the training images, or None, to what the losses of a kind are given
before the arguments of the recipe."""


def _unknown(target: Target, truth: Truth | None) -> tuple[Any, ...]:
    return ()


@dataclass(frozen=True)
class LabelModels:
    """See ``medloom.models.kinds.ModelKind``.

    Args:
        facts: What the losses of the kind must know of the labels.
    """

    facts: Facts = _unknown

    def build_network(self, recipe: Recipe, channels: int, table_features: int, *, trained: bool = False) -> Network:
        """Build the network of a recipe; with ``trained`` no pretrained weights are fetched."""
        model, outputs = LabelsRecipe.of(recipe).model, recipe.predicts().outputs
        weights = "none" if trained else model.weights
        return _classifier(model, weights, channels, outputs, recipe.preprocess.input_size, table_features)

    def check(self, recipe: Recipe, *, fetch: bool = False) -> None:
        """Build the network once; the kind of its labels need not be known."""
        recipe = LabelsRecipe.of(recipe)
        model, metadata = recipe.model, recipe.data.labels.metadata
        weights = "none" if is_remote(model.weights) and not fetch else model.weights
        columns = len(metadata.numeric) + len(metadata.categorical)  # whatever numbers they are going to make
        with torch.random.fork_rng():
            _classifier(model, weights, recipe.data.input_channels, 1, recipe.preprocess.input_size, columns)

    def build_loss(self, recipe: Recipe, truth: Truth | None) -> nn.Module:
        """Build the loss; class weights are balanced over ``truth``."""
        target = recipe.predicts()
        return build_label_loss(recipe.loss.name, target.kind, self.facts(target, truth), recipe.loss.args)

    def build_soft_loss(self, recipe: Recipe, truth: Truth | None, temperature: float) -> nn.Module:
        """Build the loss against the probabilities of another network."""
        return SoftLoss(recipe.predicts().activation, temperature=temperature)

    def standardise(self, network: Network, truth: Truth | None) -> None:
        """Leave the network as it is: logits have no unit."""

    def rebuild(self, spec: Spec, table_features: int) -> Network:
        """Build the network of a bundle."""
        try:
            model = LabelsModel.model_validate({"name": spec.name, "args": dict(spec.args), **spec.options})
        except ValidationError as error:
            raise BundleError(f"this version of Medloom knows no network {spec.name!r}") from error
        return _classifier(model, "none", spec.in_channels, spec.target.outputs, spec.size, table_features)


class NumberModels(LabelModels):
    """As ``LabelModels``, for numbers with a unit."""

    def build_soft_loss(self, recipe: Recipe, truth: Truth | None, temperature: float) -> nn.Module:
        """Build the loss against the numbers of another network, in the unit of each."""
        return SoftLoss("identity", deviations=None if truth is None else _deviations(truth))

    def standardise(self, network: Network, truth: Truth | None) -> None:
        """Let the network answer in the unit of the numbers, so that training need not find their size."""
        if truth is not None:
            network.standardise(torch.from_numpy(np.nanmean(truth, axis=0)), torch.tensor(_deviations(truth)))


def _classifier(
    model: LabelsModel, weights: str, channels: int, outputs: int, size: tuple[int, ...], table_features: int
) -> Classifier:
    return build_classifier(
        model.name,
        in_channels=channels,
        outputs=outputs,
        size=size,
        table_features=table_features,
        args=model.args,
        weights=weights,
        tuning=Tuning(**model.tuning()),
        dropout=model.dropout,
        metadata=model.metadata,
        table_width=model.table_width,
    )


def _sides(target: Target, truth: Truth | None) -> tuple[Any, ...]:
    return BinaryLoss, _class_counts(target, truth)


def _classes(target: Target, truth: Truth | None) -> tuple[Any, ...]:
    return ClassesLoss, _class_counts(target, truth)


def _labels(target: Target, truth: Truth | None) -> tuple[Any, ...]:
    return LabelsLoss, None if truth is None else (truth > 0).sum(axis=0).tolist()


def _numbers(target: Target, truth: Truth | None) -> tuple[Any, ...]:
    return (None if truth is None else _deviations(truth),)


def _class_counts(target: Target, truth: Truth | None) -> list[int] | None:
    """Training images of each class."""
    if truth is None:
        return None
    counts: list[int] = np.bincount(truth[:, 0].astype(np.int64), minlength=len(target.names)).tolist()
    return counts


def _deviations(truth: Truth) -> list[float]:
    """Of each number over the training images; 1 for one that never changes."""
    return [float(value) or 1.0 for value in np.nanstd(truth, axis=0)]


BINARY = LabelModels(_sides)
MULTI_CLASS = LabelModels(_classes)
MULTI_LABEL = LabelModels(_labels)
REGRESSION = NumberModels(_numbers)
AUTO = LabelModels()
"""For labels that are not known yet: the network can be checked."""
