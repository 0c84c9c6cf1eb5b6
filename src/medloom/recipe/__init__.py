"""The recipe: one YAML that says everything about a run.

The names are imported on first use: listing recipes needs none of pydantic's work on the schema.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medloom.recipe.library import builtin_names, builtin_summaries, builtin_text
    from medloom.recipe.loading import load_recipe, parse_recipe
    from medloom.recipe.schema import (
        AugmentConfig,
        DataConfig,
        EvaluateConfig,
        LabelsConfig,
        LossConfig,
        MetadataConfig,
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
    "LabelsConfig",
    "LossConfig",
    "MetadataConfig",
    "ModelConfig",
    "NormaliseConfig",
    "PhantomConfig",
    "PreprocessConfig",
    "Recipe",
    "SplitConfig",
    "TrainConfig",
    "builtin_names",
    "builtin_summaries",
    "builtin_text",
    "load_recipe",
    "parse_recipe",
]

_HOME = {
    "builtin_names": "library",
    "builtin_summaries": "library",
    "builtin_text": "library",
    "load_recipe": "loading",
    "parse_recipe": "loading",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'schema')}"), name)
