"""From the names in a recipe to trackers; nothing heavy is imported before one is opened."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from medloom.errors import MissingExtraError
from medloom.recipe import Recipe
from medloom.registry import TRACKERS, load
from medloom.tracking.api import Tracker

__all__ = ["build_trackers", "check_trackers"]


def check_trackers(names: Sequence[str]) -> None:
    """Raise if the library of a tracker is not installed; none is imported.

    Raises:
        MissingExtraError: Naming the extra that brings it.
    """
    for name in names:
        traits = TRACKERS[name].traits
        if find_spec(traits["module"]) is None:
            raise MissingExtraError(traits["module"], traits["extra"])


def build_trackers(recipe: Recipe, folder: Path, names: Sequence[str] | None = None) -> list[Tracker]:
    """Return the trackers of a run.

    Args:
        recipe: Its section ``tracking`` says which, and where they are.
        folder: The run directory; what trackers keep on this machine lies beside it.
        names: Others than those of the recipe.

    Raises:
        MissingExtraError: If the library of one is not installed.
    """
    chosen = recipe.tracking.trackers if names is None else names
    check_trackers(chosen)
    return [load(TRACKERS[name]).of(recipe.tracking, folder) for name in chosen]
