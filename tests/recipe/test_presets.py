"""Presets are values of the recipe that anybody could set."""

import pytest

from medloom.recipe import load_recipe
from medloom.recipe.library import builtin_names
from medloom.recipe.presets import PRESETS, preset_settings


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", builtin_names())
def test_every_preset_of_every_recipe_is_valid(name, preset):
    before = load_recipe(name)
    after = load_recipe(name, preset_settings(before, preset))
    if preset == "good":
        assert after == before
    if preset == "quick":
        assert after.train.epochs < before.train.epochs
        assert min(after.preprocess.input_size) <= min(before.preprocess.input_size)
        assert min(after.preprocess.size) <= 144
    if preset == "best":
        assert (after.split.folds, after.evaluate.views) == (5, 4)


def test_an_image_that_is_not_square_keeps_its_shape_and_its_crop():
    wide = load_recipe("chest-xray", ["preprocess.size=[512, 640]", "preprocess.crop=[448, 576]"])
    small = load_recipe("chest-xray", preset_settings(wide, "quick"))
    assert small.preprocess.size == (128, 160)
    assert small.preprocess.input_size == (112, 144)
