"""The files of a source, listed once, and those that were looked into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self, TypeVar

import numpy as np

from medloom.data.checks import FILE_ERRORS
from medloom.data.layouts import is_image
from medloom.data.layouts.base import list_images
from medloom.data.sources import Source
from medloom.data.survey.files import File
from medloom.data.survey.looks import ImageLook, MaskLook, foreground, look_at_image, look_at_mask
from medloom.data.survey.names import spread
from medloom.data.survey.pairing import Pairing, pairing
from medloom.data.survey.tables import LabelTable, find_label_tables
from medloom.errors import DecodeError
from medloom.imaging import FILE_BUDGET, inspect
from medloom.imaging.dicom_patient import patient_header

__all__ = ["TABLES", "Seen"]

T = TypeVar("T", ImageLook, MaskLook)

TABLES = (".csv", ".tsv")

_HEAD = 4096
_WITHOUT_SUFFIX = 200
_IMAGES, _MASKS = 12, 48
"""How many files are looked into."""

_BIG = 256 * 2**20
"""Bytes of decoded images, and of masks, after which no further one is looked into."""


@dataclass
class Seen:
    """What was seen of a source. Detectors ask it and read nothing by themselves.

    Args:
        source: Where the files are.
        names: The relative path of every file, sorted.
    """

    source: Source
    names: tuple[str, ...]
    _images: dict[str, ImageLook] = field(default_factory=dict, repr=False)
    _masks: dict[str, MaskLook] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, source: Source) -> Self:
        """List a source."""
        return cls(source, tuple(source.names()))

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Images by their suffix; of files without one, as scanners write DICOM, by the beginning of their content."""
        found = [name for name in self.names if is_image(name)]
        others = [name for name in self.names if not is_image(name)]
        some = spread(others, _WITHOUT_SUFFIX)
        if list_images(some, self.head):
            found += list_images(others, self.head)
        return tuple(sorted(found))

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The images in their parts."""
        return tuple(map(File.of, self.images))

    @cached_property
    def called(self) -> frozenset[str]:
        """What the images are called, with and without suffix."""
        return frozenset(name for file in self.files for name in (file.stem, file.stem + file.suffix))

    @cached_property
    def pairing(self) -> Pairing:
        """Which images are masks of which."""
        return pairing(self.files)

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Files that may be tables of labels."""
        return tuple(name for name in self.names if name.lower().endswith(TABLES))

    @cached_property
    def label_tables(self) -> list[LabelTable]:
        """The tables of which a column names images."""
        return find_label_tables(self)

    @cached_property
    def suffixes(self) -> Counter[str]:
        """How many files there are of each suffix."""
        return Counter(_suffix(name) for name in self.names)

    def head(self, name: str) -> bytes:
        """Return the beginning of a file: enough to know its format."""
        return self.source.head(name, _HEAD)

    def read(self, name: str) -> bytes:
        """Return what a layout needs of a file: a table whole, of an image its beginning."""
        return self.head(name) if is_image(name) or "." not in name.rpartition("/")[2] else self.source.read(name)

    def text(self, name: str) -> str | None:
        """Return a text file such as a JSON; None if it cannot be read or is no text in UTF-8."""
        try:
            return self.source.read(name).decode("utf-8-sig")
        except FILE_ERRORS:
            return None

    def image_looks(self, names: Sequence[str]) -> list[ImageLook]:
        """Look into some of the images, evenly spaced."""
        return self._sampled(names, _IMAGES, self._images, look_at_image)

    def mask_looks(self, names: Sequence[str]) -> list[MaskLook]:
        """Look into some of the masks, evenly spaced."""
        return self._sampled(names, _MASKS, self._masks, look_at_mask)

    def overlap(self, groups: Sequence[Sequence[str]]) -> tuple[int, int]:
        """Return of how many images masks overlap, and of how many they were looked into.

        Args:
            groups: The masks of each image.
        """
        overlapping, looked, size = 0, 0, 0
        for names in spread(groups, _IMAGES):
            planes = [foreground(self._bytes(name)) for name in names] if size <= _BIG else []
            found = [plane for plane in planes if plane is not None]
            size += sum(plane.nbytes for plane in found)
            if found and len({plane.shape for plane in found}) == 1:
                looked += 1
                overlapping += bool((np.sum(found, axis=0, dtype=np.uint8) > 1).any())
        return overlapping, looked

    def with_patient_id(self, names: Sequence[str]) -> tuple[int, int]:
        """Return how many of the DICOM files that are looked into say whose they are, and how many were looked into."""
        heads = [self._patient(name) for name in spread(names, _IMAGES)]
        found = [head for head in heads if head is not None]
        return sum(map(bool, found)), len(found)

    def _patient(self, name: str) -> str | None:
        try:
            head = patient_header(self.source.head(name, 2**17))
        except FILE_ERRORS:
            return None
        return None if head is None else head.patient_id

    def _sampled(self, names: Sequence[str], most: int, known: dict[str, T], look: Callable[[bytes], T]) -> list[T]:
        """Look into files that were not looked into yet; of large files into fewer."""
        found, size = list[T](), 0
        for name in spread(names, most):
            if name not in known:
                if size > _BIG:
                    continue
                data = self._bytes(name)
                size += _decoded_bytes(data)
                known[name] = look(data)
            found.append(known[name])
        return found

    def _bytes(self, name: str) -> bytes:
        """The file; nothing of one that cannot be read, which is then refused as empty."""
        try:
            return self.source.read(name)
        except FILE_ERRORS:
            return b""


def _decoded_bytes(data: bytes) -> int:
    """What a file takes once it is decoded; of one that cannot be, its own size."""
    try:
        header = inspect(data, budget=FILE_BUDGET)
    except DecodeError:
        return len(data)
    return header.nbytes * header.pages


def _suffix(name: str) -> str:
    file = name.rpartition("/")[2]
    return file[file.index(".") :].lower() if "." in file[1:] else ""
