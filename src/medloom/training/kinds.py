"""How each kind of answer is learned: the one table by which this room tells kinds apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from medloom.recipe import Recipe
from medloom.training.labels import AUTO, BINARY, MULTI_CLASS, MULTI_LABEL, REGRESSION
from medloom.training.masks import MASKS
from medloom.training.preview import View
from medloom.training.tasks import TrainingKind

if TYPE_CHECKING:
    from medloom.data.store import PixelStore

__all__ = ["KINDS", "augmented_views"]

KINDS: dict[str, TrainingKind] = {
    "masks": MASKS,
    "binary": BINARY,
    "multi-class": MULTI_CLASS,
    "multi-label": MULTI_LABEL,
    "regression": REGRESSION,
    "auto": AUTO,
}
"""By the recipe's ``target.kind``."""


def augmented_views(recipe: Recipe, store: PixelStore) -> Callable[[int], list[View]]:
    """Return a function that shows a row of the store as it is and as training may see it.

    Args:
        recipe: The recipe; the kind of its labels need not be known.
        store: The pixels.

    Returns:
        From a row to the original and four augmented views: image ``(C, h, w)`` in the store's grey levels and
        mask ``(h, w)``, or None where there are no masks.
    """
    return KINDS[recipe.target.kind].views(recipe, store)
