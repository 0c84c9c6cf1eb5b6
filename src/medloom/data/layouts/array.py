"""``array``: an ``.npy`` file for each image, by patterns as in ``image-mask``.

It is a map of classes (H, W), which goes the way of every mask, or a vector with a number for each of
``target.columns``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medloom.data.kinds import truth_of
from medloom.data.layouts.base import Item, Listing, Problem, Read
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.layouts.labels import ANY_LABELS, LabelError, LabelRule, clean, refuse_columns, understand
from medloom.errors import DataError, DecodeError, RecipeError
from medloom.imaging.npy import read_array
from medloom.recipe import LabelsRecipe, Recipe

__all__ = ["ArrayVectors", "Arrays", "build", "read_vector"]


class Arrays:
    """Samples by a pattern for the image and a pattern for its array, a map of classes.

    Args:
        image: Pattern of an image's path; see ``ImageMask``.
        array: Pattern of the array's path, which ends in ``.npy``.
        channels: Names of the channels in order.
        missing_channel: What a missing channel file gets.
        key: The recipe's key that holds ``array``, for messages.

    Raises:
        RecipeError: If a pattern cannot work.
    """

    def __init__(
        self,
        image: str,
        array: str,
        channels: tuple[str, ...] = ("grey",),
        missing_channel: str = "refuse",
        key: str = "mask",
    ) -> None:
        if not array.lower().endswith(".npy"):
            raise RecipeError(f"data.{key}: {array!r} must end in .npy for the layout array")
        self._pairs = ImageMask(image, array, channels, missing_channel, key)

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the images with their arrays; see ``ImageMask``.

        Args:
            names: Relative POSIX paths.
            read: Gives the bytes of a vector.
        """
        return self._pairs.find(names)

    def expects(self) -> str:
        """Return what files it looks for."""
        return self._pairs.expects().replace(" with masks like ", " with arrays like ")

    def rules(self) -> dict[str, Any]:
        """Return what decides which pixels belong to a sample."""
        return {**self._pairs.rules(), "layout": "array"}


class ArrayVectors(Arrays):
    """The same, where an array is a vector of labels.

    Args:
        image: As for ``Arrays``.
        array: As for ``Arrays``.
        channels: As for ``Arrays``.
        missing_channel: As for ``Arrays``.
        rule: How the numbers become labels.
    """

    def __init__(
        self,
        image: str,
        array: str,
        channels: tuple[str, ...] = ("grey",),
        missing_channel: str = "refuse",
        rule: LabelRule = ANY_LABELS,
    ) -> None:
        super().__init__(image, array, channels, missing_channel, "array")
        self._rule = replace(rule, columns=tuple(map(clean, rule.columns)))

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the images with their labels; vectors that do not fit are problems.

        Raises:
            DataError: If the labels mean nothing.
        """
        listing = super().find(names, read)
        problems: list[Problem] = list(listing.problems)
        found: list[tuple[Item, list[str]]] = []  # each with its array as the mask
        for item in listing.items:
            try:
                vector = read_vector(read(item.mask), len(self._rule.columns))
            except (LabelError, DataError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                detail = (reason or "cannot be read").removeprefix(f"{item.mask}: ")
                problems.append(Problem("label", item.mask, detail))
                continue
            found.append((item, [repr(number) for number in vector]))
        labelled = self._labelled(found, problems, listing.notes)
        return replace(labelled, patients=listing.patients, patients_hint=listing.patients_hint)

    def _labelled(
        self, found: Sequence[tuple[Item, list[str]]], problems: list[Problem], notes: tuple[str, ...]
    ) -> Listing:
        if not found:
            return Listing((), tuple(problems), notes)
        meaning = understand([words for _, words in found], self._rule)
        items = []
        for item, words in found:
            try:
                items.append(replace(item, mask="", labels=meaning.numbers(words)))
            except LabelError as error:
                problems.append(Problem("label", item.mask, str(error)))
        return meaning.listing(items, problems, notes)


def build(recipe: Recipe) -> Arrays:
    """Return the layout with a recipe's patterns, for maps of classes or for vectors of labels."""
    data, truth = recipe.data, truth_of(recipe)
    pattern, key = truth.array_pattern(recipe)
    rule = truth.label_rule(recipe)
    if rule is None:
        return Arrays(data.image, pattern, data.channels, data.missing_channel, key)
    refuse_columns(LabelsRecipe.of(recipe))
    return ArrayVectors(data.image, pattern, data.channels, data.missing_channel, rule)


def read_vector(data: bytes, count: int) -> list[float]:
    """Read a vector of numbers from the bytes of an ``.npy`` file; the header is checked before anything else.

    Args:
        data: The file.
        count: How many numbers it must hold.

    Returns:
        The numbers, finite or NaN, which is a blank.

    Raises:
        LabelError: If it is no such vector.
    """
    try:
        vector = read_array(data)
    except DecodeError as error:
        raise LabelError(error.message) from error
    if vector.shape != (count,):
        raise LabelError(f"the array has the shape {vector.shape}; expected ({count},), a number for each target")
    numbers = vector.astype(np.float64)
    if np.isinf(numbers).any():
        raise LabelError("the array holds infinite numbers")
    return [float(number) for number in numbers]
