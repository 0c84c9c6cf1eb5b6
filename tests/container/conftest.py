"""A small set of pictures, and the files that SageMaker writes for a job on them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import yaml

from medloom.imaging import encode_png

RECIPE = {
    "name": "pictures",
    "target": {"kind": "auto"},
    "data": {"layout": "csv", "labels": {"patient": "patient"}},
    "preprocess": {"size": [16, 16]},
    "model": {"name": "perceptron"},
    "loss": {"name": "cross-entropy"},
    "train": {"epochs": 3, "batch_size": 8, "monitor": "auc", "device": "cpu", "precision": "32"},
    "evaluate": {"bootstrap": 5},
}


def write_pictures(folder, people, name="person") -> None:
    """Two pictures of each of so many people, brighter where there is something, with a CSV."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for number in range(2 * people):
        level = number // 2 % 2
        file = f"{name}-{number:02d}"
        pixels = np.clip(rng.normal(80 + 60 * level, 20, (16, 16)), 0, 255).astype(np.uint8)
        (folder / "pictures" / f"{file}.png").write_bytes(encode_png(pixels))
        rows.append({"image": file, "level": level, "patient": f"{name}{number // 2}"})
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Job:
    """The folders of a job, as SageMaker makes them."""

    def __init__(self, base, monkeypatch) -> None:
        self.base = base
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))
        monkeypatch.setenv("MEDLOOM_CACHE", str(base / "cache"))
        for folder in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (base / folder).mkdir(parents=True)

    def asks(self, **hyperparameters) -> None:
        self.write("hyperparameters", hyperparameters)

    def write(self, name, value) -> None:
        (self.base / "input" / "config" / f"{name}.json").write_text(json.dumps(value))

    def channel(self, name):
        folder = self.base / "input" / "data" / name
        folder.mkdir(exist_ok=True)
        return folder

    def recipe(self) -> None:
        (self.channel("recipe") / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))

    @property
    def failure(self) -> str:
        return (self.base / "output" / "failure").read_text()


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The folders of a job, with nothing in them."""
    for name in ("SM_HPS", "SM_CHANNELS", "SM_HOSTS", "TRAINING_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    return Job(tmp_path / "ml", monkeypatch)
