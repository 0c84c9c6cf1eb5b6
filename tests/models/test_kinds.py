"""From a recipe, or from what a bundle says, to a network and a loss."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medloom.errors import BundleError, RecipeError
from medloom.models.kinds import KINDS, build_network
from medloom.recipe import load_recipe
from medloom.recipe.kinds import KINDS as RECIPES
from medloom.targets import Target

SMALL = ["model.args={channels: [4, 8]}", "preprocess.size=[32, 32]"]
TARGETS = {
    "binary": {"kind": "binary", "classes": ["no", "yes"]},
    "multi-class": {"kind": "multi-class", "classes": ["a", "b", "c"]},
    "multi-label": {"kind": "multi-label", "columns": ["left", "right"]},
    "regression": {"kind": "regression", "columns": ["age", "size"]},
}


def label_recipe(kind, **sections):
    plain = {
        "name": "small",
        "target": TARGETS[kind],
        "preprocess": {"size": [32, 32]},
        "model": {"name": "perceptron"},
    }
    return RECIPES[kind].model_validate({**plain, **sections})


def spec(target, name, **keys):
    defaults = {"in_channels": 1, "size": (32, 32), "args": {}, "options": {}}
    return SimpleNamespace(name=name, target=target, **{**defaults, **keys})


def test_a_recipe_for_masks_gives_a_network_with_a_plane_for_each_output():
    recipe = load_recipe("brain-mri-small", SMALL)
    network = build_network(recipe, 3, 0)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1, 32, 32)


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_a_recipe_for_labels_gives_a_network_with_a_number_for_each_output(kind):
    recipe = label_recipe(kind)
    assert build_network(recipe, 1, 0)(torch.zeros(2, 1, 32, 32)).shape == (2, recipe.predicts().outputs)


@pytest.mark.parametrize(
    ("kind", "truth", "weights"),
    [
        ("binary", [[0], [0], [0], [1]], [4 / 6, 2.0]),
        ("multi-class", [[0], [1], [1], [2]], [4 / 3, 4 / 6, 4 / 3]),
        ("multi-label", [[1, 1], [0, 1], [0, 1], [0, 0]], [1.5, 0.5]),
    ],
)
def test_balanced_weights_are_counted_over_the_truth(kind, truth, weights):
    recipe = label_recipe(kind, loss={"args": {"class_weights": "balanced"}})
    loss = KINDS[kind].build_loss(recipe, np.array(truth, np.float32))
    assert loss.weights.tolist() == pytest.approx(weights)


def test_numbers_are_predicted_and_measured_in_the_unit_of_the_truth():
    recipe, truth = label_recipe("regression"), np.array([[10, 5], [30, 5]], np.float32)
    network, family = build_network(recipe, 1, 0), KINDS["regression"]
    family.standardise(network, truth)
    assert (network.mean.tolist(), network.deviation.tolist()) == ([20.0, 5.0], [10.0, 1.0])
    loss = family.build_loss(recipe, truth)
    assert loss(torch.tensor([[30.0, 5.0]]), torch.tensor([[10.0, 5.0]])) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("given", "features", "shape"),
    [
        (spec(Target("masks", ("background", "a", "b")), "unet", args={"channels": [4, 8]}), 0, (2, 3, 32, 32)),
        (spec(Target("binary", ("no", "yes")), "perceptron", options={"table_width": 8}), 0, (2, 1)),
        (spec(Target("regression", ("age",)), "perceptron", options={"metadata": "fused"}), 3, (2, 1)),
    ],
    ids=["masks", "binary", "fused"],
)
def test_a_network_is_built_again_from_what_a_bundle_says(given, features, shape):
    network = KINDS[given.target.kind].rebuild(given, features)
    table = torch.zeros(2, features) if features else None
    assert network(torch.zeros(2, 1, 32, 32), table).shape == shape


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (spec(Target("masks", ("background", "a")), "unett"), BundleError, "no network 'unett'"),
        (spec(Target("masks", ("background", "a")), "unet", options={"dropout": 0.1}), BundleError, "no network"),
        (spec(Target("binary", ("a", "b")), "perceptron", options={"table_width": 0}), BundleError, "no network"),
        (spec(Target("binary", ("a", "b")), "perceptronn"), RecipeError, "perceptron"),
    ],
    ids=["name", "key", "value", "backbone"],
)
def test_a_bundle_of_an_unknown_network_is_refused(given, error, says):
    with pytest.raises(error, match=says):
        KINDS[given.target.kind].rebuild(given, 0)
