import numpy as np
import pandas as pd
import pytest

from medloom.data import COLUMNS
from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.inference import Predictor, default_point
from medloom.recipe import MasksRecipe
from medloom.transforms import Preprocess

SIZE = 32


class BrightIsForeground:
    """A runtime whose probability is the first channel's brightness."""

    name = "bright"

    def run(self, batch, table=None):
        return np.clip(batch[:, :1] / 200.0, 0.0, 1.0).astype(np.float32)


def disc(row, column, radius, size=SIZE):
    rows, columns = np.mgrid[:size, :size]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


@pytest.fixture
def recipe():
    return MasksRecipe.model_validate(
        {
            "name": "discs",
            "target": {"kind": "masks", "mask_values": {"background": 0, "lesion": 255}},
            "data": {"layout": "lgg-mri", "channels": ["a", "FLAIR"]},
            "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
            "evaluate": {"bootstrap": 50},
        }
    )


@pytest.fixture
def predictor(recipe):
    return Predictor(
        runtime=BrightIsForeground(),
        preprocess=Preprocess.of(recipe.preprocess),
        target=recipe.predicts(),
        channels=recipe.data.channels,
        point=default_point(recipe.predicts()),
    )


def write_sample(folder, sample, seed):
    """An image with a bright disc where the foreground is, a speck of noise and, for every third, no foreground."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((SIZE, SIZE), bool) if seed % 3 == 0 else disc(16, 14, 3 + seed % 4)
    shown = np.roll(truth, seed % 2, axis=1)
    pixels = rng.integers(0, 60, (SIZE, SIZE, 3)).astype(np.uint8)
    pixels[..., 0] = np.where(shown, 150 + seed % 5, pixels[..., 0])
    pixels[2:4, 2:4, 0] = 190  # four very bright pixels: a false positive that only the size gives away
    np.save(folder / f"{sample}.npy", pixels[..., :2])
    write_bytes(folder / f"{sample}_mask.png", encode_png((truth * 255).astype(np.uint8)))
    return truth


@pytest.fixture
def data(tmp_path):
    """A folder of 24 images of 6 patients and their catalogue."""
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
                "foreground_px": int(truth.sum()),
                "split": "validation" if patient < 3 else "test",
                "fold": -1,
            }
        )
    return folder, pd.DataFrame(rows, columns=list(COLUMNS))
