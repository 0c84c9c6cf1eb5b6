"""Grey levels of each channel, blank images, and backgrounds that are not zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.stored import blocks, evenly

__all__ = ["blank_facts", "channel_facts", "extremes"]

BLANK_RULE = "the brightest pixel is below a fifth of what it is in the patient's median image, or all are equal"
"""When an image counts as blank."""

_BLANK_LEVEL = 0.2
_SAMPLED = 256
_BINS = 64

FloatArray = npt.NDArray[np.float64]


def extremes(images: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the highest pixel of each image and channel, both (len(rows), C)."""
    # One flat axis is reduced many times faster than two.
    flat = (block.reshape(*block.shape[:2], -1) for block in blocks(images, rows))
    pairs = [(block.min(axis=2), block.max(axis=2)) for block in flat]
    lowest = np.concatenate([low for low, _ in pairs]).astype(np.float64)
    highest = np.concatenate([high for _, high in pairs]).astype(np.float64)
    return lowest, highest


def channel_facts(
    images: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    channels: Sequence[str],
    lowest: FloatArray,
    highest: FloatArray,
) -> list[dict[str, Any]]:
    """Return ``min``, ``max``, ``mean``, ``std`` and a histogram for each channel.

    The histogram leaves out pixels of the background (zero), whose share is ``zero_share``.

    Args:
        images: (N, C, h, w).
        rows: Which images.
        channels: Name of each channel.
        lowest: From ``extremes``.
        highest: From ``extremes``.
    """
    sampled = rows[evenly(len(rows), _SAMPLED)]
    facts = []
    for channel, name in enumerate(channels):
        low, high = float(lowest[:, channel].min()), float(highest[:, channel].max())
        planes = (block[:, channel] for block in blocks(images, sampled))
        facts.append({"name": name, "min": low, "max": high, "images": len(sampled), **_moments(planes, low, high)})
    return facts


def _moments(planes: Iterable[npt.NDArray[Any]], low: float, high: float) -> dict[str, Any]:
    """Mean, deviation, share of zeros and histogram of one channel."""
    span = (low, high if high > low else low + 1)
    counts, total, square, pixels, zeros = np.zeros(_BINS, np.int64), 0.0, 0.0, 0, 0
    for plane in planes:
        levels, weights = _levels(plane)
        bright = levels != 0
        counts += np.histogram(levels[bright], _BINS, span, weights=weights[bright])[0].astype(np.int64)
        total, square = total + float(levels @ weights), square + float(levels**2 @ weights)
        pixels, zeros = pixels + plane.size, zeros + int(weights[~bright].sum())
    mean = total / pixels
    return {
        "mean": mean,
        "std": float(np.sqrt(max(square / pixels - mean**2, 0.0))),
        "zero_share": zeros / pixels,
        "edges": np.linspace(*span, _BINS + 1).tolist(),
        "counts": counts.tolist(),
    }


def _levels(plane: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Grey levels and how many pixels have each; integers are counted first, which is far faster."""
    if plane.dtype in (np.uint8, np.uint16):
        weights = np.bincount(plane.ravel()).astype(np.float64)
        return np.arange(len(weights), dtype=np.float64), weights
    return plane.ravel().astype(np.float64), np.ones(plane.size)


def blank_facts(
    catalogue: pd.DataFrame, channels: Sequence[str], lowest: FloatArray, highest: FloatArray
) -> dict[str, Any]:
    """Name blank images, channels that are blank in an image that is not, and minima above zero.

    Args:
        catalogue: In the order of ``lowest``: ``sample_id``, ``patient_id``, ``split``, ``foreground_px``.
        channels: Name of each channel.
        lowest: From ``extremes``.
        highest: From ``extremes``.
    """
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
