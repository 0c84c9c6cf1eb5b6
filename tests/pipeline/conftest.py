"""A small set of pictures with a CSV, and a place with a cache of its own."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import yaml

from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.recipe import Recipe, parse_recipe

SIZE = 24


def write_set(folder, levels) -> None:
    """Three pictures of each of 14 patients: noise, brighter with the level; a CSV with age and site."""
    rng = np.random.default_rng(0)
    rows = []
    for number, level in enumerate(levels):
        patient = number // 3
        name = f"picture{number:02d}"
        pixels = np.clip(rng.normal(80 + 60 * float(level), 20, (SIZE, SIZE, 1)), 0, 255).astype(np.uint8)
        write_bytes(folder / "pictures" / f"{name}.png", encode_png(pixels[..., 0]))
        age = "" if number % 7 == 3 else str(30 + patient + 20 * (number % 2))
        site = f"site{patient}" if patient < 3 else ("arm", "leg", "")[number % 3]
        rows.append({"image": name, "level": level, "patient": f"person{patient}", "age": age, "site": site})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder / "labels.csv", text.getvalue().encode())


def recipe_for_pictures(target=None, labels=None, **groups) -> Recipe:
    """A recipe whose labels the preparation is to find out; ``groups`` are groups of the recipe."""
    plain = {
        "name": "pictures",
        "target": {"kind": "auto", **(target or {})},
        "data": {"layout": "csv", "labels": {"patient": "patient", **(labels or {})}},
        "preprocess": {"size": [SIZE, SIZE]},
        "model": {"name": "perceptron"},
        "loss": {"name": "cross-entropy"},
        "train": {"epochs": 2, "batch_size": 8, "monitor": "auc", "device": "cpu", "precision": "32"},
        "evaluate": {"bootstrap": 20},
    }
    for name, group in groups.items():
        plain[name] = {**plain.get(name, {}), **group}
    return parse_recipe(yaml.safe_dump(plain))


@pytest.fixture(scope="module")
def pictures(place):
    """42 pictures of two classes."""
    write_set(place / "pictures-set", [number // 3 % 2 for number in range(42)])
    return place / "pictures-set"


@pytest.fixture
def measured_pictures(place):
    """The same with numbers that are no classes."""
    write_set(place / "numbers-set", [round(0.13 * (number % 9), 2) for number in range(42)])
    return place / "numbers-set"


@pytest.fixture(scope="session")
def make_recipe():
    """``recipe_for_pictures``."""

    return recipe_for_pictures
