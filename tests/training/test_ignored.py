"""What the images show where their masks are ignored teaches a network nothing that looks at one pixel at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from medloom import registry
from medloom.data.store import PixelStore, StoreWriter
from medloom.registry import Entry
from medloom.targets import IGNORED
from medloom.training import load_best, train
from training.conftest import SIZE, SPLITS, disc

pytestmark = pytest.mark.usefixtures("one_thread")


def write_store(folder, shown):
    """Discs in the upper part; the lower rows are ignored and show what ``shown`` draws."""
    generator = np.random.default_rng(0)
    with StoreWriter(folder, len(SPLITS), (2, SIZE, SIZE), np.uint8) as writer:
        for row in range(len(SPLITS)):
            mask = disc(generator) * np.uint8(row % 3 != 0)
            image = np.clip(generator.normal(100, 10, (2, SIZE, SIZE)) + 60 * mask, 0, 255).astype(np.uint8)
            mask[22:], image[:, 22:] = IGNORED, shown(row)
            writer.put(row, image, mask, np.full(2, 110, np.float32), np.full(2, 0.05, np.float32))
        return PixelStore.open(writer.publish("key", [f"P{row:03d}-001" for row in range(len(SPLITS))], {}))


def noise(row):
    return np.random.default_rng(row).integers(0, 255, (2, SIZE - 22, SIZE))


def outcome(store, catalogue, recipe, folder):
    train(recipe, catalogue, store, folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    figures = [
        {key: value for key, value in line.items() if key.startswith(("val_", "dice", "false"))} for line in lines
    ]
    return figures, load_best(folder, recipe).state_dict()


@pytest.mark.parametrize("loss", ["dice-ce", "dice-focal"])
def test_a_network_learns_the_same_whatever_lies_where_masks_are_ignored(
    catalogue, make_recipe, monkeypatch, tmp_path, loss
):
    monkeypatch.setitem(registry.NETWORKS, "tiny", Entry("One layer", "support.additions:one_convolution", ("masks",)))
    changes = {"target": {"ignore": 255, "mask_values": {"background": 0, "lesion": 1}}, "loss": {"name": loss}}
    # Between pixels, as a turned image is sampled, the edge of what is ignored is not sharp.
    changes |= {"augment": {"rotate": {"p": 0}, "crop": {"p": 0}}}
    values = make_recipe(epochs=2).plain() | {"model": {"name": "tiny"}} | changes
    recipe = type(make_recipe()).model_validate(values)
    quiet, loud = (write_store(tmp_path / name, shown) for name, shown in (("quiet", lambda row: 0), ("loud", noise)))
    (figures, weights), (other_figures, other_weights) = (
        outcome(store, catalogue, recipe, tmp_path / f"run-{store.path.parent.name}") for store in (quiet, loud)
    )
    assert figures == other_figures
    assert figures[-1]["dice_foreground"] > 0
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    np.testing.assert_array_equal(quiet.foreground_px, loud.foreground_px)
