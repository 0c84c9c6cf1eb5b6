"""Seconds of ``medloom init`` on a folder of 100,000 files, of which it looks into few.

Run: ``python benchmarks/survey.py``. A few phantom images and masks under the names of 500 patients, as masks beside
images and as folders of classes. The goal is 10 s; listing the names alone is measured beside it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import describe
from medloom.data.phantom import PhantomPlan, make_phantom
from medloom.data.sources import open_source
from medloom.data.survey import survey

FILES, PATIENTS, ROUNDS = 100_000, 500, 3
CLASSES = ("normal", "glioma", "meningioma", "pituitary", "metastasis")


def with_masks(phantom: list[Path], destination: Path) -> Path:
    """Slices with their masks beside them, 100 of each for a patient."""
    pairs = [(path, path.with_name(f"{path.stem}_mask.tif")) for path in phantom if not path.stem.endswith("_mask")]
    each = FILES // PATIENTS // 2
    for patient in range(PATIENTS):
        folder = destination / f"case_{patient:04d}"
        folder.mkdir(parents=True)
        for number in range(each):
            image, mask = pairs[(patient * each + number) % len(pairs)]
            (folder / f"case_{patient:04d}_{number:03d}.tif").hardlink_to(image)
            (folder / f"case_{patient:04d}_{number:03d}_mask.tif").hardlink_to(mask)
    return destination


def with_classes(phantom: list[Path], destination: Path) -> Path:
    """A folder for each of five classes."""
    images = [path for path in phantom if not path.stem.endswith("_mask")]
    for number in range(FILES):
        folder = destination / CLASSES[number % len(CLASSES)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"case{number % PATIENTS:04d}_{number:06d}.tif").hardlink_to(images[number % len(images)])
    return destination


def seconds(work: Callable[[Path], object], folder: Path) -> float:
    """Return the median of a few calls."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work(folder)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def names_of(folder: Path) -> int:
    """List the names."""
    with open_source(folder) as source:
        return len(source.names())


def main() -> None:
    """Print a line for each layout."""
    print(describe("numpy", "pandas"))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        make_phantom(PhantomPlan(patients=2, size=128), root / "phantom")
        phantom = sorted((root / "phantom").rglob("*.tif"))
        print(f"{'layout':<24}{'files':>9}{'listing, s':>12}{'survey, s':>11}   goal 10 s")
        for title, make in (("masks beside images", with_masks), ("a folder for each class", with_classes)):
            folder = make(phantom, root / title)
            print(
                f"{title:<24}{names_of(folder):>9,}{seconds(names_of, folder):>12.2f}{seconds(survey, folder):>11.2f}"
            )


if __name__ == "__main__":
    main()
