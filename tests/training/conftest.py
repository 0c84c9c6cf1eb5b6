"""A store of small discs on noise, and a recipe that learns them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medloom.data.store import PixelStore, StoreWriter
from medloom.recipe import Recipe

SIZE = 32
SPLITS = ["train"] * 22 + ["validation"] * 9 + ["test"] * 3


def disc(generator: np.random.Generator) -> np.ndarray:
    row, column = generator.integers(8, 24, 2)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return ((rows - row) ** 2 + (columns - column) ** 2 <= 25).astype(np.uint8)


def write_store(folder: Path, *, classes: int = 2, dtype=np.uint8) -> PixelStore:
    generator = np.random.default_rng(0)
    with StoreWriter(folder, len(SPLITS), (2, SIZE, SIZE), dtype) as writer:
        for row in range(len(SPLITS)):
            mask = disc(generator) * (row % 3 != 0) * (1 + row % (classes - 1))
            image = np.clip(generator.normal(100, 10, (2, SIZE, SIZE)) + 60 * mask, 0, 255).astype(dtype)
            spread = np.full(2, 1 / 20, np.float32)
            writer.put(row, image, mask.astype(np.uint8), np.full(2, 110, np.float32), spread)
        ids = [f"P{row:03d}-001" for row in range(len(SPLITS))]
        return PixelStore.open(writer.publish("key-of-the-pixels", ids, {}))


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> PixelStore:
    return write_store(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def catalogue(store) -> pd.DataFrame:
    ids = store.sample_ids
    return pd.DataFrame({"sample_id": ids, "split": SPLITS, "sha256": [f"hash of {sample}" for sample in ids]})


@pytest.fixture
def make_recipe():
    def make(**train) -> Recipe:
        defaults = {
            "epochs": 3,
            "batch_size": 8,
            "device": "cpu",
            "precision": "32",
            "optimizer": {"lr": 0.02},
            "checkpoint_minutes": None,
        }
        return Recipe.model_validate(
            {
                "name": "discs",
                "data": {"channels": ["a", "b"]},
                "preprocess": {"size": [SIZE, SIZE]},
                "model": {"name": "unet", "args": {"channels": [4, 8], "num_res_units": 1, "dropout": 0.1}},
                "train": {**defaults, **train},
            }
        )

    return make
