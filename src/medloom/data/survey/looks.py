"""What a file holds, from its pixels: the sample of a survey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.data.checks import FILE_ERRORS, UnfitError, explain, value_plane
from medloom.errors import DecodeError
from medloom.imaging import FILE_BUDGET, decode, inspect, read_volume
from medloom.imaging.inspection import inspect_data

__all__ = ["ImageLook", "MaskLook", "foreground", "look_at_image", "look_at_mask"]

_MOST_VALUES = 64
"""More different values are no classes."""

_WHITE, _CLOSE, _NEARLY_ALL = 255, 60, 0.97


@dataclass(frozen=True)
class ImageLook:
    """An image.

    Args:
        format: ``dicom``, ``nifti``, ``tiff`` …
        height: Rows.
        width: Columns.
        channels: Channels as decoded.
        dtype: NumPy name of the type.
        pages: Pages, frames or slices.
        minimum: Smallest value.
        maximum: Largest value.
        modality: DICOM modality; empty if there is none.
        grey: Whether its colour channels are alike in every pixel, as of a grey picture saved in colour.
        refused: Why it would be refused; empty if it decodes. Names no file.
    """

    format: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    pages: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    modality: str = ""
    grey: bool = False
    refused: str = ""


@dataclass(frozen=True)
class MaskLook:
    """A mask.

    Args:
        values: Its different values in order; empty if there are too many to be classes.
        smeared: Whether there are more values than classes have.
        drifts: Whether it is a JPEG whose values lie around 0 and 255, which then are its ``values``.
        foreground: Whether there is more than one value, or another than 0.
        format: The file's format.
        refused: Why it cannot be read as a mask; empty if it can. Names no file.
    """

    values: tuple[float, ...] = ()
    smeared: bool = False
    drifts: bool = False
    foreground: bool = False
    format: str = ""
    refused: str = ""


def look_at_image(data: bytes) -> ImageLook:
    """Say what an image is; reads all of its pixels and never raises for a bad file."""
    facts = inspect_data(data, budget=FILE_BUDGET)
    if facts.refused:
        return ImageLook(facts.format, refused=f"{facts.refused}: {facts.reason}")
    return ImageLook(
        facts.format,
        facts.height,
        facts.width,
        facts.channels,
        facts.dtype,
        facts.pages,
        facts.minimum or 0.0,
        facts.maximum or 0.0,
        facts.modality,
        grey=_is_grey(data, facts.channels, facts.pages),
    )


def _is_grey(data: bytes, channels: int, pages: int) -> bool:
    if channels < 3:
        return True
    pixels = decode(data, page=pages // 2, budget=FILE_BUDGET).pixels
    return bool((pixels[..., 1:3] == pixels[..., :1]).all())


def look_at_mask(data: bytes) -> MaskLook:
    """Say which values a mask holds; never raises for a bad file."""
    try:
        header = inspect(data, budget=FILE_BUDGET)
        values = _values(data, header.pages)
    except UnfitError as error:
        return MaskLook(refused=str(error))
    except DecodeError as error:
        return MaskLook(refused=f"{error.code}: {error.message}")
    except FILE_ERRORS as error:
        return MaskLook(refused=explain(error, "")[1])
    if header.format == "jpeg" and len(values) > 2:
        return _drifting(data)
    if len(values) > _MOST_VALUES:
        return MaskLook(smeared=True, foreground=True, format=header.format)
    found = tuple(map(float, values))
    return MaskLook(found, foreground=len(found) > 1 or found != (0.0,), format=header.format)


def foreground(data: bytes) -> NDArray[np.bool_] | None:
    """Return where a mask is not 0; None for one that cannot be read as a mask."""
    try:
        volume = read_volume(data, budget=FILE_BUDGET)
        values = value_plane(decode(data, budget=FILE_BUDGET)) if volume is None else volume.voxels
    except FILE_ERRORS:
        return None
    return np.asarray(values != 0)


def _drifting(data: bytes) -> MaskLook:
    """A mask saved as JPEG: two values if nearly all pixels are close to black or white."""
    plane = value_plane(decode(data, budget=FILE_BUDGET))
    close = (plane <= _CLOSE) | (plane >= _WHITE - _CLOSE)
    if close.mean() < _NEARLY_ALL:
        return MaskLook(smeared=True, foreground=True, format="jpeg")
    full = bool((plane > _WHITE // 2).any())
    return MaskLook((0.0, float(_WHITE)) if full else (0.0,), drifts=True, foreground=full, format="jpeg")


def _values(data: bytes, pages: int) -> Sequence[float]:
    volume = read_volume(data, budget=FILE_BUDGET)
    if volume is not None:
        return list(map(float, np.unique(volume.voxels)))
    found: set[float] = set()
    for page in range(pages):
        found.update(np.unique(value_plane(decode(data, page=page, budget=FILE_BUDGET))).tolist())
    return sorted(found)
