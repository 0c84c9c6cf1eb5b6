"""What masks cover: classes that are in none of them, and foreground that is nearly everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.splits.given import HELD_OUT, SPLITS
from medloom.data.stored import StoredPixels
from medloom.targets import IGNORED
from medloom.wording import counted

__all__ = ["class_pixels", "coverage_warnings"]

_MOST = 0.5
"""Foreground on more than this share of an image, in more than this share of the images, is rarely meant."""

Bits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


def coverage_warnings(catalogue: pd.DataFrame, store: StoredPixels, names: Sequence[str]) -> list[str]:
    """Return one sentence for each class that is in no mask, or in none of a part, and one for too much foreground.

    Args:
        catalogue: With ``sample_id``, ``split``, ``foreground_px``, ``height`` and ``width``.
        store: The masks of these samples; classes are looked for at its size, which the network learns from.
        names: Names of the classes, the background first.
    """
    counts, ignored = class_pixels(catalogue, store, len(names))
    present = counts > 0
    if not present[:, 1:].any():
        return [_no_foreground(store, len(present))]
    known = 1.0 - ignored / np.prod(store.masks.shape[1:])
    return [*_missing(present, catalogue["split"].to_numpy(), names), *_mostly_foreground(catalogue, known)]


def class_pixels(catalogue: pd.DataFrame, store: StoredPixels, classes: int) -> tuple[Counts, Counts]:
    """Return how many pixels of each mask are of each class, ``(N, K)``, and how many are ignored, ``(N,)``.

    Masks without foreground, which most may be, are not read again: they are counted as if nothing were in them.

    Args:
        catalogue: With ``sample_id`` and ``foreground_px``.
        store: The masks of these samples.
        classes: K, the background's among them.
    """
    rows = store.rows(catalogue["sample_id"].tolist())
    counts, ignored = np.zeros((len(rows), classes), np.int64), np.zeros(len(rows), np.int64)
    for place in np.flatnonzero((catalogue["foreground_px"] > 0).to_numpy()).tolist():
        # Counting is ten times faster than sorting, as numpy.unique does.
        found = np.bincount(np.asarray(store.masks[rows[place]]).ravel(), minlength=IGNORED + 1)
        counts[place], ignored[place] = found[:classes], found[IGNORED]
    return counts, ignored


def _no_foreground(store: StoredPixels, masks: int) -> str:
    height, width = store.masks.shape[1:]
    return (
        f"No mask has foreground: {counted(masks, 'mask')}, 0 with a class other than the background at "
        f"{height}x{width}. There is nothing to learn; look at the masks and at target.mask_values and target.ignore."
    )


def _missing(present: Bits, splits: npt.NDArray[np.object_], names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each class but the background, which may well be nowhere."""
    for name, here in list(zip(names, present.T, strict=True))[1:]:
        lacking = [
            split for split in (*SPLITS, HELD_OUT) if (splits == split).any() and not here[splits == split].any()
        ]
        if not here.any():
            yield (
                f"The class {name!r} is in none of {counted(len(here), 'mask')}: it is neither learned nor measured. "
                "Look at target.mask_values."
            )
        # Of a background and one class the parts without foreground are named already.
        elif lacking and len(names) > len(("background", "foreground")):
            found = counted(int(here.sum()), "mask")
            yield f"No mask in {' or '.join(lacking)} has the class {name!r}, which is in {found} of {len(here):,}."


def _mostly_foreground(catalogue: pd.DataFrame, known: npt.NDArray[np.float64]) -> Iterator[str]:
    """Yield a sentence where foreground is on most of what is known, which is a share of each image."""
    share = catalogue["foreground_px"] / (catalogue["height"] * catalogue["width"] * known)
    wide = int((share > _MOST).sum())
    if wide > _MOST * len(share):
        yield (
            f"Foreground covers more than half of {wide:,} of {counted(len(share), 'image')}, {share.median():.0%} of "
            "the image in the middle. The values in target.mask_values may be the wrong way round, or the masks "
            "stored with white as 0 (an inverted lookup table, as some programs write TIFF)."
        )
