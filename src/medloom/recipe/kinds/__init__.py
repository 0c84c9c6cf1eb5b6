"""The recipe of each kind of answer: the one table by which a recipe finds its keys."""

from __future__ import annotations

from medloom.recipe.kinds.labels import (
    AutoRecipe,
    BinaryRecipe,
    MultiClassRecipe,
    MultiLabelRecipe,
    RegressionRecipe,
)
from medloom.recipe.kinds.masks import MasksRecipe
from medloom.recipe.recipe import Recipe

__all__ = ["DEFAULT", "KINDS"]

DEFAULT = "masks"
"""What a recipe without the section ``target`` predicts."""

KINDS: dict[str, type[Recipe]] = {
    "masks": MasksRecipe,
    "binary": BinaryRecipe,
    "multi-class": MultiClassRecipe,
    "multi-label": MultiLabelRecipe,
    "regression": RegressionRecipe,
    "auto": AutoRecipe,
}
"""The class of recipes by ``target.kind``; ``auto`` becomes one of the others while preparing."""
