"""Fill a pixel store from a source: each file read, hashed, decoded and checked once, in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.alignment import Alignment
from medloom.data.assembly import assemble, read_channel, reducible
from medloom.data.catalogue import digest, hash_of
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
from medloom.data.layouts import Item, Layout, Problem
from medloom.data.orientation import asked_orientation
from medloom.data.page_reader import PageReader
from medloom.data.pseudonyms import Entry
from medloom.data.sources import Source
from medloom.data.store import STORE_FORMAT, PixelStore, StoreWriter
from medloom.data.workers import Job, in_order
from medloom.errors import InputError
from medloom.files import read_json, write_json
from medloom.imaging import Image
from medloom.imaging.canonical import AS_STORED, Plane, turned
from medloom.recipe import Recipe
from medloom.targets import foreground_of
from medloom.transforms import Preprocess

__all__ = ["Flaw", "Sample", "build_store"]

Progress = Callable[[int, int], None]

_Known = tuple[str, "PixelStore", "list[Sample]"]

_GEOMETRY = 3
"""How samples are brought together by their geometry; raised when it changes, so that older stores are not taken."""


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong with one file of a sample.

    Args:
        part: Which file: its place among the images, or for a mask the number of images and its place among masks.
        kind: ``unreadable``, ``channels``, ``grid``, ``geometry``, ``ignored``, ``size`` or ``values``.
        detail: What came and what was expected; names no file, because it is kept in the cache.
    """

    part: int
    kind: str
    detail: str


