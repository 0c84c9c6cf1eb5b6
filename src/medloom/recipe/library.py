"""The recipes inside the package. Imports nothing heavy, so that listing them is instant."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

import yaml

from medloom.errors import RecipeError
from medloom.wording import nearest

__all__ = ["builtin_names", "builtin_summaries", "builtin_text"]


def builtin_names() -> list[str]:
    """Return the names of the recipes inside the package, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _builtins().iterdir() if entry.name.endswith(".yaml"))


def builtin_text(name: str) -> str:
    """Return the commented YAML of a built-in recipe.

    Raises:
        RecipeError: If there is none of that name; the message has the nearest one.
    """
    if name not in builtin_names():
        raise RecipeError(f"there is no recipe {name!r}{nearest(name, builtin_names())}; `medloom recipes` lists them")
    return (_builtins() / f"{name}.yaml").read_text(encoding="utf-8")


def builtin_summaries() -> dict[str, str]:
    """Return the one-sentence description of each built-in recipe by its name."""
    return {name: str(yaml.safe_load(builtin_text(name)).get("description", "")) for name in builtin_names()}


def _builtins() -> Traversable:
    return resources.files("medloom.recipe") / "builtin"
