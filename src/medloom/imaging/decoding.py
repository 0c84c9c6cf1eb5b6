"""The only way from untrusted bytes to pixels: sniff, budget, decode."""

from __future__ import annotations

from medloom.imaging.checks import check_encoded, check_finite, guard
from medloom.imaging.geometry import Grid
from medloom.imaging.registry import FORMATS, check_declared, sniff
from medloom.imaging.types import DEFAULT_BUDGET, Budget, Header, Image, NanPolicy, Volume

__all__ = ["decode", "inspect", "is_volume", "read_grids", "read_volume"]


def inspect(data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> Header:
    """Read what an image says about itself, without decoding it.

    Args:
        data: The encoded image.
        budget: What it may cost.

    Returns:
        Geometry and type as `decode` would return them; of the first page where there are several.

    Raises:
        DecodeError: If it is no image, or over the budget.
    """
    check_encoded(data, budget)
    name = sniff(data)
    with guard(name):
        return FORMATS[name].inspect(data, budget)


def decode(
    data: bytes,
    *,
    content_type: str | None = None,
    page: int | None = None,
    nan_policy: NanPolicy = "reject",
    budget: Budget = DEFAULT_BUDGET,
    at_least: tuple[int, int] | None = None,
) -> Image:
    """Decode an image from untrusted bytes.

    The format is decided by the signature alone and no other reader is tried. The header is compared with the
    budget before pixels are allocated. The result is the whole image, never a part of a damaged one, and every
    failure is a `DecodeError`.

    Args:
        data: The encoded image, in any format of the registry.
        content_type: Declared media type, to be compared with the content; None if nothing was declared.
        page: Page counted from 0; needed where a file has several.
        nan_policy: ``reject`` refuses NaN and infinite pixels, ``allow`` returns them.
        budget: What it may cost.
        at_least: Height and width, in pixels, to which the caller will shrink the image. A JPEG may then come at 1/2,
            1/4 or 1/8 of its size, never smaller than this and said in ``reduction`` and ``notes``; other formats
            come whole. None for the whole image; masks and measurements need that.

    Returns:
        The image; 16-bit stays 16-bit, palettes are expanded, stored orientation is applied.

    Raises:
        DecodeError: Whatever is wrong with the input; ``code`` says what.

    Example:
        >>> import numpy as np
        >>> from medloom.imaging import encode_png
        >>> image = decode(encode_png(np.zeros((4, 6), np.uint8)))
        >>> image.pixels.shape, image.format
        ((4, 6, 1), 'png')
    """
    check_encoded(data, budget)
    name = sniff(data)
    check_declared(content_type, name)
    with guard(name):
        reduced = FORMATS[name].decode_reduced
        if at_least is not None and reduced is not None:
            image = reduced(data, page, budget, at_least)
        else:
            image = FORMATS[name].decode(data, page, budget)
        if nan_policy == "reject":
            check_finite(image.pixels)
    return image


def read_volume(data: bytes, *, nan_policy: NanPolicy = "reject", budget: Budget = DEFAULT_BUDGET) -> Volume | None:
    """Decode all slices of a file whose format is one of volumes.

    Args:
        data: The encoded file.
        nan_policy: As for `decode`.
        budget: What it may cost.

    Returns:
        The volume; None for a format of images, of which `decode` reads one page.

    Raises:
        DecodeError: Whatever is wrong with the input.
    """
    check_encoded(data, budget)
    read = FORMATS[sniff(data)].read_volume
    return None if read is None else read(data, nan_policy=nan_policy, budget=budget)


def is_volume(data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> bool:
    """Return whether the pages of a file are the slices of a volume, without decoding it.

    Raises:
        DecodeError: If it is no image, or over the budget.
    """
    check_encoded(data, budget)
    name = sniff(data)
    ask = FORMATS[name].is_volume
    with guard(name):
        return ask is not None and ask(data, budget)


def read_grids(data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> tuple[Grid, ...]:
    """Read where the voxels of a file lie in the patient, without decoding them.

    Args:
        data: The encoded file.
        budget: What it may cost.

    Returns:
        One grid of all pages, or one for each page; empty where the file does not say.

    Raises:
        DecodeError: If it is no image, or over the budget.
    """
    check_encoded(data, budget)
    name = sniff(data)
    read = FORMATS[name].grids
    if read is None:
        return ()
    with guard(name):
        return read(data, budget)
