"""Values of a recipe that a program sets, as the texts that the command line takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medloom.errors import RecipeError
from medloom.recipe.reference import yaml_text

__all__ = ["Settings", "setting_texts"]

Settings = Sequence[str] | Mapping[str, Any]
"""Values of a recipe to override: texts such as ``train.epochs=5``, or a mapping from dotted keys to values."""


def setting_texts(settings: Settings) -> list[str]:
    """Return settings as ``key=value`` texts.

    Args:
        settings: Such texts already, or values by dotted key: numbers, words, lists, paths, None.

    Raises:
        RecipeError: If a value is none that YAML can hold.

    Example:
        >>> setting_texts({"train.epochs": 5, "preprocess.size": (64, 64), "data.image": "{patient}/{sample}.png"})
        ['train.epochs=5', 'preprocess.size=[64, 64]', "data.image='{patient}/{sample}.png'"]
    """
    if isinstance(settings, str):
        raise RecipeError(f"settings: expected a list of texts, or values by key; got the text {settings!r}")
    if not isinstance(settings, Mapping):
        return list(settings)
    return [f"{key}={_text(key, value)}" for key, value in settings.items()]


def _text(key: str, value: object) -> str:
    plain = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    try:
        return yaml_text(plain)
    except yaml.YAMLError:
        raise RecipeError(
            f"settings: {key} has a value of type {type(value).__name__}; expected a number, a word, a list, a group "
            "of these, or None"
        ) from None
