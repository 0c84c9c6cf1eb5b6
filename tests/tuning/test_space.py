"""What a recipe says is searched: found wrong before a study begins, and chosen as it says."""

from __future__ import annotations

import pytest

from medloom.errors import RecipeError
from medloom.recipe import builtin_names, load_recipe
from medloom.registry import SPACES
from medloom.tuning import Space
from medloom.tuning.kinds import KINDS


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"trian.epochs": {"integer": [1, 2]}}, r"trian: unknown key, did you mean 'train'"),
        ({"train.epoch": {"integer": [1, 2]}}, r"train\.epoch: unknown key, did you mean 'epochs'"),
        (
            {"train.epochs": {"integer": [0, 2]}},
            r"train\.epochs=0: train\.epochs: expected a whole number of at least 1",
        ),
        ({"train.epochs": {"uniform": [1, 3]}}, r"train\.epochs: expected a whole number of at least 1; got 1\.7"),
        ({"train.optimizer.momentum": {"uniform": [0.1, 0.9]}}, r"acts only with train\.optimizer\.name=sgd.*`when`"),
        ({"train.averaging": {"choices": ["ema", "emma"]}}, r"train\.averaging: .*got 'emma'"),
        ({"train.monitor": {"choices": ["auc"]}}, r"train\.monitor: no study searches it: it is the score"),
        ({"train.seed": {"choices": [0, 1]}}, r"train\.seed: no study searches it: the best of several seeds is luck"),
        ({"data.labels.file": {"choices": ["a.csv", "b.csv"]}}, r"scores on other images cannot be compared"),
        ({"split.seed": {"choices": [0, 1]}}, r"split\.seed: no study searches it: scores on other patients"),
        ({"loss.name": {"choices": ["focal"]}}, r"loss\.name: train\.monitor is the loss itself"),
        ({"train": {"choices": [{"epochs": 3}]}}, r"train\.monitor is inside it"),
    ],
)
def test_a_value_that_makes_no_recipe_is_found_before_the_study_and_named(recipe_of, space, says):
    with pytest.raises(RecipeError, match=says):
        Space.of(recipe_of(space)).check()


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (
            {"uniform": [0, 1], "choices": [1]},
            "expected one of uniform, log_uniform, integer, choices; got uniform and",
        ),
        ({}, "expected one of uniform, log_uniform, integer, choices; got none"),
        ({"uniform": [1, 1]}, "the first number must be below the second"),
        ({"log_uniform": [0, 1]}, "log_uniform: expected numbers above 0; got 0"),
        ({"choices": [1, 2, 1]}, "two of the choices are the same"),
        ({"log_uniform": [1, 2], "step": 1}, "step: log_uniform has none"),
    ],
)
def test_a_range_that_is_none_is_refused_with_the_recipe(recipe_of, parameter, says):
    with pytest.raises(RecipeError, match=says):
        recipe_of({"train.optimizer.lr": parameter})


def test_two_values_that_go_wrong_only_together_are_found(recipe_of):
    space = {"train.devices": {"choices": [1]}}
    with pytest.raises(RecipeError, match="no study searches it"):
        Space.of(recipe_of(space))
    both = {"model.name": {"choices": ["resnet18", "perceptron"]}, "model.tune": {"choices": ["all", "head"]}}
    with pytest.raises(RecipeError, match=r"model\.name=perceptron, model\.tune=head: model\.tune: it acts only"):
        Space.of(recipe_of(both)).check()


def test_a_key_is_chosen_only_beside_the_value_that_it_depends_on_whatever_their_order(recipe_of):
    momentum = {"uniform": [0.1, 0.9], "when": {"train.optimizer.name": ["sgd"]}}
    space = Space.of(
        recipe_of({"train.optimizer.momentum": momentum, "train.optimizer.name": {"choices": ["adamw", "sgd", "adam"]}})
    )
    space.check()
    chosen = [
        space.chosen(lambda key, parameter, place=place: parameter.extremes[place % len(parameter.extremes)])
        for place in range(3)
    ]
    assert chosen == [
        {"train.optimizer.name": "adamw"},
        {"train.optimizer.name": "sgd", "train.optimizer.momentum": 0.9},
        {"train.optimizer.name": "adam"},
    ]
    assert len(space.grid(4)) == 2 + 4
    circle = {
        "train.averaging": {"choices": ["ema"], "when": {"model.name": "a"}},
        "model.name": {"choices": ["perceptron"], "when": {"train.averaging": "ema"}},
    }
    with pytest.raises(RecipeError, match="depend on each other"):
        Space.of(recipe_of(circle))


