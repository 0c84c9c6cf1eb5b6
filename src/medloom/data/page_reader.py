"""Reads and decodes the files of one sample after another; a volume once, not once for each of its slices."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from medloom.files import sha256_bytes
from medloom.imaging import FILE_BUDGET, Budget, Image, Volume, decode, inspect, read_frames, read_volume
from medloom.imaging.canonical import Plane, along, plane_of, slice_of
from medloom.imaging.checks import choose_page
from medloom.imaging.decoding import read_grids
from medloom.imaging.dicom_seg import SEGMENTATION_BUDGET, Segmentation, read_segmentation
from medloom.imaging.geometry import Grid, axis_codes

__all__ = ["PageReader"]

_GZIP = b"\x1f\x8b"


@dataclass
class _File:
    data: bytes
    sha256: str = ""
    inflated: bytes = b""
    grids: tuple[Grid, ...] | None = None
    volume: Volume | None = None
    segmentation: Segmentation | Literal[False] | None = False


class PageReader:
    """Reads files page by page and keeps those of the last sample.

    So a file is read, hashed and inflated once, not once for each of its pages, as long as the pages come one after
    another. In another process it starts with nothing kept.

    Args:
        read: Gives the bytes of a name, such as ``source.read``.
        cut: The plane that volumes are cut into by ``image``, however they are stored; None for pages as they are.
        segments: Value of each segment of a DICOM segmentation by its name; None takes their numbers.

    Example:
        >>> from medloom.imaging.nifti import write_nifti
        >>> import numpy as np
        >>> volume = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        >>> files = {"a.nii.gz": write_nifti(volume, np.eye(4), compress=True)}
        >>> PageReader(files.__getitem__).decode("a.nii.gz", 1).pixels[0, 0].tolist()
        [12]
    """

    def __init__(
        self, read: Callable[[str], bytes], cut: Plane | None = None, segments: Mapping[str, int] | None = None
    ) -> None:
        self._read = read
        self._segments = segments
        self._cut = cut
        self._files: dict[str, _File] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_files": {}}  # what is kept may be hundreds of megabytes

    def only(self, names: Collection[str]) -> None:
        """Let go of every file but these, those of the sample that comes now."""
        for name in [name for name in self._files if name not in names]:
            del self._files[name]

    def holds(self, name: str) -> bool:
        """Whether a file is kept."""
        return name in self._files

    def data(self, name: str) -> bytes:
        """Return a file's bytes; DataError or OSError if that cannot be."""
        return self._file(name).data

    def sha256(self, name: str) -> str:
        """Return the hash of a file's bytes."""
        file = self._file(name)
        file.sha256 = file.sha256 or sha256_bytes(file.data)
        return file.sha256

    def decode(self, name: str, page: int | None, at_least: tuple[int, int] | None = None) -> Image:
        """Decode a page of a file, exactly as ``medloom.imaging.decode`` does.

        Args:
            name: The file.
            page: Page, slice or frame, counted from 0; None for a file that has one.
            at_least: Height and width to which it will be shrunk; None for the whole image.

        Raises:
            DecodeError: Whatever is wrong with the content.
        """
        file = self._file(name)
        if page is None or not file.data.startswith(_GZIP):
            return decode(file.data, page=page, budget=FILE_BUDGET, at_least=at_least)
        data, budget = _inflated(file)
        return decode(data, page=page, budget=budget)

    def image(self, name: str, page: int | None, at_least: tuple[int, int] | None = None) -> Image:
        """Decode a page of a file, or a slice of a volume that is stored in another plane; else as ``decode``.

        Args:
            name: The file.
            page: Page, slice or frame, counted from 0; of a volume that is cut anew, the place along the side of the
                file that crosses the plane.
            at_least: See ``decode``.

        Raises:
            DecodeError: Whatever is wrong with the content.
        """
        grids = self.grids(name) if self._cut is not None and page is not None else ()
        if not grids or self._cut is None or plane_of(axis_codes(grids[0].affine)) == self._cut:
            return self.decode(name, page, at_least)
        volume = self.volume(name)
        if volume is None or len(volume.voxels) == 1:
            return self.decode(name, page, at_least)
        anew, _ = along(volume, self._cut)
        return slice_of(anew, choose_page(page, len(anew.voxels)))

    def grids(self, name: str) -> tuple[Grid, ...]:
        """Return where the voxels of a file lie: one grid of all pages, or one a page; empty where it does not say.

        Raises:
            DecodeError: Whatever is wrong with the content.
        """
        file = self._file(name)
        if file.grids is None:
            file.grids = read_grids(file.data, budget=FILE_BUDGET)
        return file.grids

    def volume(self, name: str) -> Volume | None:
        """Return all pages of a file as one volume, and keep it with the file; None where it is none.

        Raises:
            DecodeError: Whatever is wrong with the content.
        """
        file = self._file(name)
        if file.volume is None:
            data, budget = _inflated(file) if file.data.startswith(_GZIP) else (file.data, FILE_BUDGET)
            file.volume = read_volume(data, budget=budget) or read_frames(data, budget=budget)
        return file.volume

    def segmentation(self, name: str) -> Segmentation | None:
        """Return a file as a DICOM segmentation, and keep it with the file; None for any other file.

        Raises:
            DecodeError: Whatever is wrong with the content.
        """
        file = self._file(name)
        if file.segmentation is False:
            file.segmentation = read_segmentation(file.data, named=self._segments, budget=SEGMENTATION_BUDGET)
        return file.segmentation

    def _file(self, name: str) -> _File:
        if name not in self._files:
            self._files[name] = _File(self._read(name))
        return self._files[name]


def _inflated(file: _File) -> tuple[bytes, Budget]:
    """What a compressed file holds, and what reading it may cost; inflated once."""
    if not file.inflated:
        inspect(file.data, budget=FILE_BUDGET)  # compares with the budget what it inflates to, and finds it whole
        file.inflated = gzip.decompress(file.data)
    return file.inflated, replace(FILE_BUDGET, max_bytes=len(file.inflated))
