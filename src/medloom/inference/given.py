"""What a caller hands over to be predicted: a path becomes bytes, pixels become an image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.sources import FolderSource
from medloom.errors import InputError
from medloom.imaging import Budget, Image, Volume
from medloom.inference.inputs import ImageFile, open_images, read_input

__all__ = ["as_image", "read_file", "read_path"]

_NUMBERS = "biuf"
_MOST = float(np.finfo(np.float32).max)
"""Largest range of the pixels: their differences are taken in float32."""


def read_file(path: str | Path) -> bytes:
    """Return a file's content; of a file that is too large to decode, enough for the decoder to say so.

    Raises:
        InputError: If there is no such file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist or is no file"
        raise InputError(f"{file} {what}; expected the path of one image")
    return FolderSource(file.parent).read(file.name)


def read_path(path: str | Path, *, page: int | None, series: int | str | None, budget: Budget) -> Volume | bytes:
    """Read what a path names: a volume whole, where it is one and no page was asked for; else the bytes of an image.

    Args:
        path: A file, or a folder or zip that is one DICOM series.
        page: Page that was asked for.
        series: Which series of a folder or zip, by its index or UID.
        budget: What one file may cost.

    Raises:
        DataError: If a folder is not one whole series.
        DecodeError: If the bytes are not an acceptable volume.
        InputError: If there is no such file.
    """
    if not str(path):
        raise InputError("the path is empty; expected that of an image or volume")
    file = Path(path).expanduser()
    if not (file.is_dir() or (file.suffix.lower() == ".zip" and file.is_file())):
        if series is not None:
            raise InputError(f"series={series} chooses in a folder or zip of DICOM files; {file} is no such")
        return read_input(ImageFile(file.name, partial(read_file, file)), page=page, budget=budget)
    if page is not None:
        raise InputError(f"a DICOM series is predicted whole and page={page} asks for one page; name the file of it")
    with open_images([file], series="" if series is None else str(series)) as (folder,):
        return read_input(folder, page=None, budget=budget)


def as_image(given: Image | NDArray[Any]) -> Image:
    """Take pixels for an image, and refuse what no network can make sense of.

    Args:
        given: A decoded image, or pixels ``(H, W, C)`` or ``(H, W)``.

    Raises:
        InputError: If there are no pixels, they are no numbers, or one is NaN, infinite or beyond float32.
    """
    image = given if isinstance(given, Image) else Image(np.atleast_3d(given), "array")
    pixels = image.pixels
    if pixels.dtype.kind not in _NUMBERS:
        raise InputError(f"the pixels are {pixels.dtype}; expected whole numbers or floats")
    if not pixels.size:
        raise InputError(f"the image has no pixels: its shape is {pixels.shape}; expected (H, W, C)")
    if pixels.dtype.kind == "f" and not float(pixels.max()) - float(pixels.min()) <= _MOST:  # NaN compares as false
        raise InputError("the image holds pixels that are NaN, infinite or beyond float32; expected finite numbers")
    return image
