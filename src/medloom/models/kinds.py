"""The networks and losses of each kind of answer: the one table by which this room tells kinds apart."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray
from torch import nn

from medloom.models.labels import AUTO, BINARY, MULTI_CLASS, MULTI_LABEL, REGRESSION
from medloom.models.masks import MASKS
from medloom.models.network import Network
from medloom.models.spec import Spec
from medloom.recipe import Recipe

__all__ = ["KINDS", "ModelKind", "build_network", "check_network"]


class ModelKind(Protocol):
    """How the network and the loss of a kind of answer are made."""

    def build_network(self, recipe: Recipe, channels: int, table_features: int, *, trained: bool = False) -> Network:
        """Build the network of a recipe; see ``build_network`` below."""
        ...

    def check(self, recipe: Recipe, *, fetch: bool = False) -> None:
        """Build the network once; see ``check_network`` below."""
        ...

    def build_loss(self, recipe: Recipe, truth: NDArray[Any] | None) -> nn.Module:
        """Build the loss of a recipe.

        Args:
            recipe: The recipe.
            truth: ``(N, T)`` labels of the training images; None for masks, of which none are read for this.

        Raises:
            RecipeError: If an argument of the loss is wrong.
        """
        ...

    def build_soft_loss(self, recipe: Recipe, truth: NDArray[Any] | None, temperature: float) -> nn.Module:
        """Build the loss against answers of another network.

        Args:
            recipe: The recipe.
            truth: As for ``build_loss``.
            temperature: What logits of both are divided by; of no use for numbers.
        """
        ...

    def standardise(self, network: Network, truth: NDArray[Any] | None) -> None:
        """Let the network answer in the unit of the truth, where that has one; ``truth`` as for ``build_loss``."""
        ...

    def rebuild(self, spec: Spec, table_features: int) -> Network:
        """Build one network of a bundle, with fresh weights.

        Args:
            spec: What the bundle says of it.
            table_features: F of this member of the bundle.

        Raises:
            BundleError: If this version has no such network.
            RecipeError: If it cannot be built.
        """
        ...


KINDS: dict[str, ModelKind] = {
    "masks": MASKS,
    "binary": BINARY,
    "multi-class": MULTI_CLASS,
    "multi-label": MULTI_LABEL,
    "regression": REGRESSION,
    "auto": AUTO,
}
"""By the recipe's ``target.kind``."""


def build_network(recipe: Recipe, channels: int, table_features: int, *, trained: bool = False) -> Network:
    """Build the network of a recipe, with weights that follow from torch's random numbers.

    Args:
        recipe: The recipe, with its target known.
        channels: C of the images.
        table_features: F, the numbers that metadata make; 0 without.
        trained: Its weights will be loaded, so no pretrained ones are fetched.

    Raises:
        RecipeError: If it cannot be built.
    """
    return KINDS[recipe.target.kind].build_network(recipe, channels, table_features, trained=trained)


def check_network(recipe: Recipe, *, fetch: bool = False) -> None:
    """Build the network once, so that a wrong name, argument or file of weights is found before any image is read.

    The caller's random numbers stay as they are.

    Args:
        recipe: The recipe; the kind of its labels need not be known.
        fetch: Whether pretrained weights that the recipe asks for are fetched from the hub too.

    Raises:
        RecipeError: If the network cannot be built.
    """
    KINDS[recipe.target.kind].check(recipe, fetch=fetch)
