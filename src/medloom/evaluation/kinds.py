"""How each kind of answer is measured: the one table by which the driver finds it."""

from __future__ import annotations

from collections.abc import Callable

from medloom.evaluation.family import Family
from medloom.evaluation.labels import KINDS as LABELS
from medloom.evaluation.masks import Masks
from medloom.targets import Target

__all__ = ["KINDS"]

KINDS: dict[str, Callable[[Target], Family]] = {
    "masks": Masks,
    **LABELS,
}
"""From a target to how it is measured, by kind."""