def test_the_recipe_of_a_trial_differs_from_the_recipe_in_what_is_searched_alone(recipe_of):
    recipe = recipe_of(
        {"model.args": {"choices": [{"hidden": 8}]}, "augment.rotate.p": {"uniform": [0, 0.5]}},
        train={"optimizer": {"weight_decay": 0.0}},
    )
    made = Space.of(recipe).recipe_of({"augment.rotate.p": 0.25})
    assert made.augment.rotate.p == 0.25
    rotate = recipe.augment.rotate.model_copy(update={"p": 0.25})
    assert made == recipe.model_copy(update={"augment": recipe.augment.model_copy(update={"rotate": rotate})})


def test_a_choice_of_several_keys_stays_what_it_is_when_one_inside_it_is_searched_too():
    space = Space.of(load_recipe("brain-mri"))
    choices = [dict(choice) for choice in space.parameters["model.args"].choices]
    assert all(list(choice) == ["channels"] for choice in choices)
    tried = space.check()
    assert {recipe.model.args["dropout"] for recipe in tried} >= {0.0, 0.5}
    assert list(space.parameters["model.args"].choices) == choices


def test_the_grid_of_a_range_has_its_ends_and_its_steps(recipe_of):
    space = {"train.optimizer.lr": {"log_uniform": [1e-4, 1e-2]}, "train.epochs": {"integer": [2, 8], "step": 3}}
    found = Space.of(recipe_of(space)).grid(3)
    assert sorted({values["train.epochs"] for values in found}) == [2, 5, 8]
    assert sorted({values["train.optimizer.lr"] for values in found}) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert len(found) == 9


def test_the_recipes_own_values_are_known_where_the_space_has_them(recipe_of):
    space = {"train.batch_size": {"choices": [4, 8]}, "train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}
    assert Space.of(recipe_of(space)).own() == {"train.batch_size": 8, "train.optimizer.lr": 1e-3}
    assert Space.of(recipe_of({**space, "train.batch_size": {"choices": [4, 16]}})).own() is None


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_recipe_has_a_space_of_which_every_value_makes_a_recipe(name):
    kind = "multi-class" if name in ("dicom-csv", "labels-deep", "labels-shallow") else None
    recipe = load_recipe(name, [f"target.kind={kind}"] if kind else [])
    assert len(Space.of(recipe).check()) >= 6


def test_the_spaces_of_the_published_studies_are_theirs():
    brain, chest = (Space.of(load_recipe(name)).parameters for name in ("brain-mri", "chest-xray"))
    assert brain["model.name"].choices == ("unet", "attention-unet")
    assert [one["channels"][0] for one in brain["model.args"].choices] == [8, 16, 32]
    assert brain["model.args.dropout"].uniform == (0, 0.5)
    assert brain["train.optimizer.lr"].log_uniform == (1e-6, 1e-1)
    assert brain["train.batch_size"].choices == (16, 32)
    assert chest["train.optimizer.lr"].log_uniform == (1e-4, 1e-1)
    assert chest["train.batch_size"].choices == (32, 64, 128)


def test_every_kind_of_answer_has_a_space_that_is_for_it():
    assert all(kind in SPACES[name].kinds for kind, name in KINDS.items())


def test_a_space_of_the_recipe_comes_in_the_place_of_what_a_preset_says():
    settings = ["tune.space={model.name: {choices: [unet]}}"]
    assert Space.of(load_recipe("brain-mri", settings)).parameters["model.name"].choices == ("unet",)
    assert "train.optimizer.lr" in Space.of(load_recipe("brain-mri", settings)).parameters
    alone = Space.of(load_recipe("image-mask", settings))
    assert list(alone.parameters) == ["model.name"]
