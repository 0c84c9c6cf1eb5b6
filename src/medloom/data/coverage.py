"""What masks cover: classes that are in none of them, and foreground that is nearly everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.splits.given import SPLITS
from medloom.data.stored import StoredPixels
from medloom.wording import counted

__all__ = ["coverage_warnings"]

_MOST = 0.5
"""Foreground on more than this share of an image, in more than this share of the images, is rarely meant."""

Bits = npt.NDArray[np.bool_]


def coverage_warnings(catalogue: pd.DataFrame, store: StoredPixels, names: Sequence[str]) -> list[str]:
    """Return one sentence for each class that is in no mask, or in none of a part, and one for too much foreground.

    Args:
        catalogue: With ``sample_id``, ``split``, ``foreground_px``, ``height`` and ``width``.
        store: The masks of these samples; classes are looked for at its size, which the network learns from.
        names: Names of the classes, the background first.
    """
    present = _present(catalogue, store, len(names))
    if not present[:, 1:].any():
        return [_no_foreground(store, len(present))]
    return [*_missing(present, catalogue["split"].to_numpy(), names), *_mostly_foreground(catalogue)]


def _present(catalogue: pd.DataFrame, store: StoredPixels, classes: int) -> Bits:
    """Return which mask holds which class, ``(N, K)``; blank masks, which most may be, are not read again."""
    rows = store.rows(catalogue["sample_id"].tolist())
    counts = np.zeros((len(rows), classes), np.int64)
    for place in np.flatnonzero((catalogue["foreground_px"] > 0).to_numpy()).tolist():
        # Counting is ten times faster than sorting, as numpy.unique does.
        counts[place] = np.bincount(np.asarray(store.masks[rows[place]]).ravel(), minlength=classes)
    return counts > 0


def _no_foreground(store: StoredPixels, masks: int) -> str:
    height, width = store.masks.shape[1:]
    return (
        f"No mask has foreground: {counted(masks, 'mask')}, 0 with a class other than the background at "
        f"{height}x{width}. There is nothing to learn; look at the masks and at target.mask_values."
    )


def _missing(present: Bits, splits: npt.NDArray[np.object_], names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each class but the background, which may well be nowhere."""
    for name, here in list(zip(names, present.T, strict=True))[1:]:
        lacking = [split for split in SPLITS if (splits == split).any() and not here[splits == split].any()]
        if not here.any():
            yield (
                f"The class {name!r} is in none of {counted(len(here), 'mask')}: it is neither learned nor measured. "
                "Look at target.mask_values."
            )
        # Of a background and one class the parts without foreground are named already.
        elif lacking and len(names) > len(("background", "foreground")):
            found = counted(int(here.sum()), "mask")
            yield f"No mask in {' or '.join(lacking)} has the class {name!r}, which is in {found} of {len(here):,}."


def _mostly_foreground(catalogue: pd.DataFrame) -> Iterator[str]:
    share = catalogue["foreground_px"] / (catalogue["height"] * catalogue["width"])
    wide = int((share > _MOST).sum())
    if wide > _MOST * len(share):
        yield (
            f"Foreground covers more than half of {wide:,} of {counted(len(share), 'image')}, {share.median():.0%} of "
            "the image in the middle. The values in target.mask_values may be the wrong way round, or the masks "
            "stored with white as 0 (an inverted lookup table, as some programs write TIFF)."
        )
