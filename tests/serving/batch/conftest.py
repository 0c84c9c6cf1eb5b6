"""Pictures to predict in bulk, and a runtime to which its batch matters."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medloom.imaging import encode_png
from medloom.inference import Predictor, default_point
from medloom.targets import Target
from medloom.transforms import Normalise, Preprocess


class Neighbourly:
    """Answers the mean of an image plus a little of the sum of its whole batch; keeps the sizes of its batches."""

    name = "neighbourly"

    def __init__(self):
        self.sizes = []

    def run(self, batch_nchw, table_nf=None):
        self.sizes.append(len(batch_nchw))
        mean = batch_nchw.mean(axis=(1, 2, 3)) / 300.0
        return (mean + 1e-4 * mean.sum() + 1e-3 * len(mean))[:, None].astype(np.float32)


@pytest.fixture
def neighbourly() -> Callable[..., Predictor]:
    """Make a predictor of two labels whose answers depend on which images go through the network together."""

    def make() -> Predictor:
        target = Target("binary", ("benign", "malignant"))
        preprocess = Preprocess(size=(8, 8), normalise=Normalise(method="none"))
        return Predictor(Neighbourly(), preprocess, target, ("grey",), point=default_point(target))

    return make


@pytest.fixture(scope="session")
def write_pictures() -> Callable[..., Path]:
    """Write so many small pictures that differ, in folders of ten."""

    def write(folder: Path, count: int, channels: int = 1, side: int = 8) -> Path:
        for number in range(count):
            pixels = np.full((side, side, channels), 7 * number % 251, np.uint8)
            pixels[: 1 + number % side] += 3
            path = folder / f"p{number // 10:03d}" / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(pixels.squeeze()))
        return folder

    return write


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Path], list[dict[str, str]]]:
    """Read the table of an output folder."""

    def read(folder: Path) -> list[dict[str, str]]:
        with (folder / "predictions.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(scope="session")
def written() -> Callable[[Path], dict[str, bytes]]:
    """Everything that a batch is for: its files but for the journal and the manifest, which say when."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        own = {"journal.jsonl", "batch.json"}
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.name not in own}

    return read
