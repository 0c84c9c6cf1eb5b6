"""Small sets of files in the layout of the LGG set."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from medloom.recipe import MasksRecipe, Recipe

SIZE = 32


def slice_pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (SIZE, SIZE, 3), dtype=np.uint8)


def mask_pixels(seed: int) -> np.ndarray:
    """Blank for two of three seeds, as in the real set."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if seed % 3 == 0:
        mask[4 : 8 + seed % 8, 6:12] = 255
    return mask


def write_set(root: Path, patients: int = 4, slices: int = 5) -> Path:
    for patient in range(patients):
        name = f"TCGA_AA_{patient:04d}"
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(1, slices + 1):
            seed = 100 * patient + number
            tifffile.imwrite(folder / f"{name}_{number}.tif", slice_pixels(seed), photometric="rgb")
            tifffile.imwrite(folder / f"{name}_{number}_mask.tif", mask_pixels(seed))
    return root


def build_recipe(*, mask_values=None, **data) -> Recipe:
    return MasksRecipe.model_validate(
        {
            "name": "test",
            "target": {} if mask_values is None else {"mask_values": mask_values},
            "data": {"layout": "lgg-mri", "channels": ["pre", "FLAIR", "post"], **data},
            "preprocess": {"size": [SIZE, SIZE]},
        }
    )


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Four patients with five slices each."""
    return write_set(tmp_path / "kaggle_3m")


@pytest.fixture
def make_recipe():
    """A recipe for such a set; arguments are keys of ``data``, and the values of its masks."""
    return build_recipe
