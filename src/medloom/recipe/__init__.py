"""The recipe: one YAML that says everything about a run."""

from __future__ import annotations

from medloom.recipe.loading import builtin_names, builtin_text, load_recipe, parse_recipe
from medloom.recipe.schema import (
    AugmentConfig,
    DataConfig,
    EvaluateConfig,
    LossConfig,
    ModelConfig,
    NormaliseConfig,
    PhantomConfig,
    PreprocessConfig,
    Recipe,
    SplitConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "EvaluateConfig",
    "LossConfig",
    "ModelConfig",
    "NormaliseConfig",
    "PhantomConfig",
    "PreprocessConfig",
    "Recipe",
    "SplitConfig",
    "TrainConfig",
    "builtin_names",
    "builtin_text",
    "load_recipe",
    "parse_recipe",
]
