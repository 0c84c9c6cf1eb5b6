"""What there is to know about the truth beside an image; ``masks.py`` and ``labels.py`` say it for their kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.checks import ClassMap
from medloom.data.stored import StoredPixels
from medloom.recipe import Recipe
from medloom.targets import Target

__all__ = ["ANY_LABELS", "LabelRule", "Preview", "ReportPictures", "Truth"]

Preview = Callable[[int], Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None]]]
"""From a row of the store to the original and its augmented views: image (C, h, w) and mask (h, w), or None, each."""


@dataclass(frozen=True)
class LabelRule:
    """How words become labels.

    Args:
        columns: Columns of the label file, or names of the entries of a vector.
        kind: Kind of answer; any other word, such as ``auto``, lets the labels decide.
        classes: Classes in order; empty: as found, sorted.
        blank: What a blank means: ``error``, ``mask`` or ``negative``.
        uncertain: What -1 means: ``mask``, ``negative``, ``positive`` or ``error``; None: of several labels ``mask``,
            else nothing but a number.
        separator: What stands between several labels in one word; None: found out.
    """

    columns: tuple[str, ...] = ("level",)
    kind: str = "auto"
    classes: tuple[str, ...] = ()
    blank: str = "error"
    uncertain: str | None = None
    separator: str | None = None


@dataclass(frozen=True)
class ReportPictures:
    """What the pictures of the data report are drawn from.

    Args:
        catalogue: In order of the sample ids, with ``row``, the sample's row of the store.
        store: The pixels.
        folder: Where they are written.
        channels: Names of the channels.
        target: What is predicted.
        preview: Makes augmented views of one row of the store; None: no such picture.
    """

    catalogue: pd.DataFrame
    store: StoredPixels
    folder: Path
    channels: Sequence[str]
    target: Target
    preview: Preview | None


ANY_LABELS = LabelRule()
"""Of one column, whatever they are."""


class Truth(ABC):
    """What one kind of answer means for the data: how truth is read, divided, counted and shown."""

    @abstractmethod
    def class_map(self, recipe: Recipe) -> ClassMap | None:
        """Return how the pixels of masks are read; None where images have no masks."""

    @abstractmethod
    def label_rule(self, recipe: Recipe) -> LabelRule | None:
        """Return how words become labels; None where images have masks."""

    @abstractmethod
    def array_pattern(self, recipe: Recipe) -> tuple[str, str]:
        """Return the pattern of the array beside an image in the layout ``array``, and the key that holds it."""

    @abstractmethod
    def store_rules(self, recipe: Recipe) -> dict[str, Any]:
        """Return what decides about the pixel store beside files and preprocessing, as plain JSON types."""

    @abstractmethod
    def strata(self, catalogue: pd.DataFrame) -> list[str] | None:
        """Return what each sample is balanced by in the split; None: whether it has foreground."""

    @abstractmethod
    def counts(self, part: pd.DataFrame, target: Target) -> dict[str, Any]:
        """Return JSON facts on the truth of the samples of a part."""

    @abstractmethod
    def warnings(self, catalogue: pd.DataFrame, target: Target) -> list[str]:
        """Return one sentence for each thing about the truth in the parts that a report must say."""

    @abstractmethod
    def answers(self, catalogue: pd.DataFrame, store: StoredPixels) -> list[str]:
        """Return a text for each sample, the same for two samples that have the same truth."""

    @abstractmethod
    def stored_warnings(self, catalogue: pd.DataFrame, store: StoredPixels, target: Target) -> list[str]:
        """Return one sentence for each thing about the truth in the store that a report must say."""

    @abstractmethod
    def pictures(self, shown: ReportPictures) -> dict[str, Any]:
        """Write the pictures of the data report; return facts: ``pictures`` and, where it is known, ``contrast``."""
