"""Grey levels of each channel, blank images, and backgrounds that are not zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.describe.statistics import ImageStatistics
from medloom.data.stored import blocks

__all__ = ["blank_facts", "channel_facts", "pooled_facts"]

BLANK_RULE = "the brightest pixel is below a fifth of what it is in the patient's median image, or all are equal"
"""When an image counts as blank."""

_BLANK_LEVEL = 0.2
_BINS = 64

FloatArray = npt.NDArray[np.float64]


def pooled_facts(found: ImageStatistics, channels: Sequence[str]) -> list[dict[str, Any]]:
    """Return ``min``, ``max``, ``mean``, ``std`` and ``zero_share`` of all pixels of some images, for each channel.

    Args:
        found: What was measured of these images, which all have the same number of pixels.
        channels: Name of each channel.
    """
    low, high, mean, std = found["min"].min(0), found["max"].max(0), found["mean"].mean(0), found["std"]
    spread = np.sqrt((std**2).mean(0) + ((found["mean"] - mean) ** 2).mean(0))
    columns = {"min": low, "max": high, "mean": mean, "std": spread, "zero_share": found["zero_share"].mean(0)}
    return [
        {"name": name, "images": len(found.values), **{key: float(value[place]) for key, value in columns.items()}}
        for place, name in enumerate(channels)
    ]


def channel_facts(
    images: npt.NDArray[Any], rows: npt.NDArray[np.int64], channels: Sequence[str], found: ImageStatistics
) -> list[dict[str, Any]]:
    """Return ``pooled_facts`` of some images with a histogram for each channel: ``edges`` and ``counts``.

    The histogram leaves out pixels of the background (zero), whose share is ``zero_share``.

    Args:
        images: (N, C, h, w).
        rows: Which images.
        channels: Name of each channel.
        found: What was measured of these rows, with their ``levels`` where pixels are whole numbers.
    """
    facts = pooled_facts(found, channels)
    spans = [(one["min"], one["max"] if one["max"] > one["min"] else one["min"] + 1) for one in facts]
    if found.levels is None:
        counts = _histograms(images, rows, spans)
    else:
        bright = found.levels.copy()
        bright[:, 0] = 0
        levels = np.arange(bright.shape[1])
        counts = [np.histogram(levels, _BINS, span, weights=row)[0] for row, span in zip(bright, spans, strict=True)]
    return [
        {**one, "edges": np.linspace(*span, _BINS + 1).tolist(), "counts": row.astype(np.int64).tolist()}
        for one, span, row in zip(facts, spans, counts, strict=True)
    ]


def _histograms(
    images: npt.NDArray[Any], rows: npt.NDArray[np.int64], spans: Sequence[tuple[float, float]]
) -> list[FloatArray]:
    """The histogram of each channel without zeros, of pixels that are no whole numbers: a second pass."""
    counts = [np.zeros(_BINS) for _ in spans]
    for block in blocks(images, np.sort(rows)):
        for channel, span in enumerate(spans):
            plane = block[:, channel].ravel()
            counts[channel] += np.histogram(plane[plane != 0], _BINS, span)[0]
    return counts


def blank_facts(catalogue: pd.DataFrame, channels: Sequence[str], found: ImageStatistics) -> dict[str, Any]:
    """Name blank images, channels that are blank in an image that is not, and minima above zero.

    Args:
        catalogue: In the order of ``found``: ``sample_id``, ``patient_id``, ``split``, ``foreground_px``.
        channels: Name of each channel.
        found: What was measured of these images.
    """
    lowest, highest = found["min"], found["max"]
    usual = pd.DataFrame(highest).groupby(catalogue["patient_id"].to_numpy()).transform("median").to_numpy()
    dark = (highest < _BLANK_LEVEL * usual) | (highest == lowest)
    blank = dark.all(axis=1)
    ids = catalogue["sample_id"].to_numpy()
    above = np.flatnonzero((lowest != 0).any(axis=1))
    partly = np.argwhere(dark & ~blank[:, None])
    return {
        "rule": BLANK_RULE,
        "samples": ids[blank].tolist(),
        "with_foreground": ids[blank & (catalogue["foreground_px"] > 0).to_numpy()].tolist(),
        "missing_channels": [{"sample_id": str(ids[row]), "channel": channels[channel]} for row, channel in partly],
        "nonzero_minima": [{"sample_id": str(ids[row]), "minima": lowest[row].tolist()} for row in above],
    }
