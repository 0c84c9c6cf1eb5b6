"""Seconds of ``medloom init`` on a folder of 100,000 files, of which it looks into few.

Run: ``python benchmarks/survey.py``. A few phantom images and masks under the names of 500 patients, as masks beside
images, as folders of classes, and as rows of a table: with a name for each image, and called alike in every folder as
CheXpert's are. Processor time, which other work on the machine does not change much. The goal is 5 s; listing the names
alone is measured beside it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import describe
from medloom.data.opening import open_source
from medloom.data.phantom import PhantomPlan, make_phantom
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


def with_table(phantom: list[Path], destination: Path) -> Path:
    """A table of words divided by bars, as NIH ChestX-ray14 has it."""
    images = [path for path in phantom if not path.stem.endswith("_mask")]
    (destination / "images").mkdir(parents=True)
    words = ("No Finding", "Effusion", "Mass|Effusion", "Mass", "Nodule", "Cardiomegaly|Effusion")
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"]
    for number in range(FILES):
        name = f"{number // 10:08d}_{number % 10:03d}.tif"
        (destination / "images" / name).hardlink_to(images[number % len(images)])
        lines.append(
            f"{name},{words[number % 6]},{number % 10},{number // 10},{20 + number % 60},{'MF'[number % 2]},PA"
        )
    (destination / "Data_Entry.csv").write_text("\n".join(lines))
    return destination


def with_namesakes(phantom: list[Path], destination: Path) -> Path:
    """A table of six findings of 0 and 1, whose images are called alike in the folders of their studies."""
    images = [path for path in phantom if not path.stem.endswith("_mask")]
    lines = ["Path,Sex,Age,Edema,Mass,Nodule,Fracture,Pneumonia,Effusion"]
    for number in range(FILES):
        folder = f"train/patient{number // 4:05d}/study{1 + number // 2 % 2}"
        name = f"{folder}/view{1 + number % 2}_frontal.tif"
        (destination / folder).mkdir(parents=True, exist_ok=True)
        (destination / name).hardlink_to(images[number % len(images)])
        flags = ",".join(str((number * 7 + place) % 5 // 4) for place in range(6))
        lines.append(f"{name},{'MF'[number // 4 % 2]},{number // 4 % 90},{flags}")
    (destination / "train.csv").write_text("\n".join(lines))
    return destination


def seconds(work: Callable[[Path], object], folder: Path) -> float:
    """Return the processor time of a few calls in the median."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work(folder)
        found.append(time.process_time() - began)
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
        print(f"{'layout':<24}{'files':>9}{'listing, s':>12}{'survey, s':>11}   goal 5 s")
        for title, make in (
            ("masks beside images", with_masks),
            ("a folder for each class", with_classes),
            ("a table", with_table),
            ("a table of namesakes", with_namesakes),
        ):
            folder = make(phantom, root / title)
            print(
                f"{title:<24}{names_of(folder):>9,}{seconds(names_of, folder):>12.2f}{seconds(survey, folder):>11.2f}"
            )


if __name__ == "__main__":
    main()
