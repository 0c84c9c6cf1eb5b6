"""Values of a recipe that a program sets mean what the texts of the command line mean."""

from pathlib import Path

import pytest

from medloom.errors import RecipeError
from medloom.pipeline import loaded_recipe
from medloom.recipe import load_recipe, parse_recipe
from medloom.recipe.settings import setting_texts


def test_values_by_key_give_the_recipe_that_the_texts_give():
    values = {
        "train.epochs": 5,
        "train.optimizer.lr": 1e-05,
        "preprocess.size": (64, 96),
        "split.file": Path("a b/split.csv"),
        "data.path": None,
        "name": "yes-no",
        "data.origin": {"labelled_by": "one, two: {three}", "readers": 2},
        "model.args": {"channels": [8, 16, 32], "norm": "BATCH"},
    }
    recipe = load_recipe("brain-mri", setting_texts(values))
    assert (recipe.train.epochs, recipe.train.optimizer.lr, recipe.preprocess.size) == (5, 1e-5, (64, 96))
    assert (recipe.split.file, recipe.data.path, recipe.name) == ("a b/split.csv", None, "yes-no")
    assert recipe.data.origin.labelled_by == "one, two: {three}"
    assert recipe.model.args == {"channels": [8, 16, 32], "norm": "BATCH"}


@pytest.mark.parametrize("word", ["true", "1", "null", "no", "2026-01-01"])
def test_a_word_stays_a_word(word):
    assert load_recipe("brain-mri", setting_texts({"data.origin.when": word})).data.origin.when == word


def test_texts_are_taken_as_they_are():
    assert setting_texts(("train.epochs=5",)) == ["train.epochs=5"]


@pytest.mark.parametrize(
    ("given", "said"), [("train.epochs=5", "got the text"), ({"train.epochs": object()}, "of type object")]
)
def test_what_is_no_setting_is_refused(given, said):
    with pytest.raises(RecipeError, match=said):
        setting_texts(given)


def test_a_recipe_and_the_text_that_it_was_read_from_take_a_setting_alike():
    text = "name: x\ntarget: {kind: binary, classes: [a, b]}\ndata: {layout: folder-classes}\n"
    asked = ["preprocess.normalise.method=imagenet", "train.epochs=7"]
    from_object = loaded_recipe(parse_recipe(text), asked)
    assert from_object == parse_recipe(text, asked)
    assert from_object.preprocess.window == "auto"
    fixed = parse_recipe(text, ["preprocess.window=file"])
    assert loaded_recipe(fixed, asked).preprocess.window == "file"
