import numpy as np
import pandas as pd
import pytest

from medloom.data import COLUMNS
from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.inference import OperatingPoint, Predictor
from medloom.recipe import Recipe
from medloom.transforms import Preprocess

SIZE = 32


class BrightIsLesion:
    """A runtime whose probability is the first channel's brightness."""

    name = "bright"

    def run(self, batch):
        return np.clip(batch[:, :1] / 200.0, 0.0, 1.0).astype(np.float32)


def disc(row, column, radius, size=SIZE):
    rows, columns = np.mgrid[:size, :size]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


@pytest.fixture
def recipe():
    return Recipe.model_validate(
        {
            "name": "discs",
            "data": {"layout": "lgg-mri", "channels": ["a", "FLAIR"], "mask_values": {"background": 0, "lesion": 255}},
            "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
            "evaluate": {"bootstrap": 50},
        }
    )


@pytest.fixture
def predictor(recipe):
    return Predictor(
        runtime=BrightIsLesion(),
        preprocess=Preprocess(recipe.preprocess),
        classes=recipe.data.classes,
        channels=recipe.data.channels,
        operating_point=OperatingPoint(),
    )


def write_sample(folder, sample, seed):
    """A slice with a bright disc where the lesion is, a speck of noise and, for every third, no lesion."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((SIZE, SIZE), bool) if seed % 3 == 0 else disc(16, 14, 3 + seed % 4)
    shown = np.roll(truth, seed % 2, axis=1)
    pixels = rng.integers(0, 60, (SIZE, SIZE, 3)).astype(np.uint8)
    pixels[..., 0] = np.where(shown, 150 + seed % 5, pixels[..., 0])
    pixels[2:4, 2:4, 0] = 190  # four very bright pixels: a false alarm that only the size gives away
    np.save(folder / f"{sample}.npy", pixels[..., :2])
    write_bytes(folder / f"{sample}_mask.png", encode_png((truth * 255).astype(np.uint8)))
    return truth


@pytest.fixture
def data(tmp_path):
    """A folder of 24 slices of 6 patients and their catalogue."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for index in range(24):
        patient = index // 4
        truth = write_sample(folder, f"s{index}", index)
        rows.append(
            {
                "sample_id": f"P{patient:03d}-{index % 4:03d}",
                "patient_id": f"P{patient:03d}",
                "image": f"s{index}.npy",
                "frame": 0,
                "mask": f"s{index}_mask.png",
                "height": SIZE,
                "width": SIZE,
                "channels": 2,
                "dtype": "uint8",
                "sha256": "",
                "lesion_px": int(truth.sum()),
                "split": "validation" if patient < 3 else "test",
                "fold": -1,
            }
        )
    return folder, pd.DataFrame(rows, columns=list(COLUMNS))
