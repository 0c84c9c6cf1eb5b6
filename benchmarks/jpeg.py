"""JPEG to 224×224 in images per second and core: ``prepare`` beside decoders alone that read, decode and resize.

Run: ``python benchmarks/jpeg.py [FOLDER]``. Without a folder, phantom radiographs of 1500×1200 in class folders are
made, each four times, so that what a store costs once weighs little, as in a set of thousands. Each decoder reads a
file, decodes it and resizes the result with Pillow, and does nothing else; ``prepare`` reads, hashes, checks, decodes,
resizes, takes the statistics and writes the pixel store. All run on one thread and are measured in CPU time, in turn,
so that other work on the machine counts little; rates and shares are medians of the rounds. The last line is what
decoding at a fraction of the size changes.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from machine import describe
from medloom.data.building import build_store
from medloom.data.layouts import build_layout
from medloom.data.opening import open_source
from medloom.data.phantom.chest import chest_image
from medloom.data.pseudonyms import Entry, with_pseudonyms
from medloom.data.sources import Source
from medloom.imaging import decode
from medloom.recipe import Recipe, load_recipe
from medloom.transforms import Preprocess

ROUNDS, IMAGES, COPIES, WIDTH, HEIGHT, SIDE, GOAL = 5, 60, 4, 1500, 1200, 224, 0.9
QUALITY = 80
"""Makes phantoms as large as the published radiographs of this size are: a byte for each 13 pixels."""

Bytes = NDArray[np.uint8]


def resized(image: Image.Image) -> Bytes:
    """Shrink as every decoder here does."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def by_pillow(data: bytes) -> Bytes:
    """The whole image."""
    return resized(Image.open(io.BytesIO(data)).convert("L"))


def by_pillow_draft(data: bytes) -> Bytes:
    """At the fraction that Pillow finds."""
    image = Image.open(io.BytesIO(data))
    image.draft("L", (SIDE, SIDE))
    return resized(image)


def by_simplejpeg(data: bytes) -> Bytes:
    """The whole image."""
    return resized(Image.fromarray(simplejpeg.decode_jpeg(data, "GRAY", strict=True)[..., 0]))


def by_simplejpeg_scaled(data: bytes) -> Bytes:
    """At the smallest size that libjpeg-turbo makes and that is large enough."""
    small = simplejpeg.decode_jpeg(data, "GRAY", min_height=SIDE, min_width=SIDE, strict=True)
    return resized(Image.fromarray(small[..., 0]))


READERS: dict[str, Callable[[bytes], Bytes]] = {
    "Pillow": by_pillow,
    "Pillow, draft mode": by_pillow_draft,
    "simplejpeg": by_simplejpeg,
    "simplejpeg, scaled": by_simplejpeg_scaled,
}


def read_all(read: Callable[[bytes], Bytes], source: Source, entries: list[Entry]) -> None:
    """Read, decode and resize every file."""
    for entry in entries:
        read(source.read(entry.item.images[0]))


def prepare_all(recipe: Recipe, source: Source, entries: list[Entry], scratch: Path) -> None:
    """Build a pixel store from nothing, in a new folder of ``scratch``."""
    layout, preprocess = build_layout(recipe), Preprocess.of(recipe.preprocess)
    cache = Path(tempfile.mkdtemp(dir=scratch))
    build_store(recipe, source, layout, entries, cache, preprocess=preprocess, workers=1)


def rate(work: Callable[[], None], count: int) -> float:
    """Return images per second of one call."""
    start = time.process_time()
    work()
    return count / (time.process_time() - start)


def compare(folder: Path) -> None:
    """Print the table."""
    recipe = grey_recipe()
    with open_source(folder) as source, tempfile.TemporaryDirectory() as scratch:
        layout = build_layout(recipe)
        entries = with_pseudonyms(layout.find(source.names(), source.read).items)
        works = {name: partial(read_all, read, source, entries) for name, read in READERS.items()}
        works["prepare"] = partial(prepare_all, recipe, source, entries, Path(scratch))
        found: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS + 1):
            for name, work in works.items():
                found[name].append(rate(work, len(entries)))
        changes = [change(source.read(entry.item.images[0]), recipe) for entry in entries]
    rounds = {name: values[1:] for name, values in found.items()}  # the first round warms up
    rates = {name: statistics.median(values) for name, values in rounds.items()}
    fastest = rounds[max(READERS, key=lambda name: rates[name])]
    print(f"JPEG to {SIDE}×{SIDE}, {len(entries)} images, images/s per core, median of {ROUNDS} rounds")
    for name, values in rounds.items():
        share = statistics.median(ours / best for ours, best in zip(values, fastest, strict=True))
        goal = f" (goal {GOAL:.2f})" if name == "prepare" else ""
        print(f"  {name:<22}{rates[name]:>8.0f}   {share:5.2f} of the fastest decoder{goal}")
    mean, most = np.mean([one[0] for one in changes]), max(one[1] for one in changes)
    print(f"  decoded at a fraction: mean difference {mean:.2f} of 255 (goal 0.70), largest of any pixel {most}")


def change(data: bytes, recipe: Recipe) -> tuple[float, int]:
    """Return the mean and the largest difference, in grey levels, of what the store gets and the whole image shrunk."""
    preprocess = Preprocess.of(recipe.preprocess)
    images = (decode(data), decode(data, at_least=preprocess.at_least))
    whole, reduced = (
        preprocess.resize_image(preprocess.to_input(image, recipe.data.channels)).astype(int) for image in images
    )
    difference = np.abs(whole - reduced)
    return float(difference.mean()), int(difference.max())


def grey_recipe() -> Recipe:
    """The chest X-ray recipe with one grey channel of 224×224."""
    size = f"preprocess.size=[{SIDE}, {SIDE}]"
    return load_recipe("chest-xray", ["data.channels=[grey]", size, "preprocess.crop=null", "preprocess.colour=grey"])


def make_radiographs(folder: Path) -> None:
    """Write phantom radiographs of one size, half of each class."""
    for number in range(IMAGES):
        drawn = Image.fromarray(chest_image(np.random.default_rng(number), HEIGHT, ill=number % 2 == 1))
        stream = io.BytesIO()
        drawn.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=QUALITY)
        for copy in range(1, COPIES + 1):
            ill = f"PNEUMONIA/person{number + 1}_virus_{copy}.jpeg"
            path = (
                folder / "chest_xray" / "train" / (ill if number % 2 else f"NORMAL/IM-{number + 1:04d}-{copy:04d}.jpeg")
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stream.getvalue())


def main() -> None:
    """Print the table."""
    print(describe("numpy", "pillow", "simplejpeg"), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        if len(sys.argv) == 1:
            make_radiographs(folder)
        compare(folder)


if __name__ == "__main__":
    main()
