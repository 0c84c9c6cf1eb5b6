"""Whether the files of a sample fit the recipe and each other, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DataError, DecodeError
from medloom.imaging import Image
from medloom.wording import counted

__all__ = [
    "FILE_ERRORS",
    "ClassMap",
    "UnfitError",
    "check_quarantine",
    "check_same_size",
    "explain",
    "mask_classes",
    "named",
    "size_text",
    "value_plane",
]

FILE_ERRORS = (DataError, DecodeError, OSError, ValueError)
"""Whatever reading, decoding and checking one file may raise."""

T = TypeVar("T")
Mask = NDArray[np.uint8]

_SHOWN_VALUES = 8


class UnfitError(ValueError):
    """A file that can be read and does not fit the recipe or its partner.

    Args:
        kind: ``channels``, ``grid``, ``size`` or ``values``, for the accounting.
        message: What came and what was expected; names no file.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class ClassMap:
    """From a mask's pixel values to class indices.

    Args:
        values: Pixel value of each class, the background first; the recipe's ``target.mask_values``.

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


def check_same_size(image: NDArray[Any], mask: Mask) -> None:
    """Raise ``UnfitError`` if an image and its mask differ in height or width."""
    if image.shape[:2] != mask.shape:
        raise UnfitError("size", f"image is {size_text(image)}, its mask {size_text(mask)}")


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


def check_quarantine(problems: Sequence[str], bad: int, total: int, policy: str, limit: float) -> None:
    """Apply the recipe's policy to what was found.

    Args:
        problems: One line for each problem, naming the file.
        bad: Samples that have a problem.
        total: Samples in all, the bad ones included.
        policy: ``fail`` or ``quarantine``.
        limit: Largest share of samples that ``quarantine`` may set aside.

    Raises:
        DataError: With every problem, if the policy does not let them pass.
    """
    if bad == 0:
        return
    if policy == "fail":
        raise DataError(
            f"{bad} of {counted(total, 'sample')} cannot be used. Mend or remove these files, or set them aside with "
            f"--set data.policy=quarantine",
            problems,
        )
    if bad > limit * total:
        raise DataError(
            f"{bad} of {counted(total, 'sample')} cannot be used, more than data.quarantine_limit="
            f"{limit:g} allows. Mend these files, or raise the limit",
            problems,
        )


def named(work: Callable[[], T], file: str) -> T:
    """Do something with a file; whatever is wrong with the file is said with its name.

    Raises:
        DataError: For one of ``FILE_ERRORS``.
    """
    try:
        return work()
    except FILE_ERRORS as error:
        raise DataError(f"{file}: {explain(error, file)[1]}") from error


def size_text(pixels: NDArray[Any]) -> str:
    """Return height and width in words."""
    return f"{pixels.shape[0]}x{pixels.shape[1]}"
