"""Decode alone, in images per second and core: 256×256×3 TIFF, raw and LZW.

Run: ``python benchmarks/decode.py``. Every reader decodes the same files in turn, several rounds in one process, in
CPU time, so that other work on the machine counts little; the rate is the median of the rounds.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable

import imagecodecs
import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from machine import describe
from medloom.imaging import decode

ROUNDS, IMAGES = 5, 96
READERS: dict[str, Callable[[bytes], object]] = {
    "medloom": lambda data: decode(data).pixels,
    "imagecodecs": imagecodecs.tiff_decode,
    "tifffile": lambda data: tifffile.imread(io.BytesIO(data)),
    "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data))),
}


def make_files(count: int, compression: str | None) -> list[bytes]:
    """Return TIFF files of smooth noisy images in strips of 11 rows, as the LGG set has them."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        smooth = gaussian_filter(rng.normal(size=(256, 256, 3)), (12, 12, 0)) * 1500
        pixels = np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, compression=compression, rowsperstrip=11, photometric="rgb")
        files.append(stream.getvalue())
    return files


def images_per_second(read: Callable[[bytes], object], files: list[bytes]) -> float:
    """Return the rate of one round."""
    start = time.process_time()
    for data in files:
        read(data)
    return len(files) / (time.process_time() - start)


def measure(files: list[bytes]) -> dict[str, float]:
    """Return the median rate of every reader; rounds alternate, so that all see the same machine."""
    rates: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(ROUNDS + 1):
        for name, read in READERS.items():
            rates[name].append(images_per_second(read, files))
    return {name: statistics.median(found[1:]) for name, found in rates.items()}  # the first round warms up


def main() -> None:
    """Print the table."""
    raw, lzw = measure(make_files(IMAGES, None)), measure(make_files(IMAGES, "lzw"))
    print(describe("numpy", "imagecodecs", "tifffile", "pillow"))
    print(f"decode 256×256×3 uint8 TIFF, images/s per core, median of {ROUNDS} rounds of {IMAGES} images")
    print(f"{'reader':<12}{'raw':>9}{'LZW':>9}")
    for name in READERS:
        print(f"{name:<12}{raw[name]:>9.0f}{lzw[name]:>9.0f}")


if __name__ == "__main__":
    main()
