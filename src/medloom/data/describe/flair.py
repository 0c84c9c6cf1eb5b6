"""Which channel looks like FLAIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medloom.data.stored import StoredPixels, evenly

__all__ = ["FLAIR_RULE", "flair_facts"]

FLAIR_RULE = (
    "FLAIR shows a lesion brighter than brain and fluid dark. For up to 200 images with a lesion, the mean inside the "
    "mask and the 5th percentile of the inner head (fluid) are divided by the median of the inner head without the "
    "lesion. The channel with the highest median ratio in the lesion, if at least 1.15, looks like FLAIR; it is sure "
    "when its fluid is also the darkest."
)
"""How the channel is told, for the reader of the report."""

_IMAGES = 200
_CONTRAST = 1.15
_SMALLEST_PX = 20
_SIDE = 128

FloatArray = npt.NDArray[np.float64]


def flair_facts(store: StoredPixels, lesion_rows: npt.NDArray[np.int64], channels: Sequence[str]) -> dict[str, Any]:
    """Compare what the pixels say with what the recipe says.

    Args:
        store: Pixels and masks.
        lesion_rows: Rows of images with a lesion.
        channels: Names in the recipe; one that contains "flair" is taken as its claim.

    Returns:
        ``rule``; ``scores`` (for each channel ``lesion`` and ``fluid`` relative to brain); ``channel``, the index that
        looks like FLAIR, or None where there is one channel only, no lesion, or no contrast; ``sure``; ``named``, the
        index that the recipe names, or None; ``agrees``, or None if there is nothing to compare.
    """
    named = next((index for index, name in enumerate(channels) if "flair" in name.lower()), None)
    ratios = _ratios(store, lesion_rows) if len(channels) > 1 else None
    if ratios is None:
        return {
            "rule": FLAIR_RULE, "scores": [], "channel": None, "sure": False, "named": named, "agrees": None
        }  # fmt: skip
    lesion, fluid = ratios
    best = int(lesion.argmax())
    found = best if lesion[best] >= _CONTRAST else None
    return {
        "rule": FLAIR_RULE,
        "scores": [
            {"channel": name, "lesion": float(bright), "fluid": float(dark)}
            for name, bright, dark in zip(channels, lesion, fluid, strict=True)
        ],
        "channel": found,
        "sure": found is not None and int(fluid.argmin()) == found,
        "named": named,
        "agrees": None if named is None or found is None else found == named,
    }


def _ratios(store: StoredPixels, rows: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray] | None:
    """Median over images of lesion and of fluid relative to brain, (C,) each."""
    chosen = rows[evenly(len(rows), _IMAGES)]
    found = [pair for row in chosen if (pair := _image_ratios(store.images[row], store.masks[row])) is not None]
    if not found:
        return None
    lesion, fluid = np.median(np.array(found), axis=0)
    return lesion, fluid


def _image_ratios(image_chw: npt.NDArray[Any], mask_hw: npt.NDArray[np.uint8]) -> tuple[FloatArray, FloatArray] | None:
    """Lesion and fluid relative to brain in one image, or None where the lesion or the brain is too small."""
    step = max(1, min(mask_hw.shape) // _SIDE)
    image = image_chw[:, ::step, ::step].astype(np.float64)
    lesion = mask_hw[::step, ::step] > 0
    brain = _inner_head(image.mean(axis=0)) & ~lesion
    if lesion.sum() < _SMALLEST_PX or brain.sum() < _SMALLEST_PX:
        return None
    level = np.maximum(np.median(image[:, brain], axis=1), 1e-6)
    return image[:, lesion].mean(axis=1) / level, np.percentile(image[:, brain], 5, axis=1) / level


def _inner_head(mean_hw: FloatArray) -> npt.NDArray[np.bool_]:
    """Well inside the head: bright pixels with holes filled, more than a third of the greatest depth from the edge."""
    bright = mean_hw[mean_hw > 0]
    if bright.size == 0:
        return np.zeros(mean_hw.shape, dtype=np.bool_)
    head = ndimage.binary_fill_holes(mean_hw > 0.3 * bright.mean())
    depth = np.asarray(ndimage.distance_transform_edt(head))
    return np.asarray(depth > 0.35 * depth.max(), dtype=np.bool_)
