"""A set of pictures that a perceptron learns from in a moment, and studies of it."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import yaml

from medloom.events import Events
from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.recipe import parse_recipe
from medloom.tuning import Limits, begun_study, work
from support.aws import opened_aws, set_up

SPACE = {
    "train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]},
    "train.batch_size": {"choices": [4, 8]},
}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Three pictures of each of 15 patients, noise and a little brighter in one of two classes."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for number in range(45):
        label, name = number // 3 % 2, f"picture{number:02d}"
        pixels = np.clip(rng.normal(100 + 12 * label, 40, (24, 24)), 0, 255).astype(np.uint8)
        write_bytes(folder / "pictures" / f"{name}.png", encode_png(pixels))
        rows.append({"image": name, "level": label, "patient": f"person{number // 3}"})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder / "labels.csv", text.getvalue().encode())
    return folder


def recipe_text(space=None, **groups):
    plain = {
        "name": "pictures",
        "target": {"kind": "binary", "classes": ["0", "1"]},
        "data": {"layout": "csv", "labels": {"patient": "patient"}},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "preprocess": {"size": [24, 24]},
        "model": {"name": "perceptron"},
        "loss": {"name": "cross-entropy"},
        "train": {"epochs": 2, "batch_size": 8, "monitor": "loss", "device": "cpu", "precision": "32"},
        "evaluate": {"bootstrap": 5},
        "tune": {"space": SPACE if space is None else space},
    }
    for name, group in groups.items():
        plain[name] = {**plain.get(name, {}), **group}
    return yaml.safe_dump(plain)


@pytest.fixture(scope="session")
def recipe_of():
    """Return a recipe with a space; ``groups`` are groups of the recipe."""

    def recipe(space=None, **groups):
        return parse_recipe(recipe_text(space, **groups))

    return recipe


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a cache of its own."""
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trials_of(pictures, recipe_of, place):
    """Do trials of a study of the pictures in this process, and package nothing; returns its folder."""

    def trials(recipe=None, study="one", count=3, on_event=(), **settings):
        events, folder = Events([on_event] if callable(on_event) else list(on_event)), place / "studies" / study
        with begun_study(recipe or recipe_of(), folder, images=pictures, events=events, **settings) as (begun, images):
            work(begun, images, Limits(count), events=events)
        return folder

    return trials


@pytest.fixture(scope="module")
def opened():
    """AWS on loopback, for all tests of a module."""
    with opened_aws() as aws:
        yield aws


@pytest.fixture
def aws(opened, monkeypatch):
    """An account with a bucket and a role and nothing else; jobs are looked at after a short pause."""
    monkeypatch.setattr("medloom.backends.sagemaker.jobs._POLL_S", 0.1)
    monkeypatch.setattr("medloom.backends.sagemaker.jobs._LONGEST_POLL_S", 0.2)
    set_up(opened)
    return opened
