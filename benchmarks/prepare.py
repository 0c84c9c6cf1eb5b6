"""``prepare`` in images per second and core, against the fastest decoder alone.

Run: ``python benchmarks/prepare.py [FOLDER]``. Without a folder, phantom patients in the layout of the LGG set
are made. A sample is an image with its mask. The decoder reads and decodes both files with imagecodecs and does
nothing else; ``prepare`` reads, hashes, decodes, checks, resizes, takes the statistics and writes the pixel store.
Both run on one thread and are measured in CPU time, in turn, so that other work on the machine counts little;
rates are medians of the rounds. The second line of each table is the limit of a program that reads, hashes and
decodes each file, the third of one that also keeps the pixels: it writes them, as they come, to one file and syncs it.
What a second worker process gains is measured in wall time on 2,000 samples or more, the same files under several
names, for a small set is decoded in one process; the goal is 1.8 times.
Removing what was made is not counted.
What the data report takes to measure every image is printed for 10,000 images of three channels of 256×256, in CPU
time, beside NumPy's minimum, maximum, mean and deviation of each image.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from machine import describe
from medloom.data.building import build_store
from medloom.data.describe.intensities import channel_facts
from medloom.data.describe.statistics import measure
from medloom.data.layouts import build_layout
from medloom.data.opening import open_source
from medloom.data.phantom import PhantomPlan, make_phantom
from medloom.data.pseudonyms import Entry, with_pseudonyms
from medloom.data.sources import Source
from medloom.files import sha256_bytes
from medloom.recipe import load_recipe
from medloom.transforms import Preprocess

ROUNDS, PATIENTS = 3, 8
MANY = 2000
"""Samples of a set that is worth several processes."""
MEASURED = 200
"""Images that are measured; the time grows with their number."""


def decode_all(
    source: Source, entries: list[Entry], scratch: Path, *, hashes: bool = False, keep: bool = False
) -> None:
    """Read and decode every file; hash it and keep its pixels if asked."""
    with (scratch / "pixels").open("wb", buffering=0) as kept:
        for entry in entries:
            for name in (*entry.item.images, entry.item.mask):
                data = source.read(name)
                if hashes:
                    sha256_bytes(data)
                pixels = imagecodecs.tiff_decode(data)
                if keep:
                    kept.write(pixels.data)
        os.fsync(kept.fileno())


def prepare_all(source: Source, scratch: Path, workers: int = 1) -> None:
    """Build a pixel store from nothing."""
    recipe = load_recipe("brain-mri")
    layout = build_layout(recipe)
    entries = with_pseudonyms(layout.find(source.names(), source.read).items)
    preprocess = Preprocess.of(recipe.preprocess)
    build_store(recipe, source, layout, entries, scratch, preprocess=preprocess, workers=workers)


def rate(work: Callable[[Path], None], count: int, clock: Callable[[], float]) -> float:
    """Return samples per second of one call in an empty folder."""
    with tempfile.TemporaryDirectory() as scratch:
        start = clock()
        work(Path(scratch))
        return count / (clock() - start)


def compare(folder: Path, title: str) -> None:
    """Print one table."""
    with open_source(folder) as source:
        layout = build_layout(load_recipe("brain-mri"))
        entries = with_pseudonyms(layout.find(source.names(), source.read).items)
        works: dict[str, Callable[[Path], None]] = {
            "imagecodecs: read and decode": partial(decode_all, source, entries),
            "the same and SHA-256": partial(decode_all, source, entries, hashes=True),
            "the same, kept in a file": partial(decode_all, source, entries, hashes=True, keep=True),
            "prepare": partial(prepare_all, source),
        }
        found: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS + 1):
            for name, work in works.items():
                found[name].append(rate(work, len(entries), time.process_time))
        rates = {name: statistics.median(values[1:]) for name, values in found.items()}  # the first warms up
    limit = rates["imagecodecs: read and decode"]
    print(f"\n{title}: {len(entries)} samples, samples/s per core")
    for name, value in rates.items():
        print(f"  {name:<32}{value:>8.0f}   {value / limit:5.2f} of the decoder (goal 0.80)")


def compare_workers(folder: Path, title: str) -> None:
    """Print what two worker processes gain; they take turns with one."""
    with (
        tempfile.TemporaryDirectory(dir=folder.parent) as scratch,
        open_source(repeated(folder, Path(scratch))) as source,
    ):
        count = sum(name.endswith("_mask.tif") for name in source.names())
        one, two = (
            [rate(partial(prepare_all, source, workers=workers), count, time.perf_counter) for _ in range(ROUNDS)]
            for workers in (1, 2)
        )
    ratio = statistics.median(two) / statistics.median(one)
    print(
        f"  prepare, wall clock, {count} samples: 1 worker {statistics.median(one):.0f}/s, 2 workers "
        f"{statistics.median(two):.0f}/s, ratio {ratio:.2f} (goal 1.80)"
    )


def measure_images() -> None:
    """Print what it takes to measure every image of a store, by the type of its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (MEASURED, 3, 256, 256), np.uint8)
    print(f"\nMeasuring 10,000 images of 3×256×256, from {MEASURED}, CPU time")
    for kind in (np.uint8, np.uint16, np.float32):
        images = pixels.astype(kind)
        taken: dict[str, list[float]] = {"ours": [], "NumPy": []}
        for _ in range(ROUNDS):
            for name, work in (("ours", _measured), ("NumPy", _by_numpy)):
                start = time.process_time()
                work(images)
                taken[name].append(time.process_time() - start)
        ours, plain = (statistics.median(values) * 10_000 / MEASURED for values in taken.values())
        print(f"  {images.dtype.name:<10}{ours:>6.1f} s, NumPy {plain:.1f} s, ratio {ours / plain:.2f}")


def _measured(images: np.ndarray) -> None:
    """As the data report does, with the histogram of each channel."""
    rows = np.arange(len(images))
    channel_facts(images, rows, ("a", "b", "c"), measure(images, rows))


def _by_numpy(images: np.ndarray) -> None:
    for image in images:
        planes = image.reshape(3, -1)
        planes.min(axis=1), planes.max(axis=1), planes.mean(axis=1), planes.std(axis=1)


def repeated(folder: Path, destination: Path) -> Path:
    """The same files under the names of further patients, until there are many samples."""
    names = [path.relative_to(folder) for path in folder.rglob("*.tif")]
    copies = -(-MANY // sum(name.name.endswith("_mask.tif") for name in names))
    for copy in range(copies):
        for name in names:
            target = (
                destination
                / f"{name.parent}_{copy}"
                / name.name.replace(name.parent.name, f"{name.parent.name}_{copy}")
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(folder / name)
    return destination


def compressed(folder: Path, destination: Path) -> Path:
    """Copy a set with LZW in every TIFF."""
    for path in folder.rglob("*.tif"):
        target = destination / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = tifffile.imread(path)
        tifffile.imwrite(target, pixels, compression="lzw", photometric="rgb" if pixels.ndim == 3 else "minisblack")
    return destination


def main() -> None:
    """Print both tables."""
    print(describe("numpy", "imagecodecs", "pillow"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch) / "raw"
        if len(sys.argv) == 1:
            make_phantom(PhantomPlan(patients=PATIENTS), folder)
        compare(folder, "raw TIFF")
        compare_workers(folder, "raw TIFF")
        packed = compressed(folder, Path(scratch) / "lzw")
        compare(packed, "LZW TIFF")
        compare_workers(packed, "LZW TIFF")
    measure_images()


if __name__ == "__main__":
    main()
