"""Fill a pixel store from a source: each file read, hashed, decoded and checked once, in parallel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.checks import ClassMap, check_same_size, read_image, read_mask
from medloom.data.layouts import Layout
from medloom.data.pseudonyms import Entry
from medloom.data.sources import Source
from medloom.data.store import STORE_FORMAT, PixelStore, StoreWriter
from medloom.errors import DataError
from medloom.files import read_json, sha256_bytes, write_json
from medloom.recipe import Recipe
from medloom.transforms import Preprocess

__all__ = ["Sample", "build_store"]

Progress = Callable[[int, int], None]

_AHEAD = 4
"""Samples in flight for each worker: enough to keep it busy, few enough to bound the memory."""


@dataclass(frozen=True)
class Sample:
    """What was found out about one sample.

    Args:
        sha256: Of the image's bytes; of the files' hashes where each channel has a file.
        mask_sha256: Of the mask's bytes.
        height: Of the image as it came.
        width: Of the image as it came.
        channels: Number of channels.
        dtype: NumPy name of the decoded type.
        lesion_px: Foreground pixels of the mask as it came.
        problem: Why it cannot be used, naming the file; empty if it can.
    """

    sha256: str = ""
    mask_sha256: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    lesion_px: int = 0
    problem: str = ""


@dataclass(frozen=True)
class _Decoded:
    sample: Sample
    image: NDArray[Any]
    mask: NDArray[np.uint8]
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]


def build_store(
    recipe: Recipe,
    source: Source,
    layout: Layout,
    entries: Sequence[Entry],
    cache: Path,
    *,
    preprocess: Preprocess,
    workers: int,
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
        workers: Threads that decode; decoding and hashing run outside Python's lock.
        progress: Called with samples done and samples in all.

    Returns:
        The store, what was found out about each entry, and whether the store was there already.

    Raises:
        DataError: If not one sample can be used.
    """
    settings = {**_settings(recipe), "layout": layout.rules()}
    stamp = _stamp(settings, source, entries)
    known = cache / "stamps" / f"{stamp}.json"
    if known.is_file() and (cache / (key := read_json(known)["key"]) / "index.json").is_file():
        store = PixelStore(cache / key)
        return store, [Sample(**found) for found in store.index["samples"]], True
    reader = _Reader(recipe, source, preprocess)
    store, samples = _build(reader, settings, entries, cache, workers, progress)
    write_json(known, {"key": store.key})
    return store, samples, False


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Everything but the files that decides what the store holds."""
    data = recipe.data
    rules = {"page": data.page, "channels": data.channels, "masks": data.mask_values}
    return {"format": STORE_FORMAT, "preprocess": recipe.preprocess.model_dump(mode="json"), "data": rules}


def _stamp(settings: dict[str, Any], source: Source, entries: Sequence[Entry]) -> str:
    files = [(*entry.item.images, entry.item.mask) for entry in entries]
    stamps = [[(name, source.stamp(name)) for name in names if name] for names in files]
    return _digest([settings, [entry.sample_id for entry in entries], stamps])


def _digest(value: object) -> str:
    return sha256_bytes(json.dumps(value, sort_keys=True).encode())


def _build(
    read: _Reader,
    settings: dict[str, Any],
    entries: Sequence[Entry],
    cache: Path,
    workers: int,
    progress: Progress | None,
) -> tuple[PixelStore, list[Sample]]:
    probe = _first_good(read, entries)
    samples: list[Sample] = []
    with StoreWriter(cache, len(entries), probe.image.shape, probe.image.dtype) as writer:

        def work(row: int) -> Sample:
            return _store_row(read, writer, row, entries[row])

        for done, sample in enumerate(_in_order(work, len(entries), workers), start=1):
            samples.append(sample)
            if progress:
                progress(done, len(entries))
        ids = ["" if sample.problem else entry.sample_id for entry, sample in zip(entries, samples, strict=True)]
        key = _digest([settings, ids, [(sample.sha256, sample.mask_sha256) for sample in samples]])[:32]
        path = writer.publish(key, ids, {"samples": [asdict(sample) for sample in samples]})
    return PixelStore(path), samples


def _in_order(work: Callable[[int], Sample], count: int, workers: int) -> Iterator[Sample]:
    """Results in order, with a bounded number in flight."""
    if workers == 1:
        yield from map(work, range(count))
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="prepare") as pool:
        rows = iter(range(count))
        waiting = [pool.submit(work, row) for row in islice(rows, workers * _AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(work, row) for row in islice(rows, 1))


def _store_row(read: _Reader, writer: StoreWriter, row: int, entry: Entry) -> Sample:
    try:
        decoded = read(entry)
    except DataError as error:
        return Sample(problem=str(error))
    if decoded.image.dtype != writer.images.dtype:
        return Sample(problem=f"{entry.file}: image is {decoded.image.dtype}, the first was {writer.images.dtype}")
    writer.put(row, decoded.image, decoded.mask, decoded.offset, decoded.scale)
    return decoded.sample


def _first_good(read: _Reader, entries: Sequence[Entry]) -> _Decoded:
    """The first sample that can be used decides the store's dtype."""
    problems: list[str] = []
    for entry in entries:
        try:
            return read(entry)
        except DataError as error:
            problems.append(str(error))
    raise DataError(f"none of {len(entries)} samples can be used", problems[:50])


class _Reader:
    """Reads one sample: bytes, hashes, pixels, checks, preprocessing."""

    def __init__(self, recipe: Recipe, source: Source, preprocess: Preprocess) -> None:
        self._config = recipe.data
        self._read = source.read
        self._preprocess = preprocess
        self._classes = ClassMap(recipe.data.mask_values)

    def __call__(self, entry: Entry) -> _Decoded:
        hashes: dict[str, str] = {}

        def read(name: str) -> bytes:
            data = self._read(name)
            hashes[name] = sha256_bytes(data)
            return data

        image = read_image(read, entry.item.images, self._config).pixels
        mask = read_mask(read, entry.item.mask, self._classes, self._config.page)
        check_same_size(image, mask, entry.file)
        resized = self._preprocess.resize_image(image)
        offset, scale = self._preprocess.normalisation(resized)
        sample = Sample(
            sha256=_one_hash([hashes.get(name, "") for name in entry.item.images]),
            mask_sha256=hashes[entry.item.mask],
            height=image.shape[0],
            width=image.shape[1],
            channels=image.shape[2],
            dtype=image.dtype.name,
            lesion_px=int(np.count_nonzero(mask)),
        )
        return _Decoded(sample, resized, self._preprocess.resize_mask(mask), offset, scale)


def _one_hash(hashes: Sequence[str]) -> str:
    """The image's own hash, or a hash of the hashes where each channel has a file."""
    return hashes[0] if len(hashes) == 1 else _digest(list(hashes))
