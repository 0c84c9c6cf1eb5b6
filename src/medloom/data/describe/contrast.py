"""Which channel shows the foreground best, and whether a channel that is called FLAIR looks like one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medloom.data.channels import flair_channel
from medloom.data.stored import StoredPixels, evenly
from medloom.targets import IGNORED, foreground_of

__all__ = ["contrast_facts"]

_RULE = (
    "For up to 200 images with foreground, the mean inside the mask is divided by the median of the inner part of what "
    "is bright, without the foreground. The channel with the highest median ratio, if at least 1.15, shows the "
    "foreground best."
)
_FLAIR_RULE = (
    "On FLAIR, fluid is dark, and foreground that is a lesion brighter than brain. For up to 200 images with "
    "foreground, the mean inside the mask and the 5th percentile of the inner head (fluid) are divided by the median "
    "of the inner head without the foreground. The channel with the highest median ratio in the foreground, if at "
    "least 1.15, looks like FLAIR; it is sure when its fluid is also the darkest."
)

_IMAGES = 200
_CONTRAST = 1.15
_SMALLEST_PX = 20
_SIDE = 128

FloatArray = npt.NDArray[np.float64]


def contrast_facts(store: StoredPixels, rows: npt.NDArray[np.int64], channels: Sequence[str]) -> dict[str, Any]:
    """Compare the channels, and what the pixels say with what the recipe says of FLAIR.

    Args:
        store: Pixels and masks.
        rows: Rows of images with foreground.
        channels: Names in the recipe; one that contains "flair" is taken as its claim.

    Returns:
        ``rule``, how it was compared; ``scores`` (for each channel ``foreground`` and ``dark``, its darkest
        parts, relative to the rest); ``channel``, the index that shows the foreground best and so looks like FLAIR, or
        None where there is one channel only, no foreground, or no contrast; ``sure``, whether its dark parts are the
        darkest too; ``named``, the index that the recipe calls FLAIR, or None; ``agrees``, or None if there is nothing
        to compare.
    """
    named = flair_channel(channels)
    facts: dict[str, Any] = {
        "rule": _RULE if named is None else _FLAIR_RULE,
        "scores": [], "channel": None, "sure": False, "named": named, "agrees": None,
    }  # fmt: skip
    ratios = _ratios(store, rows) if len(channels) > 1 else None
    if ratios is None:
        return facts
    foreground, dark = ratios
    best = int(foreground.argmax())
    found = best if foreground[best] >= _CONTRAST else None
    return facts | {
        "scores": [
            {"channel": name, "foreground": float(bright), "dark": float(low)}
            for name, bright, low in zip(channels, foreground, dark, strict=True)
        ],
        "channel": found,
        "sure": found is not None and int(dark.argmin()) == found,
        "agrees": None if named is None or found is None else found == named,
    }


def _ratios(store: StoredPixels, rows: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray] | None:
    """Median over images of the foreground and of the dark parts relative to the rest, (C,) each."""
    chosen = rows[evenly(len(rows), _IMAGES)]
    found = [pair for row in chosen if (pair := _image_ratios(store.images[row], store.masks[row])) is not None]
    if not found:
        return None
    foreground, dark = np.median(np.array(found), axis=0)
    return foreground, dark


def _image_ratios(image_chw: npt.NDArray[Any], mask_hw: npt.NDArray[np.uint8]) -> tuple[FloatArray, FloatArray] | None:
    """Foreground and dark parts relative to the rest in one image, or None where either is too small."""
    step = max(1, min(mask_hw.shape) // _SIDE)
    image = image_chw[:, ::step, ::step].astype(np.float64)
    mask = mask_hw[::step, ::step]
    foreground = foreground_of(mask)
    rest = _inner_part(image.mean(axis=0)) & ~foreground & (mask != IGNORED)
    if foreground.sum() < _SMALLEST_PX or rest.sum() < _SMALLEST_PX:
        return None
    level = np.maximum(np.median(image[:, rest], axis=1), 1e-6)
    return image[:, foreground].mean(axis=1) / level, np.percentile(image[:, rest], 5, axis=1) / level


def _inner_part(mean_hw: FloatArray) -> npt.NDArray[np.bool_]:
    """Well inside what is bright, such as a head: holes filled, over a third of the greatest depth from the edge."""
    bright = mean_hw[mean_hw > 0]
    if bright.size == 0:
        return np.zeros(mean_hw.shape, dtype=np.bool_)
    bright_part = ndimage.binary_fill_holes(mean_hw > 0.3 * bright.mean())
    depth = np.asarray(ndimage.distance_transform_edt(bright_part))
    return np.asarray(depth > 0.35 * depth.max(), dtype=np.bool_)
