"""What goes into decoding and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.imaging.geometry import Affine, Grid, axis_codes

__all__ = [
    "DEFAULT_BUDGET",
    "FILE_BUDGET",
    "Budget",
    "DisplayTable",
    "Format",
    "Header",
    "Image",
    "NanPolicy",
    "Pixels",
    "Reduction",
    "Volume",
    "VolumeReader",
    "range_of_all",
]

Pixels = NDArray[Any]
NanPolicy = Literal["reject", "allow"]


def range_of_all(ranges: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Return the range that holds several, such as those of the slices of a volume; None if one of them is unknown."""
    known = [one for one in ranges if one is not None]
    if not known or len(known) < len(ranges):
        return None
    lows, highs = zip(*known, strict=True)
    return min(lows), max(highs)


@dataclass(frozen=True)
class Budget:
    """What one input may cost; compared with its header before anything is allocated.

    Args:
        max_bytes: Length of the encoded input.
        max_pixels: Height × width of one plane.
        max_decoded_bytes: Size of the decoded array.
        max_frames: Pages or frames in one file.
        max_ratio: Decoded over encoded size, for arrays larger than ``ratio_above_bytes``.
        ratio_above_bytes: Decoded size up to which any ratio is accepted.
    """

    max_bytes: int = 25 * 2**20
    max_pixels: int = 50_000_000
    max_decoded_bytes: int = 512 * 2**20
    max_frames: int = 2000
    max_ratio: int = 200
    ratio_above_bytes: int = 64 * 2**20


DEFAULT_BUDGET = Budget()

FILE_BUDGET = Budget(max_bytes=512 * 2**20)
"""For a file that its user named on this machine: volumes are longer than what a server takes from anybody."""


@dataclass(frozen=True)
class Header:
    """What a file says about itself: the geometry that `decode` returns, known without decoding.

    Args:
        format: A name of ``medloom.registry.FORMATS``, such as ``tiff``.
        height: Rows, after the file's orientation is applied.
        width: Columns, after the file's orientation is applied.
        channels: Channels after palettes are expanded and CMYK is converted.
        dtype: NumPy name of the decoded type, in native byte order.
        pages: Number of pages or frames, smaller copies of a page not counted. `decode` needs ``page=`` when there are
            several.
    """

    format: str
    height: int
    width: int
    channels: int
    dtype: str
    pages: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the decoded array."""
        return self.height, self.width, self.channels

    @property
    def nbytes(self) -> int:
        """Size of the decoded array of one page in bytes."""
        return self.height * self.width * self.channels * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Reduction:
    """What became of a picture that was decoded at a fraction of its size.

    Args:
        height: Rows of the picture, as its `Header` says.
        width: Columns of the picture, as its `Header` says.
        box: Left, top, right and bottom of the picture within the reduced pixels, in such pixels. Parts of a pixel
            where the sides are no multiples of the fraction: resizing without it would stretch the picture.
    """

    height: int
    width: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class DisplayTable:
    """How values are shown: a lookup table that a file holds.

    Args:
        first: Value of the first entry; each next one is for a value larger by 1. Values outside get the nearest entry.
        entries: Array (N,) of float32, 0 for black to 1 for white.

    Source: DICOM PS3.3, section C.11.2.1.1 (VOI LUT).
    """

    first: float
    entries: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded image.

    Args:
        pixels: Array (H, W, C) in its native dtype, C-contiguous, in native byte order, C ≥ 1.
        format: Format it came in.
        spacing_mm: Row and column spacing in millimetres, or None where it is unknown. TIFF, PNG and JPEG
            resolutions describe paper, so they are not taken for spacing.
        notes: What a careful reader should know, such as "palette expanded".
        window: Centre and width, in the values of ``pixels``, that the file suggests to show; not applied.
        table: How the file suggests to show ``pixels``, where it has a lookup table for it; not applied.
        indices: Array (H, W, 1) of the palette's indices that ``pixels`` were expanded from; None where there is no
            palette. Masks mean these, where their colours are only for the eye.
        reduction: How ``pixels`` are smaller than the picture, or None if they are the picture; only where `decode`
            was told ``at_least``.
        affine: Matrix (4, 4) of float64 that takes ``(column, row, slice, 1)`` to millimetres in the patient, RAS+, as
            `Volume.affine` does; the image is slice 0. None where the file does not say.
        slices: How many slices the file has at the steps of ``affine``, this one among them.
        directions: Where there is no affine but the file says so much, as radiographs do: the direction in which
            columns are counted and that of the rows, one of R, L, A, P, S, I each.
        value_range: Least and largest value that the file could hold, where that is less than the type of ``pixels``
            could: of 12 bits stored in 16, or of a rescaled image. None where the file does not say.
    """

    pixels: Pixels
    format: str
    spacing_mm: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    reduction: Reduction | None = None
    table: DisplayTable | None = None
    indices: Pixels | None = None
    affine: Affine | None = None
    slices: int = 1
    directions: tuple[str, str] | None = None
    value_range: tuple[float, float] | None = None

    @property
    def axes(self) -> tuple[str, str] | None:
        """Direction in which columns are counted and that of the rows; None where the file does not say."""
        return self.directions if self.affine is None else axis_codes(self.affine)[:2]

    @property
    def grid(self) -> Grid | None:
        """Where the pixels lie in the patient, as slice 0 of ``slices``; None where the file does not say."""
        height, width = self.size
        return None if self.affine is None else Grid(self.affine, (width, height, self.slices))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, reduced or not."""
        if self.reduction is not None:
            return self.reduction.height, self.reduction.width
        height, width = self.pixels.shape[:2]
        return height, width


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one size in one orientation, equally far apart.

    Args:
        voxels: Array (D, H, W) in its native dtype: slice, row, column. It is C-contiguous, so a slice is a view.
        spacing_mm: Distance in millimetres between neighbours along the axes of ``voxels``: slice, row, column.
        affine: Matrix (4, 4) of float64 that takes ``(column, row, slice, 1)`` to millimetres in the patient, with
            x growing to the right, y to the front and z to the head (RAS+, the convention of NIfTI). Column first
            because NIfTI counts so: ``nibabel.Nifti1Image(volume.voxels.T, volume.affine)`` is the same volume.
        format: Format it came in.
        notes: What a careful reader should know.
        plane_spacing_mm: Row and column spacing as `decode` gives it for a slice; None where the file does not say.
        oriented: Whether the file states its orientation, or ``affine`` is only what nibabel takes for it.
        windows: Centre and width that the file suggests for each slice, as `Image.window`; empty where it does not.
        tables: What shows each slice, as `Image.table`; empty where there is none.
        value_ranges: What the file could hold for each slice, as `Image.value_range`; empty where it does not say.

    Example:
        >>> volume = Volume(np.zeros((3, 4, 5), np.int16), (2.0, 1.0, 1.0), np.diag([1.0, 1.0, 2.0, 1.0]), "nifti")
        >>> (volume.affine @ [4, 3, 2, 1])[:3].tolist()
        [4.0, 3.0, 4.0]

    Source: NIfTI-1 standard, "3D image (volume) orientation and location in space".
    """

    voxels: Pixels
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]
    format: str
    notes: tuple[str, ...] = ()
    plane_spacing_mm: tuple[float, float] | None = None
    oriented: bool = True
    windows: tuple[tuple[float, float] | None, ...] = ()
    tables: tuple[DisplayTable | None, ...] = ()
    value_ranges: tuple[tuple[float, float] | None, ...] = ()

    @property
    def value_range(self) -> tuple[float, float] | None:
        """One range for all slices; None where one does not say its own."""
        return range_of_all(self.value_ranges)


