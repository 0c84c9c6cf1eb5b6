"""DICOM decode in images per second and core, beside pydicom alone on the same bytes.

Run: ``python benchmarks/dicom.py``. The files are made from the CT slice that pydicom ships: as it is (128×128) and
enlarged with noise to 512×512, each uncompressed and compressed by pydicom's encoders. pydicom reads, decodes and
applies the rescale slope and intercept, with the plugin that it chooses; Medloom also checks the file against its
budget and its own header. Both decode in turn, several rounds in one process, in CPU time on one thread; the rate is
the median of the rounds.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_rescale
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid
from scipy.ndimage import zoom

from machine import describe
from medloom.imaging import decode

ROUNDS, SECONDS = 5, 0.4
SYNTAXES = {
    "uncompressed": ExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}


def by_medloom(data: bytes) -> np.ndarray:
    """Decode with Medloom: (H, W)."""
    return decode(data).pixels[..., 0]


def by_pydicom(data: bytes) -> np.ndarray:
    """Decode with pydicom alone: (H, W)."""
    dataset = dcmread(io.BytesIO(data))
    return apply_rescale(dataset.pixel_array, dataset)


READERS: dict[str, Callable[[bytes], np.ndarray]] = {"medloom": by_medloom, "pydicom": by_pydicom}


def make_file(side: int, syntax: str) -> bytes:
    """Return the CT slice of pydicom's test files at a size and in a transfer syntax."""
    dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
    if side != dataset.Rows:
        _enlarge(dataset, side)
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax, generate_instance_uid=False)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _enlarge(dataset: Dataset, side: int) -> None:
    """Enlarge by cubic splines, and add the noise that a slice of this size has."""
    pixels = dataset.pixel_array.astype(np.float64)
    larger = zoom(pixels, side / dataset.Rows) + np.random.default_rng(0).normal(0, 8, (side, side))
    dataset.Rows = dataset.Columns = side
    dataset.PixelData = np.clip(np.rint(larger), -2000, 4000).astype(np.int16).tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(side)])


def images_per_second(read: Callable[[bytes], np.ndarray], data: bytes) -> float:
    """Return the rate of one round."""
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < SECONDS:
        read(data)
        count += 1
    return count / spent


def measure(data: bytes) -> dict[str, list[float]]:
    """Return the rates of every reader; rounds alternate, so that all see the same machine."""
    np.testing.assert_array_equal(by_medloom(data), by_pydicom(data))
    rates: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(ROUNDS + 1):
        for name, read in READERS.items():
            rates[name].append(images_per_second(read, data))
    return {name: found[1:] for name, found in rates.items()}  # the first round warms up


def main() -> None:
    """Print the table."""
    print(describe("numpy", "pydicom", "pylibjpeg-openjpeg", "pyjpegls", "imagecodecs"))
    print(f"decode 16-bit CT, images/s per core, median of {ROUNDS} rounds")
    print(f"{'file':<24}{'bytes':>9}" + "".join(f"{name:>10}" for name in READERS) + f"{'ratio':>8}")
    for side in (128, 512):
        for name, syntax in SYNTAXES.items():
            data = make_file(side, syntax)
            rates = measure(data)
            ratio = statistics.median(ours / theirs for ours, theirs in zip(*rates.values(), strict=True))
            medians = "".join(f"{statistics.median(found):>10.0f}" for found in rates.values())
            print(f"{f'{side}×{side} {name}':<24}{len(data):>9}{medians}{ratio:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
