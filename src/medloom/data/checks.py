"""Read one sample and say everything that is wrong with it.

``prepare`` and ``evaluate`` read images and masks through here, so both apply the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medloom.data.page_reader import PageReader
from medloom.errors import DataError, DecodeError, InputError
from medloom.imaging import Image
from medloom.recipe import DataConfig
from medloom.wording import counted

__all__ = [
    "FILE_ERRORS",
    "ClassMap",
    "UnfitError",
    "check_quarantine",
    "check_same_size",
    "explain",
    "join_channels",
    "mask_classes",
    "read_image",
    "read_mask",
    "reducible",
    "value_plane",
]

Convert = Callable[[Image], Image]
"""From an image as decoded to one with the channels that the recipe wants, such as ``Preprocess.to_input``."""

FILE_ERRORS = (DataError, DecodeError, OSError, ValueError)
"""Whatever reading, decoding and checking one file may raise."""

T = TypeVar("T")
Mask = NDArray[np.uint8]

_SHOWN_VALUES = 8


class UnfitError(ValueError):
    """A file that can be read and does not fit the recipe or its partner.

    Args:
        kind: ``channels``, ``size`` or ``values``, for the accounting.
        message: What came and what was expected; names no file.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class ClassMap:
    """From a mask's pixel values to class indices.

    Args:
        values: Pixel value of each class, the background first; the recipe's ``data.mask_values``.

    Example:
        >>> ClassMap({"background": 0, "lesion": 255})(np.array([[0, 255]], np.uint8)).tolist()
        [[0, 1]]
    """

    def __init__(self, values: dict[str, int]) -> None:
        self.values = values

    def __call__(self, pixels_hw: NDArray[Any]) -> Mask:
        """Return class indices.

        Args:
            pixels_hw: ``(H, W)``, any dtype.

        Returns:
            ``(H, W)`` uint8.

        Raises:
            UnfitError: If a pixel has a value of no class.
        """
        classes = np.zeros(pixels_hw.shape, np.uint8)
        known = 0
        # A comparison for each class is five times faster than looking every pixel up in a table.
        for index, value in enumerate(self.values.values()):
            here = pixels_hw == value
            known += int(np.count_nonzero(here))
            if index:
                classes |= here.view(np.uint8) * np.uint8(index)
        if known != pixels_hw.size:
            raise self._others(pixels_hw)
        return classes

    def _others(self, pixels_hw: NDArray[Any]) -> UnfitError:
        others = [value for value in np.unique(pixels_hw).tolist() if value not in self.values.values()]
        shown = ", ".join(f"{value:g}" for value in others[:_SHOWN_VALUES])
        more = f" and {len(others) - _SHOWN_VALUES} more" if len(others) > _SHOWN_VALUES else ""
        expected = ", ".join(f"{value} ({name})" for name, value in self.values.items())
        return UnfitError("values", f"mask has the values {shown}{more}; expected only {expected}")


def join_channels(decoded: Sequence[Image | None], config: DataConfig, convert: Convert | None = None) -> Image:
    """Make one image of one file, or of one file for each channel.

    Args:
        decoded: What each file holds; None for a missing channel, which becomes zeros.
        config: The recipe's ``data``.
        convert: Brings an image to the recipe's channels before they are counted.

    Returns:
        The image with the recipe's channels.

    Raises:
        UnfitError: If the channels do not fit together or are not those of the recipe.
    """
    first = next((image for image in decoded if image is not None), None)
    if first is None:
        raise UnfitError("channels", "no file for any channel")
    image = first if len(decoded) == 1 else _stack(decoded, first, config)
    image = image if convert is None else _converted(image, convert)
    if image.pixels.shape[2] != len(config.channels):
        wanted = f"{len(config.channels)} ({', '.join(config.channels)})"
        found = counted(image.pixels.shape[2], "channel")
        raise UnfitError("channels", f"image has {found}; the recipe's data.channels has {wanted}")
    return image


def _converted(image: Image, convert: Convert) -> Image:
    try:
        return convert(image)
    except InputError as error:
        raise UnfitError("channels", str(error)) from error


def _stack(decoded: Sequence[Image | None], first: Image, config: DataConfig) -> Image:
    for image, channel in zip(decoded, config.channels, strict=True):
        if image is not None and image.pixels.shape != (*first.pixels.shape[:2], 1):
            raise UnfitError(
                "channels",
                f"channel {channel} is {_size(image.pixels)} with {counted(image.pixels.shape[2], 'plane')}; "
                f"expected {_size(first.pixels)} with one",
            )
        if image is not None and image.pixels.dtype != first.pixels.dtype:
            raise UnfitError("channels", f"channel {channel} is {image.pixels.dtype}, another {first.pixels.dtype}")
    zeros = np.zeros_like(first.pixels)
    whole = np.concatenate([zeros if image is None else image.pixels for image in decoded], axis=2)
    return Image(whole, first.format, first.spacing_mm, first.notes)


