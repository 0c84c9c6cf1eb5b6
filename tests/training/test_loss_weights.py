"""A loss whose weights change from epoch to epoch is weighed by the epoch, in training and in validation."""

from __future__ import annotations

import json

import pytest

from medloom.recipe import MasksRecipe
from medloom.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_loss_of_an_epoch_has_the_weights_of_that_epoch(store, catalogue, make_recipe, tmp_path):
    plain = make_recipe(epochs=3, optimizer={"lr": 1e-12}).plain()
    plain["model"]["args"]["dropout"] = 0.0
    plain["augment"] = {"preset": "none"}
    terms = [{"name": "dice-ce", "per_epoch": 1.0, "until": 2.5}]
    plain["loss"] = {"name": "compound", "args": {"terms": terms}}
    train(MasksRecipe.model_validate(plain), catalogue, store, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first = lines[0]
    for line, weight in zip(lines, (1.0, 2.0, 2.5), strict=True):  # nothing is learned at this rate
        assert line["val_loss"] == pytest.approx(weight * first["val_loss"], rel=0.02)
        assert line["train_loss"] == pytest.approx(weight * first["train_loss"], rel=0.02)
