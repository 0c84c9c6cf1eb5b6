"""Read one sample and say everything that is wrong with it.

``prepare`` and ``evaluate`` read images and masks through here, so both apply the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DataError, DecodeError
from medloom.imaging import Image, decode
from medloom.recipe import DataConfig

__all__ = ["ClassMap", "check_quarantine", "check_same_size", "decode_image", "decode_mask", "read_image", "read_mask"]

Read = Callable[[str], bytes]
Mask = NDArray[np.uint8]

_SHOWN_VALUES = 8


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
        self._table = np.full(max(values.values()) + 1, 255, np.uint8)
        for index, value in enumerate(values.values()):
            self._table[value] = index

    def __call__(self, pixels_hw: NDArray[Any]) -> Mask:
        """Return class indices.

        Args:
            pixels_hw: ``(H, W)``, any dtype.

        Returns:
            ``(H, W)`` uint8.

        Raises:
            ValueError: If a pixel has a value of no class.
        """
        if pixels_hw.dtype.kind not in "ub" or int(pixels_hw.max(initial=0)) >= len(self._table):
            self._refuse_others(pixels_hw)
        classes: Mask = self._table[pixels_hw if pixels_hw.dtype.kind == "u" else pixels_hw.astype(np.uint16)]
        if int(classes.max(initial=0)) == 255:
            self._refuse_others(pixels_hw)
        return classes

    def _refuse_others(self, pixels_hw: NDArray[Any]) -> None:
        others = [value for value in np.unique(pixels_hw).tolist() if value not in self.values.values()]
        if others:
            shown = ", ".join(f"{value:g}" for value in others[:_SHOWN_VALUES])
            more = f" and {len(others) - _SHOWN_VALUES} more" if len(others) > _SHOWN_VALUES else ""
            expected = ", ".join(f"{value} ({name})" for name, value in self.values.items())
            raise ValueError(f"mask has the values {shown}{more}; expected only {expected}")


def decode_image(parts: Sequence[bytes | None], config: DataConfig) -> Image:
    """Decode an image from one file, or from one file for each channel.

    Args:
        parts: Bytes of each file; None for a missing channel, which becomes zeros.
        config: The recipe's ``data``.

    Returns:
        The image with the recipe's channels.

    Raises:
        DecodeError: If bytes are not an acceptable image.
        ValueError: If the channels do not fit together or are not those of the recipe.
    """
    decoded = [None if part is None else decode(part, page=config.page) for part in parts]
    first = next((image for image in decoded if image is not None), None)
    if first is None:
        raise ValueError("no file for any channel")
    image = first if len(decoded) == 1 else _stack(decoded, first, config)
    if image.pixels.shape[2] != len(config.channels):
        wanted = f"{len(config.channels)} ({', '.join(config.channels)})"
        raise ValueError(f"image has {image.pixels.shape[2]} channels; the recipe's data.channels has {wanted}")
    return image


def _stack(decoded: Sequence[Image | None], first: Image, config: DataConfig) -> Image:
    planes: list[NDArray[Any] | None] = []
    for image, channel in zip(decoded, config.channels, strict=True):
        if image is not None and image.pixels.shape != (*first.pixels.shape[:2], 1):
            raise ValueError(
                f"channel {channel} is {_size(image.pixels)} with {image.pixels.shape[2]} planes; "
                f"expected {_size(first.pixels)} with one"
            )
        if image is not None and image.pixels.dtype != first.pixels.dtype:
            raise ValueError(f"channel {channel} is {image.pixels.dtype}, another is {first.pixels.dtype}")
        planes.append(None if image is None else image.pixels)
    zeros = np.zeros_like(first.pixels)
    whole = np.concatenate([zeros if plane is None else plane for plane in planes], axis=2)
    return Image(whole, first.format, first.spacing_mm, first.notes)


def decode_mask(data: bytes, classes: ClassMap, page: int | None = None) -> Mask:
    """Decode a mask to class indices.

    Args:
        data: Bytes of the file. A mask saved as colour is accepted if its colour channels agree.
        classes: The pixel value of each class.
        page: Page of a TIFF that has several.

    Returns:
        ``(H, W)`` uint8 class indices, 0 for the background.

    Raises:
        DecodeError: If the bytes are not an acceptable image.
        ValueError: If it has another value or real colours.
    """
    pixels = decode(data, page=page).pixels
    plane = pixels[..., 0]
    if pixels.shape[2] > 1 and (pixels[..., :3] != plane[..., None]).any():
        raise ValueError(f"mask has {pixels.shape[2]} channels that differ; expected one plane of class values")
    return classes(plane)


def read_image(read: Read, files: Sequence[str], config: DataConfig) -> Image:
    """Read and decode an image; errors name the file.

    Args:
        read: Gives the bytes of a name, such as ``source.read``.
        files: One path, or one a channel with empty text for a missing one.
        config: The recipe's ``data``.

    Raises:
        DataError: If it cannot be read or decoded.
    """
    try:
        return decode_image([read(name) if name else None for name in files], config)
    except (DecodeError, ValueError, OSError) as error:
        raise DataError(f"{next(filter(None, files), '?')}: {_reason(error)}") from error


def read_mask(read: Read, file: str, classes: ClassMap, page: int | None = None) -> Mask:
    """Read and decode a mask; errors name the file. See ``decode_mask``.

    Raises:
        DataError: If it cannot be read or decoded.
    """
    try:
        return decode_mask(read(file), classes, page)
    except (DecodeError, ValueError, OSError) as error:
        raise DataError(f"{file}: {_reason(error)}") from error


def check_same_size(image: NDArray[Any], mask: Mask, file: str) -> None:
    """Raise ``DataError`` naming ``file`` if an image and its mask differ in height or width."""
    if image.shape[:2] != mask.shape:
        raise DataError(f"{file}: image is {_size(image)}, its mask {_size(mask)}")


def check_quarantine(problems: Sequence[str], total: int, config: DataConfig) -> None:
    """Apply the recipe's policy to what was found.

    Args:
        problems: One line for each bad sample, naming the file.
        total: Samples in all, the bad ones included.
        config: Says ``fail`` or ``quarantine``, and how much of it.

    Raises:
        DataError: With every problem, if the policy does not let them pass.
    """
    if not problems:
        return
    if config.policy == "fail":
        raise DataError(
            f"{len(problems)} of {total} samples cannot be used. Mend or remove these files, or set them aside with "
            f"--set data.policy=quarantine",
            problems,
        )
    if len(problems) > config.quarantine_limit * total:
        raise DataError(
            f"{len(problems)} of {total} samples cannot be used, more than data.quarantine_limit="
            f"{config.quarantine_limit:g} allows. Mend these files, or raise the limit",
            problems,
        )


def _reason(error: Exception) -> str:
    """An operating system's error repeats the whole path; its reason is enough."""
    return (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[0]}x{pixels.shape[1]}"