def mask_classes(image: Image, classes: ClassMap) -> Mask:
    """Turn a decoded mask into class indices.

    Args:
        image: The mask. One saved as colour is accepted if its colour channels agree.
        classes: The pixel value of each class.

    Returns:
        ``(H, W)`` uint8 class indices, 0 for the background.

    Raises:
        UnfitError: If it has another value or real colours.
    """
    return classes(value_plane(image))


def value_plane(image: Image) -> NDArray[Any]:
    """Return the pixel values ``(H, W)`` of a decoded mask; see ``mask_classes``."""
    pixels = image.pixels
    plane: NDArray[Any] = pixels[..., 0]
    if pixels.shape[2] > 1 and (pixels[..., :3] != plane[..., None]).any():
        raise UnfitError("values", f"mask has {pixels.shape[2]} channels that differ; expected one of class values")
    return plane


def reducible(files: Sequence[str], at_least: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return what ``decode`` may reduce to: None where each channel has a file, for their sizes are compared."""
    return at_least if len(files) == 1 else None


def read_image(
    reader: PageReader,
    files: Sequence[str],
    config: DataConfig,
    convert: Convert | None = None,
    page: int | None = None,
    at_least: tuple[int, int] | None = None,
) -> Image:
    """Read and decode an image; errors name the file.

    Args:
        reader: Reads the files, such as ``PageReader(source.read)``.
        files: One path, or one a channel with empty text for a missing one.
        config: The recipe's ``data``.
        convert: As for ``join_channels``.
        page: Page, slice or frame of files that have several.
        at_least: Height and width to which it will be shrunk; None for the whole image. Where each channel has a file,
            they come whole.

    Raises:
        DataError: If it cannot be read or decoded.
    """
    least = reducible(files, at_least)
    decoded = [_named(partial(reader.decode, name, page, least), name) if name else None for name in files]
    return _named(lambda: join_channels(decoded, config, convert), next(filter(None, files), "?"))


def read_mask(reader: PageReader, file: str, classes: ClassMap, page: int | None = None) -> Mask:
    """Read and decode a mask; errors name the file. See ``mask_classes`` and ``read_image``.

    Raises:
        DataError: If it cannot be read or decoded.
    """
    return _named(lambda: mask_classes(reader.decode(file, page), classes), file)


def check_same_size(image: NDArray[Any], mask: Mask) -> None:
    """Raise ``UnfitError`` if an image and its mask differ in height or width."""
    if image.shape[:2] != mask.shape:
        raise UnfitError("size", f"image is {_size(image)}, its mask {_size(mask)}")


def explain(error: Exception, file: str) -> tuple[str, str]:
    """Say what is wrong with a file, without naming it.

    Args:
        error: One of ``FILE_ERRORS``.
        file: The file's name, to be taken out of the message.

    Returns:
        Kind of problem and its description.
    """
    if isinstance(error, UnfitError):
        return error.kind, str(error)
    if isinstance(error, OSError):
        # An operating system's error repeats the whole path; its reason is enough.
        return "unreadable", error.strerror or "cannot be read"
    return "unreadable", str(error).removeprefix(f"{file}: ")


def check_quarantine(problems: Sequence[str], bad: int, total: int, config: DataConfig) -> None:
    """Apply the recipe's policy to what was found.

    Args:
        problems: One line for each problem, naming the file.
        bad: Samples that have a problem.
        total: Samples in all, the bad ones included.
        config: Says ``fail`` or ``quarantine``, and how much of it.

    Raises:
        DataError: With every problem, if the policy does not let them pass.
    """
    if bad == 0:
        return
    if config.policy == "fail":
        raise DataError(
            f"{bad} of {counted(total, 'sample')} cannot be used. Mend or remove these files, or set them aside with "
            f"--set data.policy=quarantine",
            problems,
        )
    if bad > config.quarantine_limit * total:
        raise DataError(
            f"{bad} of {counted(total, 'sample')} cannot be used, more than data.quarantine_limit="
            f"{config.quarantine_limit:g} allows. Mend these files, or raise the limit",
            problems,
        )


def _named(work: Callable[[], T], file: str) -> T:
    """Do something with a file; whatever is wrong with the file is said with its name."""
    try:
        return work()
    except FILE_ERRORS as error:
        raise DataError(f"{file}: {explain(error, file)[1]}") from error


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[0]}x{pixels.shape[1]}"
