"""What the network will see of the training images: constant images, and values far from what it expects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.stored import StoredPixels, evenly
from medloom.wording import counted

__all__ = ["NormalisedPixels", "normalised_warnings"]

_IMAGES = 64
_PIXELS = 16_384
_MOST = 0.5
_ENDS = (1.0, 99.0)

_BOUNDS = {"imagenet": 3.0}
"""Of values by method: a network with weights of ImageNet never met others."""

_OTHER_BOUND = 20.0
"""Of values by any other method; a black background may lie ten deviations below the tissue."""

_DARK = -0.5
"""By `imagenet` all of 8 bits reach from -2.1 to 2.6; images that end below this use a third of their range."""

_ADVICE = {
    "imagenet": "imagenet takes float pixels to be in 0 to 1; set preprocess.window, which brings them there",
    "none": "choose a preprocess.normalise.method that brings them near 0, such as zscore",
}
_OTHER_ADVICE = (
    "set preprocess.window, or preprocess.normalise.nonzero=false where values below zero are tissue, as in CT"
)

Floats64 = npt.NDArray[np.float64]


class NormalisedPixels(StoredPixels, Protocol):
    """Stored pixels with the two numbers that normalise each image."""

    @property
    def offset(self) -> npt.NDArray[np.float32]:
        """Offsets (N, C)."""

    @property
    def scale(self) -> npt.NDArray[np.float32]:
        """Scales (N, C): normalised = (image - offset) * scale."""


@dataclass(frozen=True)
class _Seen:
    """Normalised values of each image and channel, ``(N, C)`` each."""

    constant: npt.NDArray[np.bool_]
    low: Floats64
    high: Floats64
    brightest: Floats64


def normalised_warnings(
    catalogue: pd.DataFrame, store: NormalisedPixels, channels: Sequence[str], method: str
) -> list[str]:
    """Return one sentence for each reason why a network cannot learn from the values that it will be shown.

    At most 64 training images are looked at, evenly spaced.

    Args:
        catalogue: With ``sample_id`` and ``split``.
        store: The pixels of these samples.
        channels: Names of the channels.
        method: How they are normalised; the recipe's ``preprocess.normalise.method``.
    """
    train = catalogue.loc[catalogue["split"] == "train", "sample_id"]
    rows = store.rows(train.tolist())
    if not len(rows):
        return []
    seen = _look(store, rows[evenly(len(rows), _IMAGES)])
    return [*_constant(seen, channels), *_far(seen, method), *_dark(seen, method)]


def _look(store: NormalisedPixels, rows: npt.NDArray[np.int64]) -> _Seen:
    found = [np.array(list(_channels(store, row))).T for row in rows.tolist()]
    constant, low, high, brightest = np.array(found, np.float64).transpose(1, 0, 2)
    return _Seen(constant.astype(np.bool_), low, high, brightest)


def _channels(store: NormalisedPixels, row: int) -> Iterator[tuple[Any, ...]]:
    """Yield of each channel of an image whether it is constant, the ends of most of its values, and the highest."""
    image = np.asarray(store.images[row])
    for plane, offset, scale in zip(image, store.offset[row].tolist(), store.scale[row].tolist(), strict=True):
        least, most = float(plane.min()), float(plane.max())
        some = plane.ravel()[:: max(1, plane.size // _PIXELS)]
        low, high = (np.percentile(some, _ENDS) - offset) * scale
        yield scale == 0 or least == most, low, high, (most - offset) * scale


def _constant(seen: _Seen, channels: Sequence[str]) -> list[str]:
    """Say it of whole images, or of single channels."""
    whole = np.asarray(seen.constant.all(axis=1))
    if whole.mean() > _MOST:
        return [_blind(whole, "")]
    return [
        _blind(here, f" in the channel {name}")
        for here, name in zip(seen.constant.T, channels, strict=True)
        if here.mean() > _MOST
    ]


def _blind(here: npt.NDArray[np.bool_], where: str) -> str:
    return (
        f"{_of(here, 'are constant')}{where} after normalisation: the network sees nothing there. "
        "Look at the files, preprocess.window and preprocess.normalise."
    )


def _far(seen: _Seen, method: str) -> list[str]:
    bound = _BOUNDS.get(method, _OTHER_BOUND)
    far = np.asarray(((seen.low < -bound) | (seen.high > bound)).any(axis=1))
    if far.mean() <= _MOST:
        return []
    return [
        f"{_of(far, 'reach')} far beyond what a network is used to after normalisation: values from "
        f"{seen.low.min():.4g} to {seen.high.max():.4g}, where about -3 to 3 is expected: "
        f"{_ADVICE.get(method, _OTHER_ADVICE)}."
    ]


def _dark(seen: _Seen, method: str) -> list[str]:
    if method != "imagenet" or seen.constant.all() or seen.brightest.max() >= _DARK:
        return []
    return [
        f"No pixel of {counted(len(seen.brightest), 'training image')} is above {seen.brightest.max():.2f} after "
        "normalisation, where about -2.1 to 2.6 is expected: imagenet takes values to use the whole range that their "
        "type or the file's stored bits can hold, and these do not, such as 12 bits stored in 16 without a word of "
        "it; set preprocess.window, or another preprocess.normalise.method."
    ]


def _of(here: npt.NDArray[np.bool_], verb: str) -> str:
    return f"{int(here.sum())} of {counted(len(here), 'training image')} looked at {verb}"
