"""How what was measured of each training image is distributed: by channel, and by group where metadata know one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.catalogue import meta_of
from medloom.data.describe.statistics import STATISTICS, ImageStatistics
from medloom.data.metadata import as_number, is_blank

__all__ = ["QUANTILES", "distribution_facts", "group_facts", "quantiles_of"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Which quantiles the facts have."""

_BINS = 24
_MOST_GROUPS = 8
_MOST_NUMBERS = 5
"""A column of numbers with more different ones is a measurement and no group."""

FloatArray = npt.NDArray[np.float64]


def distribution_facts(found: ImageStatistics, channels: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each channel a histogram over images of each statistic: ``edges`` and ``counts``.

    Args:
        found: What was measured of the training images.
        channels: Name of each channel.
    """
    return [
        {"name": name, **{key: _histogram(found[key][:, place]) for key in STATISTICS}}
        for place, name in enumerate(channels)
    ]


def group_facts(catalogue: pd.DataFrame, found: ImageStatistics, channels: Sequence[str]) -> list[dict[str, Any]]:
    """Return how the means of images are distributed in each group, such as site, scanner or sex.

    A column of the metadata is taken for groups if it has two to eight different words (numbers: up to five).

    Args:
        catalogue: The training images in the order of ``found``, with ``meta``.
        found: What was measured of them.
        channels: Name of each channel.

    Returns:
        For each ``column`` its ``groups``: ``value``, ``images``, and for each of the ``channels`` the ``quantiles`` of
        the images' means and their histogram, with the same ``edges`` in all groups.
    """
    return [
        {"column": column, "groups": [_group(value, words == value, found, channels) for value in values]}
        for column, words, values in _columns(catalogue)
    ]


def quantiles_of(values: FloatArray) -> list[float]:
    """Return the values at ``QUANTILES``."""
    return [float(value) for value in np.quantile(values, QUANTILES)]


def _columns(catalogue: pd.DataFrame) -> Iterator[tuple[str, npt.NDArray[np.str_], list[str]]]:
    """Columns of the metadata that are groups, with the word of each image and the different words."""
    if "meta" not in catalogue:
        return
    meta = meta_of(catalogue)
    for column in dict.fromkeys(name for row in meta for name in row):
        words = np.array([row.get(column, "").strip() for row in meta])
        values = sorted({str(word) for word in words if not is_blank(str(word))})
        numbers = all(as_number(value) is not None for value in values)
        if 2 <= len(values) <= (_MOST_NUMBERS if numbers else _MOST_GROUPS):
            yield column, words, values


def _group(value: str, here: npt.NDArray[np.bool_], found: ImageStatistics, channels: Sequence[str]) -> dict[str, Any]:
    means = found["mean"]
    return {
        "value": value,
        "images": int(here.sum()),
        "channels": [
            {"name": name, "quantiles": quantiles_of(every[here]), **_histogram(every[here], every)}
            for name, every in zip(channels, means.T, strict=True)
        ],
    }


def _histogram(values: FloatArray, span_of: FloatArray | None = None) -> dict[str, Any]:
    """Bins over the span of the values, or of others."""
    every = values if span_of is None else span_of
    low, high = float(every.min()), float(every.max())
    counts, edges = np.histogram(values, _BINS, (low, high if high > low else low + 1))
    return {"edges": edges.tolist(), "counts": counts.tolist()}