@dataclass(frozen=True)
class Sample:
    """What was found out about one sample.

    Args:
        sha256: Of the image's bytes; of the files' hashes where each channel has a file; of hash and page where the
            image is a page of a file.
        mask_sha256: Of the mask's bytes, or of the hashes of several masks; empty without a mask.
        height: Of the image as it came.
        width: Of the image as it came.
        channels: Number of channels.
        dtype: NumPy name of the decoded type.
        axes: Directions in which columns and rows are counted, such as ``LP``; empty where the file does not say.
        spacing_mm: Row and column spacing as the network sees the image; None where the file does not say.
        foreground_px: Foreground pixels of the mask as it came.
        notes: What decoding did to the image that a careful reader should know, such as "orientation applied".
        mask_notes: The same of the mask.
        flaws: Why it cannot be used; empty if it can.
    """

    sha256: str = ""
    mask_sha256: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    axes: str = ""
    spacing_mm: tuple[float, float] | None = None
    foreground_px: int = 0
    notes: tuple[str, ...] = ()
    mask_notes: tuple[str, ...] = ()
    flaws: tuple[Flaw, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON types; ``dataclasses.asdict`` takes as long as decoding a mask."""
        return {**vars(self), "flaws": [vars(flaw) for flaw in self.flaws]}

    def problems(self, entry: Entry) -> list[Problem]:
        """Return the flaws with the names of the files that they are in."""
        names = _names(entry.item)
        return [Problem(flaw.kind, names[flaw.part], flaw.detail) for flaw in self.flaws]


@dataclass(frozen=True)
class _Pixels:
    image: NDArray[Any]
    mask: NDArray[np.uint8] | None
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]


@dataclass(frozen=True)
class _Mask:
    classes: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


class _Wider(Exception):
    """An image does not fit the store's dtype."""


def build_store(
    recipe: Recipe,
    source: Source,
    layout: Layout,
    entries: Sequence[Entry],
    cache: Path,
    *,
    preprocess: Preprocess,
    workers: int,
    cut: Plane | None = None,
    progress: Progress | None = None,
) -> tuple[PixelStore, list[Sample], bool]:
    """Decode every sample into a store, or find the store that an earlier call made of the same files.

    Args:
        recipe: Layout rules and preprocessing.
        source: Where the files are.
        layout: What found the entries; its rules are part of the key.
        entries: The samples in order.
        cache: Folder that holds the stores.
        preprocess: Resizing and normalisation.
        workers: Processes that decode; a small set is decoded in this one.
        cut: The plane that volumes are cut into, as ``with_pages`` found.
        progress: Called with samples done and samples in all.

    Returns:
        The store, what was found out about each entry, and whether the store was there already.

    Raises:
        DataError: If a file of the cache is damaged. What is wrong with a sample is in its ``flaws``.
    """
    settings = {**_settings(recipe), "layout": layout.rules()}
    names = [_names(entry.item) for entry in entries]
    same_files = digest(
        [settings, _GEOMETRY, recipe.data.plane, cut, [(entry.sample_id, entry.item.page) for entry in entries], names]
    )
    stamp = {name: source.stamp(name) for name in set(chain.from_iterable(names)) if name}
    stamps = digest([[stamp.get(name, "") for name in files] for files in names])
    memo = cache / "stamps" / f"{same_files[:32]}.json"
    known = _known(memo, cache)
    read = _Reader(recipe, source, preprocess, cut)
    if known and _holds(known, stamps, read, source, entries):
        write_json(memo, {"stamps": stamps, "key": known[1].key})
        return known[1], known[2], True
    builder = _Builder(read, settings, entries, cache, workers, progress)
    store, samples = builder.build()
    write_json(memo, {"stamps": stamps, "key": store.key})
    return store, samples, False


def _holds(known: _Known, stamps: str, read: _Reader, source: Source, entries: Sequence[Entry]) -> bool:
    """Whether a store still holds what the files do."""
    last_stamps, _, samples = known
    if last_stamps != stamps:
        return _unchanged(source, entries, samples)
    # What was wrong is looked at again: a file can be mended under the stamp that it had, such as an archive that
    # was damaged on its way and fetched once more, or a file that nobody was allowed to read.
    return all(read(entry)[0] == sample for entry, sample in zip(entries, samples, strict=True) if sample.flaws)


def _known(memo: Path, cache: Path) -> _Known | None:
    """Stamps, store and findings of the last call with these files and settings."""
    if not memo.is_file():
        return None
    last = read_json(memo)
    if not (cache / last["key"] / "index.json").is_file():
        return None
    store = PixelStore(cache / last["key"])
    return last["stamps"], store, [_from_json(found) for found in store.index["samples"]]


def _from_json(found: dict[str, Any]) -> Sample:
    tuples: dict[str, Any] = {key: tuple(found[key]) for key in ("notes", "mask_notes")}
    tuples["spacing_mm"] = tuple(found.get("spacing_mm") or ()) or None
    return Sample(**{**found, **tuples, "flaws": tuple(Flaw(**flaw) for flaw in found["flaws"])})


def _unchanged(source: Source, entries: Sequence[Entry], samples: Sequence[Sample]) -> bool:
    """Whether files with other times hold the same bytes; stops at the first that does not."""
    reader = PageReader(source.read)
    for entry, sample in zip(entries, samples, strict=True):
        item = entry.item
        reader.only(_names(item))
        hashes = [reader.sha256(name) if name else "" for name in item.images]
        if sample.flaws or hash_of(hashes, item.page) != sample.sha256:
            return False
        if item.masks and hash_of([reader.sha256(name) for name in item.masks], None) != sample.mask_sha256:
            return False
    return True


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Everything but the files that decides what the store holds."""
    rules = {"page": recipe.data.page, "channels": recipe.data.channels, **truth_of(recipe).store_rules(recipe)}
    if recipe.data.align != "refuse":
        rules["align"] = recipe.data.align
    # The store holds the whole image; what is cropped of it is cut out when it is read.
    preprocess = Preprocess.of(recipe.preprocess).plain()
    del preprocess["crop"]
    if preprocess["spacing"] is None:
        del preprocess["spacing"]  # stores of recipes that leave it out are as they always were
    return {"format": STORE_FORMAT, "preprocess": preprocess, "data": rules}


def _geometry(samples: Sequence[Sample], read: _Reader) -> dict[str, Any]:
    """What was done by geometry; nothing for samples without any, whose stores are as they always were."""
    done = {"version": _GEOMETRY, "stored": read.orientation is None, "cut": read.cut}
    return {"geometry": done} if any(sample.axes for sample in samples) else {}


@dataclass(frozen=True)
class _Builder:
    """Fills a store that is not there yet; the arguments are those of ``build_store``."""

    read: _Reader
    settings: dict[str, Any]
    entries: Sequence[Entry]
    cache: Path
    workers: int
    progress: Progress | None

    def build(self) -> tuple[PixelStore, list[Sample]]:
        """Fill a store; once more with a wider dtype in the rare case that the first image's cannot hold another."""
        dtype = self._first_dtype()
        while True:
            try:
                return self._fill(dtype)
            except _Wider as wider:
                dtype = np.promote_types(dtype, str(wider))

    def _fill(self, dtype: np.dtype[Any]) -> tuple[PixelStore, list[Sample]]:
        entries, read = self.entries, self.read
        samples: list[Sample] = []
        with StoreWriter(self.cache, len(entries), read.shape, dtype, masks=read.with_masks) as writer:
            for done, sample in enumerate(in_order(_Work(read, writer), entries, self.workers), start=1):
                samples.append(sample)
                if self.progress:
                    self.progress(done, len(entries))
            found = [sample.as_json() for sample in samples]
            ids = ["" if sample.flaws else entry.sample_id for entry, sample in zip(entries, samples, strict=True)]
            hashes = [(facts["sha256"], facts["mask_sha256"], facts["flaws"]) for facts in found]
            settings = {**self.settings, **_geometry(samples, self.read)}
            key = digest([settings, ids, hashes])[:32]
            return PixelStore(writer.publish(key, ids, {"samples": found})), samples

    def _first_dtype(self) -> np.dtype[Any]:
        """The dtype of the first image that can be used; the others nearly always have the same."""
        pixels = next((pixels for entry in self.entries if (pixels := self.read(entry)[1]) is not None), None)
        return np.dtype(np.uint8) if pixels is None else pixels.image.dtype


@dataclass(frozen=True)
class _Work:
    """Reads samples and writes them into the store; can be sent to other processes."""

    read: _Reader
    writer: StoreWriter

    def __call__(self, job: Job) -> list[Sample]:
        return [self._one(row, entry) for row, entry in job]

    def _one(self, row: int, entry: Entry) -> Sample:
        sample, pixels = self.read(entry)
        if pixels is not None:
            if not np.can_cast(pixels.image.dtype, self.writer.dtype):
                raise _Wider(pixels.image.dtype.name)
            self.writer.put(row, pixels.image, pixels.mask, pixels.offset, pixels.scale)
        return sample


class _Reader:
    """Reads one sample: bytes, hashes, pixels, checks, preprocessing."""

    def __init__(self, recipe: Recipe, source: Source, preprocess: Preprocess, cut: Plane | None) -> None:
        self.cut = cut
        self.orientation = asked_orientation(recipe.data.plane)
        self._channels = recipe.data.channels
        self._classes = truth_of(recipe).class_map(recipe)
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

    def __call__(self, entry: Entry) -> tuple[Sample, _Pixels | None]:
        flaws: list[Flaw] = []
        self._files.only(_names(entry.item))
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

    def _pixels(self, image: Image, mask: NDArray[np.uint8] | None) -> _Pixels:
        resized = self._preprocess.resize_image(image)
        small = None if mask is None else self._preprocess.resize_mask(mask, image.spacing_mm)
        if small is not None:
            check_some_known(small)
        return _Pixels(resized, small, *self._preprocess.normalisation(resized))

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


def _names(item: Item) -> list[str]:
    return [*item.images, *item.masks]
