"""Read one sample: bytes, hashes, pixels, checks, preprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.alignment import Alignment
from medloom.data.assembly import assemble, read_channel, reducible
from medloom.data.catalogue import hash_of
from medloom.data.checks import (
    FILE_ERRORS,
    ClassMap,
    UnfitError,
    check_same_size,
    check_some_known,
    explain,
    joined_classes,
    mask_classes,
)
from medloom.data.kinds import truth_of
from medloom.data.layouts import Item
from medloom.data.orientation import asked_orientation
from medloom.data.page_reader import PageReader
from medloom.data.pseudonyms import Entry
from medloom.data.sample import Flaw, Sample, files_of
from medloom.data.sources import Source
from medloom.errors import InputError
from medloom.imaging import Image
from medloom.imaging.canonical import AS_STORED, Plane, turned
from medloom.recipe import Recipe
from medloom.targets import foreground_of
from medloom.transforms import Preprocess

__all__ = ["SamplePixels", "SampleReader"]


@dataclass(frozen=True)
class SamplePixels:
    """What the store holds of a sample.

    Args:
        image: ``(C, h, w)``.
        mask: ``(h, w)`` class indices, or None.
        offset: ``(C,)``.
        scale: ``(C,)``.
    """

    image: NDArray[Any]
    mask: NDArray[np.uint8] | None
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]


@dataclass(frozen=True)
class _Mask:
    classes: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


class SampleReader:
    """Reads samples one by one; can be sent to other processes.

    Args:
        recipe: Layout rules and checks.
        source: Where the files are.
        preprocess: Resizing and normalisation.
        cut: The plane that volumes are cut into, as ``with_pages`` found.
    """

    def __init__(self, recipe: Recipe, source: Source, preprocess: Preprocess, cut: Plane | None) -> None:
        self.cut = cut
        self.orientation = asked_orientation(recipe.data.plane)
        self._channels = recipe.data.channels
        self._classes = truth_of(recipe).class_map(recipe)
        self._source = source
        self._files = PageReader(source.read, cut, self._classes.values if self._classes else None)
        self._alignment = Alignment(self._files, recipe.data.align)
        self._preprocess = preprocess
        self._at_least = preprocess.at_least if self._classes is None else None
        # Most masks of a set are the same blank file: comparing bytes is far cheaper than hashing and decoding.
        self._blank: tuple[int | None, bytes, str, _Mask] = (None, b"", "", _Mask(np.zeros((0, 0), np.uint8)))

    @property
    def shape(self) -> tuple[int, ...]:
        """C, h, w of what comes out."""
        return len(self._channels), *self._preprocess.size

    @property
    def with_masks(self) -> bool:
        """Whether images have masks."""
        return self._classes is not None

    def expect(self, entries: Iterable[Entry]) -> None:
        """Be told which samples are read next."""
        names = dict.fromkeys(chain.from_iterable(files_of(entry.item) for entry in entries))
        self._source.expect([name for name in names if name and not self._files.holds(name)])

    def __call__(self, entry: Entry) -> tuple[Sample, SamplePixels | None]:
        """Return what was found out about a sample, and its pixels where nothing is wrong."""
        flaws: list[Flaw] = []
        self._files.only(files_of(entry.item))
        hashes, image = self._image(entry.item, flaws)
        mask_sha256, mask = "", None
        if self._classes is not None:
            mask_sha256, mask = self._mask(entry.item, self._classes, image, flaws)
        seen, turn = None, AS_STORED
        try:
            if image is not None:
                seen, turn = turned(image, self.orientation)
                self._preprocess.place(seen.size, seen.spacing_mm)
            if image is not None and mask is not None:
                check_same_size(image.pixels, mask.classes)
        except (InputError, UnfitError) as error:
            kind = error.kind if isinstance(error, UnfitError) else "geometry"
            flaws.append(Flaw(_first_file(entry.item.images), kind, str(error)))
        sample = Sample(hash_of(hashes, entry.item.page), mask_sha256, flaws=tuple(flaws))
        if image is None or seen is None or flaws:
            return sample, None
        classes = None if mask is None else np.ascontiguousarray(turn.apply(mask.classes))
        facts = replace(self._facts(sample, image, mask), spacing_mm=seen.spacing_mm)
        try:
            return facts, self._pixels(seen, classes)
        except UnfitError as error:
            return replace(sample, flaws=(Flaw(len(entry.item.images), error.kind, str(error)),)), None

    def _facts(self, sample: Sample, image: Image, mask: _Mask | None) -> Sample:
        height, width = image.size
        foreground_px = 0 if mask is None else int(np.count_nonzero(foreground_of(mask.classes)))
        mask_notes = () if mask is None else mask.notes
        channels, dtype = image.pixels.shape[2], image.pixels.dtype.name
        facts = {"height": height, "width": width, "channels": channels, "dtype": dtype}
        facts["axes"] = "".join(image.axes or ())
        return replace(sample, **facts, foreground_px=foreground_px, notes=image.notes, mask_notes=mask_notes)

    def _pixels(self, image: Image, mask: NDArray[np.uint8] | None) -> SamplePixels:
        resized = self._preprocess.resize_image(image)
        small = None if mask is None else self._preprocess.resize_mask(mask, image.spacing_mm)
        if small is not None:
            check_some_known(small)
        return SamplePixels(resized, small, *self._preprocess.normalisation(resized))

    def _image(self, item: Item, flaws: list[Flaw]) -> tuple[list[str], Image | None]:
        """Hash of each file, and the pixels of all of them unless something is wrong."""
        names = item.images
        hashes = [""] * len(names)
        decoded: list[Image | None] = [None] * len(names)
        before, first, least = len(flaws), None, reducible(names, self._at_least)
        for part, name in enumerate(names):
            try:
                if name:
                    hashes[part] = self._files.sha256(name)
                    channel = self._channels[part] if len(names) > 1 else ""
                    decoded[part] = read_channel(self._alignment, name, channel, item.page, first, least)
                    first = first or decoded[part]
            except FILE_ERRORS as error:
                flaws.append(Flaw(part, *explain(error, name)))
        if len(flaws) > before:
            return hashes, None
        try:
            return hashes, assemble(decoded, self._channels, self._preprocess)
        except UnfitError as error:
            flaws.append(Flaw(_first_file(names), error.kind, str(error)))
            return hashes, None

    def _mask(self, item: Item, classes: ClassMap, image: Image | None, flaws: list[Flaw]) -> tuple[str, _Mask | None]:
        """Hash and classes of the mask, or of all masks together."""
        hashes, found = [], list[_Mask]()
        for place, name in enumerate(item.masks or ("",)):
            sha256, mask = self._mask_file(name, item, classes, image, flaws, place)
            hashes.append(sha256)
            found += [] if mask is None else [mask]
        if len(found) < len(hashes):
            return hash_of(hashes, None), None
        try:
            together = joined_classes([mask.classes for mask in found], classes)
            check_some_known(together)
        except UnfitError as error:
            flaws.append(Flaw(len(item.images), error.kind, str(error)))
            return hash_of(hashes, None), None
        notes = dict.fromkeys(note for mask in found for note in mask.notes)
        return hash_of(hashes, None), _Mask(together, tuple(notes))

    def _mask_file(
        self, name: str, item: Item, classes: ClassMap, image: Image | None, flaws: list[Flaw], place: int
    ) -> tuple[str, _Mask | None]:
        """Hash and classes of one of the masks."""
        sha256, placed = "", image is not None and image.affine is not None
        try:
            data = self._files.data(name)
            blank_page, blank, blank_sha256, blank_mask = self._blank
            if not placed and item.page == blank_page and data == blank:
                return blank_sha256, blank_mask
            sha256 = self._files.sha256(name)
            decoded = self._files.decode(name, item.page) if image is None else self._on(image, name, item.page)
            mask = _Mask(mask_classes(decoded, classes.of_file(name)), _mask_notes(decoded))
        except FILE_ERRORS as error:
            flaws.append(Flaw(len(item.images) + place, *explain(error, name)))
            return sha256, None
        if not placed and not mask.classes.any():
            self._blank = (item.page, data, sha256, mask)
        return sha256, mask

    def _on(self, image: Image, name: str, page: int | None) -> Image:
        """Read a mask as it lies on the image."""
        return self._alignment.bring(name, page, image, "mask", smooth=False)


def _mask_notes(image: Image) -> tuple[str, ...]:
    """What a careful reader should know of a mask; the colours of its palette are not what is read."""
    return tuple("palette read as values" if note == "palette expanded" else note for note in image.notes)


def _first_file(names: Sequence[str]) -> int:
    return next((part for part, name in enumerate(names) if name), 0)
