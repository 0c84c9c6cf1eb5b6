"""What each kind of answer means for the data: the one table by which this room tells kinds apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.data import labels, masks
from medloom.data.truth import Truth
from medloom.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "strata_of", "truth_of"]

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


def strata_of(catalogue: pd.DataFrame, kind: str) -> list[str] | None:
    """Return what each sample of a catalogue is balanced by when it is divided; None: whether it has foreground."""
    return KINDS[kind].strata(catalogue)
