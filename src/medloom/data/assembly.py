"""From the files of a sample to one image; ``prepare`` and ``evaluate`` read images through here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from medloom.data.alignment import Alignment
from medloom.data.checks import UnfitError, named, size_text
from medloom.errors import InputError
from medloom.imaging import Image
from medloom.imaging.types import range_of_all
from medloom.transforms import Preprocess
from medloom.wording import counted

__all__ = ["assemble", "join_files", "read_channel", "read_sample_image", "reducible"]


def join_files(decoded: Sequence[Image | None], channels: Sequence[str]) -> Image:
    """Make one image of one file, or of one file for each channel; nothing is converted.

    Args:
        decoded: What each file holds; None for a missing channel, which becomes zeros.
        channels: Names of the channels in order.

    Raises:
        UnfitError: If there is no file, or the files do not fit together.
    """
    first = next((image for image in decoded if image is not None), None)
    if first is None:
        raise UnfitError("channels", "no file for any channel")
    return first if len(decoded) == 1 else _stack(decoded, first, channels)


def assemble(decoded: Sequence[Image | None], channels: Sequence[str], preprocess: Preprocess) -> Image:
    """Join the files of an image and bring it to the recipe's channels.

    Args:
        decoded: As for ``join_files``.
        channels: The recipe's channels.
        preprocess: Its window and colours.

    Raises:
        UnfitError: If the files do not fit together, or are not an image with these channels.
    """
    image = join_files(decoded, channels)
    try:
        return preprocess.to_input(image, channels, "the recipe's data.channels has")
    except InputError as error:
        raise UnfitError("channels", str(error)) from error


def read_channel(
    alignment: Alignment,
    name: str,
    channel: str,
    page: int | None,
    first: Image | None,
    at_least: tuple[int, int] | None = None,
) -> Image:
    """Read and decode a file of an image.

    Args:
        alignment: Reads the files and brings them to one grid.
        name: The file.
        channel: What it holds.
        page: Page, slice or frame of a file that has several.
        first: The first file of the image, to whose grid this one is brought; None if this is the first.
        at_least: See ``reducible``.

    Raises:
        UnfitError: If it lies on another grid than the first.
        DecodeError: Whatever is wrong with the content.
    """
    if first is None:
        return alignment.reader.image(name, page, at_least)
    return alignment.bring(name, page, first, f"channel {channel}", smooth=True)


def read_sample_image(
    alignment: Alignment,
    files: Sequence[str],
    channels: Sequence[str],
    page: int | None = None,
    at_least: tuple[int, int] | None = None,
) -> Image:
    """Read, decode and join the files of an image, for ``Predictor.prepare``; errors name the file.

    Args:
        alignment: Reads the files and brings them to one grid, such as ``Alignment(PageReader(source.read))``.
        files: One path, or one a channel with empty text for a missing one.
        channels: Names of the channels in order.
        page: Page, slice or frame of files that have several.
        at_least: Height and width to which it will be shrunk; None for the whole image. Where each channel has a file,
            they come whole.

    Raises:
        DataError: If it cannot be read, decoded or joined.
    """
    least, first = reducible(files, at_least), None
    decoded: list[Image | None] = []
    for name, channel in zip(files, channels if len(files) > 1 else [""], strict=True):
        read = partial(read_channel, alignment, name, channel, page, first, least)
        image = named(read, name) if name else None
        decoded.append(image)
        first = image if first is None else first
    return named(lambda: join_files(decoded, channels), next(filter(None, files), "?"))


def reducible(files: Sequence[str], at_least: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return what ``decode`` may reduce to: None where each channel has a file, for their sizes are compared."""
    return at_least if len(files) == 1 else None


def _stack(decoded: Sequence[Image | None], first: Image, channels: Sequence[str]) -> Image:
    for image, channel in zip(decoded, channels, strict=True):
        if image is not None:
            _check_fits(image, first, channel)
    zeros = np.zeros_like(first.pixels)
    whole = np.concatenate([zeros if image is None else image.pixels for image in decoded], axis=2)
    notes = dict.fromkeys(note for image in decoded if image is not None for note in image.notes)
    return Image(
        whole, first.format, first.spacing_mm, tuple(notes), affine=first.affine, directions=first.directions,
        value_range=range_of_all([image.value_range for image in decoded if image is not None]),
    )  # fmt: skip


def _check_fits(image: Image, first: Image, channel: str) -> None:
    if image.pixels.shape != (*first.pixels.shape[:2], 1):
        raise UnfitError(
            "channels",
            f"channel {channel} is {size_text(image.pixels)} with {counted(image.pixels.shape[2], 'plane')}; "
            f"expected {size_text(first.pixels)} with one",
        )
    if image.pixels.dtype != first.pixels.dtype:
        raise UnfitError("channels", f"channel {channel} is {image.pixels.dtype}, another {first.pixels.dtype}")
