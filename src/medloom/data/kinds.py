"""What each kind of answer means for the data: the one table by which this room tells kinds apart."""

from __future__ import annotations

from medloom.data import labels, masks
from medloom.data.truth import Truth
from medloom.recipe import Recipe

__all__ = ["KINDS", "truth_of"]

KINDS: dict[str, Truth] = {
    "masks": masks.MASKS,
    "binary": labels.BINARY,
    "multi-class": labels.MULTI_CLASS,
    "multi-label": labels.MULTI_LABEL,
    "regression": labels.REGRESSION,
}


def truth_of(recipe: Recipe) -> Truth:
    """Return what a recipe's kind of answer means for the data, also before ``prepare`` has found out which it is."""
    return KINDS.get(recipe.target.kind, labels.LABELS)
