"""Hyper-parameters as every launcher writes them, as settings of a recipe."""

from __future__ import annotations

import pytest

from medloom.container.hyperparameters import ALIASES, read_hyperparameters
from medloom.errors import RecipeError
from medloom.recipe import load_recipe


def settings_of(**given):
    return read_hyperparameters(given).settings


@pytest.mark.parametrize(
    ("text", "value"),
    [("False", False), ("false", False), ('"False"', False), ("0", False), ("n", False), ("True", True), ("yes", True)],
)
def test_a_boolean_is_read_by_the_type_that_the_recipe_declares(text, value):
    recipe = load_recipe("brain-mri", read_hyperparameters({"split.keep": text}).settings)
    assert recipe.split.keep is value


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("lr", "0.001", "train.optimizer.lr", 0.001),
        ("lr", '"1e-3"', "train.optimizer.lr", 0.001),
        ("batch_size", "32", "train.batch_size", 32),
        ("batch-size", "auto", "train.batch_size", "auto"),
        ("max-epochs", "5", "train.epochs", 5),
        ("model-type", '"unet"', "model.name", "unet"),
        ("model_type", "unet", "model.name", "unet"),
        ("debugging", "False", "diagnose.rules", ()),
        ("profiler", "true", "train.profile", "full"),
        ("wandb_tracking", "True", "tracking.trackers", ("wandb",)),
        ("preprocess.size", "[96, 64]", "preprocess.size", (96, 64)),
        ("model.args", "num_res_units=3", "model.args", {"num_res_units": 3}),
        ("model.args", '{"num_res_units": 3}', "model.args", {"num_res_units": 3}),
        ("train.early_stopping.patience", "None", "train.early_stopping.patience", None),
        ("description", "no", "description", "no"),
    ],
)
def test_names_of_scripts_elsewhere_and_keys_are_the_recipes(name, text, key, value):
    recipe = load_recipe("brain-mri", read_hyperparameters({name: text}).settings)
    if key == "diagnose.rules":
        assert recipe.diagnose.chosen() == value
        return
    found = recipe
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


def test_every_alias_names_a_key_that_there_is():
    assert all(read_hyperparameters({alias.key: "1"}) for alias in ALIASES.values())


def test_what_sagemaker_keeps_for_itself_is_left_alone_and_says_that_a_tuner_is_at_work():
    asked = read_hyperparameters({"_tuning_objective_metric": "best", "sagemaker_program": '"train.py"', "seed": "1"})
    assert (asked.settings, asked.is_trial) == (("train.seed=1",), True)


def test_unknown_names_are_all_named_with_the_nearest():
    with pytest.raises(RecipeError) as found:
        read_hyperparameters({"train.epoch": "1", "learning_rat": "2"})
    lines = str(found.value).splitlines()
    assert [line.rpartition("did you mean ")[2] for line in lines] == ["'train.epochs'?", "'learning-rate'?"]


def test_a_key_that_is_given_twice_is_refused_where_the_values_differ():
    assert settings_of(epochs="5", **{"train.epochs": "5"}) == ("train.epochs=5",)
    with pytest.raises(RecipeError, match=r"train.epochs is given twice"):
        settings_of(epochs="5", **{"train.epochs": "6"})


def test_a_value_of_the_wrong_type_is_said_by_the_recipe():
    with pytest.raises(RecipeError, match=r"train.epochs: expected a whole number"):
        load_recipe("brain-mri", settings_of(epochs="many"))
