"""Networks and losses of recipes whose answer is a class for each pixel."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from medloom.errors import BundleError, RecipeError
from medloom.models.losses import EveryScale, build_mask_loss, sums_in
from medloom.models.network import Network
from medloom.models.networks import build_mask_network
from medloom.models.soft_losses import SoftLoss
from medloom.models.sources import is_remote
from medloom.models.spec import Spec
from medloom.models.tuning import Tuning
from medloom.recipe import MasksRecipe, Recipe
from medloom.recipe.kinds.masks import MasksModel

__all__ = ["MASKS", "MaskModels"]


class MaskModels:
    """See ``medloom.models.kinds.ModelKind``."""

    def build_network(self, recipe: Recipe, channels: int, table_features: int, *, trained: bool = False) -> Network:
        """Build the network of a recipe; with ``trained`` no pretrained weights are fetched."""
        model, outputs = MasksRecipe.of(recipe).model, recipe.predicts().outputs
        return _network(model, "none" if trained else model.weights, channels, outputs, recipe.preprocess.input_size)

    def check(self, recipe: Recipe, *, fetch: bool = False) -> None:
        """Build the network and the loss once."""
        model, outputs = MasksRecipe.of(recipe).model, recipe.predicts().outputs
        weights = "none" if is_remote(model.weights) and not fetch else model.weights
        with torch.random.fork_rng():
            _network(model, weights, recipe.data.input_channels, outputs, recipe.preprocess.input_size)
            self.build_loss(recipe, None)

    def build_loss(self, recipe: Recipe, truth: NDArray[Any] | None) -> nn.Module:
        """Build the loss; it needs nothing of the truth."""
        masks = MasksRecipe.of(recipe)
        outputs = masks.predicts().outputs
        loss = build_mask_loss(masks.loss.name, outputs, masks.loss.args, ignores=bool(masks.target.ignores))
        if masks.train.monitor == "loss" and any(one.changes for one in sums_in(loss)):
            raise RecipeError(
                "train.monitor: a loss whose weights change (loss.args.terms, per_epoch) cannot be compared between "
                "epochs, so it cannot pick the best; take dice_balanced"
            )
        return EveryScale(loss) if masks.model.deep_supervision else loss

    def build_soft_loss(self, recipe: Recipe, truth: NDArray[Any] | None, temperature: float) -> nn.Module:
        """Build the loss against the probabilities of another network, pixel by pixel and of the whole foreground."""
        return SoftLoss(recipe.predicts().activation, temperature=temperature, overlap=True)

    def standardise(self, network: Network, truth: NDArray[Any] | None) -> None:
        """Leave the network as it is."""

    def rebuild(self, spec: Spec, table_features: int) -> Network:
        """Build the network of a bundle."""
        try:
            model = MasksModel.model_validate({"name": spec.name, "args": dict(spec.args), **spec.options})
        except ValidationError as error:
            raise BundleError(f"this version of Medloom knows no network {spec.name!r}") from error
        return _network(model, "none", spec.in_channels, spec.target.outputs, spec.size)


def _network(model: MasksModel, weights: str, channels: int, outputs: int, size: tuple[int, ...]) -> Network:
    tuning = Tuning(**model.tuning())
    return build_mask_network(
        model.name,
        channels,
        outputs,
        size,
        model.args,
        encoder=model.encoder,
        weights=weights,
        deep_supervision=model.deep_supervision,
        tuning=tuning,
    )


MASKS = MaskModels()
