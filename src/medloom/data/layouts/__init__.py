"""Layouts: how files and folders turn into samples. `medloom.registry.LAYOUTS` names them."""

from __future__ import annotations

from medloom import registry
from medloom.data.layouts.base import Item, Layout, Listing, Problem, Read, is_image, natural_key
from medloom.recipe import Recipe

__all__ = ["Item", "Layout", "Listing", "Problem", "Read", "build_layout", "is_image", "natural_key"]


def build_layout(recipe: Recipe) -> Layout:
    """Return the layout that a recipe names, ready to list files.

    Raises:
        RecipeError: If what the recipe says about it cannot work.
    """
    name: str = recipe.data.layout
    layout: Layout = registry.load(registry.LAYOUTS[name])(recipe)
    return layout
