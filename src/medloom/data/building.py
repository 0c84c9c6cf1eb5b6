"""Fill a pixel store from a source: each file read, hashed, decoded and checked once, in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from medloom.data.catalogue import digest, hash_of
from medloom.data.kinds import truth_of
from medloom.data.layouts import Layout
from medloom.data.page_reader import PageReader
from medloom.data.pseudonyms import Entry
from medloom.data.sample import Sample, files_of, sample_from_json
from medloom.data.sample_reader import SampleReader
from medloom.data.sources import Source
from medloom.data.store import STORE_FORMAT, PixelStore, StoreWriter
from medloom.data.workers import Job, in_order
from medloom.files import read_json, write_json
from medloom.imaging.canonical import Plane
from medloom.recipe import Recipe
from medloom.transforms import Preprocess

__all__ = ["build_store"]

Progress = Callable[[int, int], None]

_Known = tuple[str, "PixelStore", "list[Sample]"]

_GEOMETRY = 3
"""How samples are brought together by their geometry; raised when it changes, so that older stores are not taken."""


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
    names = [files_of(entry.item) for entry in entries]
    same_files = digest(
        [settings, _GEOMETRY, recipe.data.plane, cut, [(entry.sample_id, entry.item.page) for entry in entries], names]
    )
    stamp = {name: source.stamp(name) for name in set(chain.from_iterable(names)) if name}
    stamps = digest([[stamp.get(name, "") for name in files] for files in names])
    memo = cache / "stamps" / f"{same_files[:32]}.json"
    known = _known(memo, cache)
    read = SampleReader(recipe, source, preprocess, cut)
    if known and _holds(known, stamps, read, source, entries):
        write_json(memo, {"stamps": stamps, "key": known[1].key})
        return known[1], known[2], True
    builder = _Builder(read, settings, entries, cache, workers, progress)
    store, samples = builder.build()
    write_json(memo, {"stamps": stamps, "key": store.key})
    return store, samples, False


def _holds(known: _Known, stamps: str, read: SampleReader, source: Source, entries: Sequence[Entry]) -> bool:
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
    return last["stamps"], store, [sample_from_json(found) for found in store.index["samples"]]


def _unchanged(source: Source, entries: Sequence[Entry], samples: Sequence[Sample]) -> bool:
    """Whether files with other times hold the same bytes; stops at the first that does not."""
    reader = PageReader(source.read)
    for entry, sample in zip(entries, samples, strict=True):
        item = entry.item
        reader.only(files_of(item))
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


def _geometry(samples: Sequence[Sample], read: SampleReader) -> dict[str, Any]:
    """What was done by geometry; nothing for samples without any, whose stores are as they always were."""
    done = {"version": _GEOMETRY, "stored": read.orientation is None, "cut": read.cut}
    return {"geometry": done} if any(sample.axes for sample in samples) else {}


@dataclass(frozen=True)
class _Builder:
    """Fills a store that is not there yet; the arguments are those of ``build_store``."""

    read: SampleReader
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

    read: SampleReader
    writer: StoreWriter

    def __call__(self, job: Job) -> list[Sample]:
        self.read.expect(entry for _, entry in job)
        return [self._one(row, entry) for row, entry in job]

    def _one(self, row: int, entry: Entry) -> Sample:
        sample, pixels = self.read(entry)
        if pixels is not None:
            if not np.can_cast(pixels.image.dtype, self.writer.dtype):
                raise _Wider(pixels.image.dtype.name)
            self.writer.put(row, pixels.image, pixels.mask, pixels.offset, pixels.scale)
        return sample