@dataclass(frozen=True)
class Format:
    """One file format; `medloom.registry.FORMATS` names the module in which it is.

    Args:
        name: Its name.
        magics: Offset and bytes of every signature that identifies it.
        suffixes: File name suffixes, lower case, with the dot.
        content_types: Media types, the preferred one first.
        codec: Name and version of what decodes it.
        inspect: From bytes and a budget to the header, compared with the budget; allocates no pixels.
        decode: From bytes, page and budget to the pixels of that page.
        decode_reduced: The same at a fraction of its size, with the height and width that it must not fall below as
            fourth argument; None where the format cannot.
        read_volume: From bytes to all pages as one volume, with ``nan_policy`` and ``budget``; None where a file is no
            volume by itself.
        is_volume: From bytes and a budget to whether the pages are the slices of a volume; None for a format whose
            files never are.
        grids: From bytes and a budget to where the voxels lie: one grid of all pages, or one for each page; empty where
            the file does not say. None for a format that never does.
    """

    name: str
    magics: tuple[tuple[int, bytes], ...]
    suffixes: tuple[str, ...]
    content_types: tuple[str, ...]
    codec: Callable[[], str]
    inspect: Callable[[bytes, Budget], Header]
    decode: Callable[[bytes, int | None, Budget], Image]
    decode_reduced: Callable[[bytes, int | None, Budget, tuple[int, int]], Image] | None = None
    read_volume: VolumeReader | None = None
    is_volume: Callable[[bytes, Budget], bool] | None = None
    grids: Callable[[bytes, Budget], tuple[Grid, ...]] | None = None


class VolumeReader(Protocol):
    """Reads all pages of a file as one volume."""

    def __call__(self, data: bytes, *, nan_policy: NanPolicy = "reject", budget: Budget = DEFAULT_BUDGET) -> Volume:
        """Return the volume, or raise a `DecodeError`."""
