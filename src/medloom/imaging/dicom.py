"""The format DICOM: what the registry asks of it.

`dicom_file` finds the elements, `dicom_image` what the header says of the frames, `dicom_values` decodes one of them,
and `series` puts frames together to volumes.
"""

from __future__ import annotations

import imagecodecs

from medloom.imaging.checks import choose_page
from medloom.imaging.dicom_file import MAGICS, transfer_syntaxes
from medloom.imaging.dicom_image import open_image
from medloom.imaging.dicom_values import decode_frame
from medloom.imaging.geometry import Grid
from medloom.imaging.places import grids_of
from medloom.imaging.types import Budget, Format, Header, Image

__all__ = ["FORMAT", "codec", "decode", "grids", "inspect", "is_volume"]


def codec() -> str:
    """Name and version of what decodes it."""
    return f"imagecodecs {imagecodecs.__version__} ({len(transfer_syntaxes())} transfer syntaxes)"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Step over every element, and check the first frame against the budget."""
    return open_image(data, budget).header(0)


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return one frame."""
    opened = open_image(data, budget)
    return decode_frame(opened, choose_page(page, opened.module.frames))


def is_volume(data: bytes, budget: Budget, /) -> bool:
    """Return whether it has several frames, and they are the slices of a volume."""
    from medloom.imaging.series import are_slices  # uses the registry, which loads this module

    return are_slices(open_image(data, budget))


def grids(data: bytes, budget: Budget, /) -> tuple[Grid, ...]:
    """Return where each frame lies; empty where one does not say."""
    return grids_of(open_image(data, budget))


FORMAT = Format(
    name="dicom",
    magics=MAGICS,
    suffixes=(".dcm", ".dicom"),
    content_types=("application/dicom",),
    codec=codec,
    inspect=inspect,
    decode=decode,
    is_volume=is_volume,
    grids=grids,
)
