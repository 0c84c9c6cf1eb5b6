"""What a label of a whole image can be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import RecipeError
from medloom.models.registry import LabelKind
from medloom.recipe import Recipe

__all__ = ["class_counts", "label_kind", "label_kind_of", "outputs_of", "targets_of"]


def label_kind(recipe: Recipe) -> LabelKind:
    """Return the kind of the recipe's labels, which ``prepare`` has found out.

    Raises:
        RecipeError: If it is still ``auto``.
    """
    kind = recipe.data.labels.kind
    if kind == "auto":
        raise RecipeError(
            "data.labels.kind is auto: run `medloom prepare`, which finds out, or say what the labels are"
        )
    return kind


def label_kind_of(recipe: Recipe) -> LabelKind | None:
    """Return the kind of the recipe's labels of whole images; None where the labels are masks."""
    return None if recipe.task == "segmentation" else label_kind(recipe)


def outputs_of(recipe: Recipe) -> int:
    """Return the outputs of the network: one for two classes, else one for each class or target."""
    if recipe.task == "segmentation":
        return _of_classes(len(recipe.data.classes))
    if label_kind(recipe) in ("binary", "multi-class"):
        return _of_classes(len(recipe.data.labels.classes))
    return len(recipe.data.labels.targets)


def targets_of(recipe: Recipe) -> int:
    """Return the numbers in a label: a class index, or one for each target."""
    return 1 if label_kind(recipe) in ("binary", "multi-class") else len(recipe.data.labels.targets)


def class_counts(recipe: Recipe, truth: NDArray[Any]) -> list[int] | None:
    """Return how many samples there are of each class, or with each label; None for numbers.

    Args:
        recipe: The recipe, whose labels are of whole images.
        truth: ``(N, T)`` labels.
    """
    if label_kind(recipe) == "real":
        return None
    if label_kind(recipe) == "multi-label":
        counts: list[int] = (truth > 0).sum(axis=0).tolist()
        return counts
    found: list[int] = np.bincount(truth[:, 0].astype(np.int64), minlength=len(recipe.data.labels.classes)).tolist()
    return found


def _of_classes(classes: int) -> int:
    return 1 if classes == 2 else classes
