"""Stores of small discs on noise, with masks and with labels, and recipes that learn them in seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medloom.data.metadata import TableEncoding
from medloom.data.store import PixelStore, StoreWriter
from medloom.recipe import MasksRecipe, Recipe
from medloom.recipe.kinds import KINDS as RECIPES

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
        return MasksRecipe.model_validate(
            {
                "name": "discs",
                "data": {"channels": ["a", "b"]},
                "preprocess": {"size": [SIZE, SIZE]},
                "model": {"name": "unet", "args": {"channels": [4, 8], "num_res_units": 1, "dropout": 0.1}},
                "train": {**defaults, **train},
            }
        )

    return make


LABEL_SPLITS = (["train"] * 5 + ["validation"] * 3 + ["test"]) * 7


@dataclass(frozen=True)
class LabelSet:
    """Pictures with a bright disc on the left or on the right, both or none, and a column that tells half of it."""

    store: PixelStore
    left: np.ndarray
    right: np.ndarray
    meta: list[dict[str, str]]

    def truth(self, kind: str) -> np.ndarray:
        """``(N, T)`` labels of a kind."""
        columns = {
            "binary": [self.left],
            "multi-class": [self.left + self.right],
            "multi-label": [self.left, self.right],
            "regression": [self.left - 0.5 * self.right],
        }
        return np.stack(columns[kind], axis=1)

    def catalogue(self, kind: str = "binary", labels: np.ndarray | None = None) -> pd.DataFrame:
        """The catalogue with labels of a kind, or those given."""
        ids, labels = self.store.sample_ids, self.truth(kind) if labels is None else labels
        return pd.DataFrame(
            {
                "sample_id": ids,
                "split": LABEL_SPLITS,
                "sha256": [f"hash of {sample}" for sample in ids],
                "labels": [json.dumps(row.tolist()) for row in labels],
                "meta": [json.dumps(row) for row in self.meta],
            }
        )

    @property
    def tables(self) -> TableEncoding:
        """How the columns become numbers."""
        rows = [row for row, split in zip(self.meta, LABEL_SPLITS, strict=True) if split == "train"]
        return TableEncoding.fit(rows, numeric=("near", "far"))

    @property
    def metadata(self) -> np.ndarray:
        """``(N, F)`` what the network sees of the columns."""
        return self.tables.encode(self.meta)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory) -> LabelSet:
    generator = np.random.default_rng(1)
    left, right = (np.arange(len(LABEL_SPLITS)) // by % 2 for by in (1, 2))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    discs = [(rows - 16) ** 2 + (columns - centre) ** 2 <= 30 for centre in (9, 23)]
    with StoreWriter(tmp_path_factory.mktemp("labelled"), len(left), (2, SIZE, SIZE), np.uint8, masks=False) as writer:
        for row, parts in enumerate(zip(left, right, strict=True)):
            shown = sum(60 * part * disc for part, disc in zip(parts, discs, strict=True))
            image = np.clip(generator.normal(100, 25, (2, SIZE, SIZE)) + shown, 0, 255).astype(np.uint8)
            writer.put(row, image, None, np.full(2, 110, np.float32), np.full(2, 1 / 30, np.float32))
        ids = [f"P{row:03d}-001" for row in range(len(left))]
        store = PixelStore.open(writer.publish("key-of-the-pictures", ids, {}))
    columns = np.stack([left + generator.normal(0, 0.8, len(left)), generator.normal(0, 1, len(left))], axis=1)
    meta = [{"near": f"{near:.6f}", "far": f"{far:.6f}"} for near, far in columns]
    return LabelSet(store, left, right, meta)


TARGETS = {
    "binary": {"classes": ["0", "1"]},
    "multi-class": {"classes": ["0", "1", "2"]},
    "multi-label": {"columns": ["left", "right"]},
    "regression": {"columns": ["level"]},
}


@pytest.fixture
def make_label_recipe():
    def make(kind: str = "binary", *, model=None, loss=None, **train) -> Recipe:
        defaults = {
            "epochs": 3,
            "batch_size": 8,
            "device": "cpu",
            "precision": "32",
            "optimizer": {"lr": 0.01},
            "checkpoint_minutes": None,
        }
        return RECIPES[kind].model_validate(
            {
                "name": "discs",
                "target": TARGETS[kind],
                "data": {"layout": "csv", "channels": ["a", "b"]},
                "preprocess": {"size": [SIZE, SIZE]},
                "augment": {"flip": {"p": 0.0}},
                "model": {"name": "perceptron", **(model or {})},
                "loss": loss or {},
                "train": {**defaults, **train},
            }
        )

    return make


@pytest.fixture
def one_thread():
    """Compute with one thread: the sums of several depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
