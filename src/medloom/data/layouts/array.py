"""``array``: an ``.npy`` file for each image, by patterns as in ``image-mask``.

For segmentation the array is a map of classes (H, W) and goes the way of every mask. For classification it is a vector
with a number for each of ``labels.targets``.
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medloom.data.layouts.base import Item, Listing, Problem, Read
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.layouts.labels import LabelError, clean, understand
from medloom.errors import DataError, RecipeError
from medloom.recipe import DataConfig

__all__ = ["ArrayLabels", "read_vector"]

_MOST_HEADER = 4096
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ArrayLabels:
    """Samples by a pattern for the image and a pattern for its array.

    Args:
        config: The recipe's ``data``.
        task: ``segmentation`` or ``classification``.

    Raises:
        RecipeError: If a pattern cannot work.
    """

    def __init__(self, config: DataConfig, task: str) -> None:
        if not config.mask.lower().endswith(".npy"):
            raise RecipeError(f"data.mask: {config.mask!r} must end in .npy for the layout array")
        labels = config.labels
        if labels.metadata.numeric or labels.metadata.categorical or labels.groups:
            raise RecipeError("data.labels: metadata and groups are columns of a label file; use layout csv")
        self._pairs = ImageMask(config.image, config.mask, config.channels, config.missing_channel)
        self._config = labels
        self._task = task

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the images with their arrays.

        Args:
            names: Relative POSIX paths.
            read: Gives the bytes of a vector.

        Returns:
            The samples; see ``ImageMask``. Vectors that do not fit are problems.

        Raises:
            DataError: If the labels mean nothing.
        """
        listing = self._pairs.find(names)
        if self._task == "segmentation" or not listing.items:
            return listing
        problems: list[Problem] = list(listing.problems)
        targets = tuple(map(clean, self._config.targets))
        found: list[tuple[Item, list[str]]] = []
        for item in listing.items:
            try:
                vector = read_vector(read(item.mask), len(targets))
            except (LabelError, DataError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                problems.append(
                    Problem("label", item.mask, (reason or "cannot be read").removeprefix(f"{item.mask}: "))
                )
                continue
            found.append((replace(item, mask=""), [repr(number) for number in vector]))
        return self._labelled(listing, found, problems, targets)

    def rules(self) -> dict[str, Any]:
        """Return what decides which pixels belong to a sample."""
        return {**self._pairs.rules(), "layout": "array"}

    def _labelled(
        self,
        listing: Listing,
        found: Sequence[tuple[Item, list[str]]],
        problems: list[Problem],
        targets: tuple[str, ...],
    ) -> Listing:
        if not found:
            return Listing((), tuple(problems), listing.notes)
        meaning = understand([words for _, words in found], self._config, targets)
        items = []
        for item, words in found:
            try:
                items.append(replace(item, labels=meaning.numbers(words)))
            except LabelError as error:
                problems.append(Problem("label", item.images[0], str(error)))
        return meaning.listing(items, problems, listing.notes)


def read_vector(data: bytes, count: int) -> list[float]:
    """Read a vector of numbers from the bytes of an ``.npy`` file; the header is checked before anything else.

    Args:
        data: The file.
        count: How many numbers it must hold.

    Returns:
        The numbers, all finite.

    Raises:
        LabelError: If it is no such vector.
    """
    shape, dtype, start = _header(data)
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise LabelError("the array does not hold plain numbers")
    if shape != (count,):
        raise LabelError(f"the array has the shape {shape}; expected ({count},), a number for each target")
    need = math.prod(shape) * dtype.itemsize
    if len(data) - start != need:
        raise LabelError(f"the header announces {need} bytes of numbers; {len(data) - start} are there")
    numbers = np.frombuffer(data, dtype, offset=start).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise LabelError("the array holds NaN or infinite numbers")
    return [float(number) for number in numbers]


def _header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and place of the first number."""
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a header that NumPy must mend first is no header
            header = _READERS[np.lib.format.read_magic(stream)]
            shape, _, dtype = header(stream, max_header_size=_MOST_HEADER)
    except (ValueError, KeyError, EOFError, TypeError, SyntaxError, UserWarning, tokenize.TokenError) as error:
        raise LabelError("not an .npy file of version 1 or 2 that can be read") from error
    return shape, dtype, stream.tell()
