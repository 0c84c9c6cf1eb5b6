"""``augment.preset`` fills in what a recipe leaves out, and the recipe shows it."""

from __future__ import annotations

import pytest
import yaml

from medloom.errors import RecipeError
from medloom.recipe import parse_recipe, resolve_target
from medloom.recipe.kinds import KINDS
from medloom.recipe.sections.augment import AugmentConfig, ClassesAugmentConfig
from medloom.recipe.sections.augment_presets import AUGMENT_PRESETS
from medloom.targets import Target
from support.recipe_keys import text

OLD = {
    "flip": {"p": 0.5, "vertical": 0.0},
    "rotate": {"p": 0.5, "degrees": 15.0},
    "crop": {"p": 0.5, "min_scale": 0.8},
    "scale": {"p": 0.3, "amount": 0.2},
    "shift": {"p": 0.3, "amount": 0.2},
    "noise": {"p": 0.15, "std": 0.1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_preset_a_recipe_does_what_it_always_did_and_nothing_new(kind):
    plain = parse_recipe(text(kind, {})).plain()["augment"]
    assert plain.pop("preset") is None
    assert {step: plain.pop(step) for step in OLD} == OLD
    assert {keys["p"] for keys in plain.values()} == {0.0}


@pytest.mark.parametrize("preset", AUGMENT_PRESETS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_preset_is_shown_filled_in_and_read_again_as_it_is(kind, preset):
    recipe = parse_recipe(text(kind, {"augment.preset": preset, "preprocess.colour": "rgb"}))
    plain = recipe.plain()
    for step, keys in AUGMENT_PRESETS[preset].items():
        assert keys.items() <= plain["augment"][step].items()
    assert parse_recipe(yaml.safe_dump(plain)).plain() == plain


def test_none_changes_nothing():
    augment = parse_recipe("name: x", ["augment.preset=none"]).plain()["augment"]
    assert {keys["p"] for key, keys in augment.items() if key != "preset"} == {0.0}
    assert augment["flip"]["vertical"] == 0.0


def test_a_key_that_the_recipe_sets_wins_also_over_the_rest_of_its_step():
    augment = parse_recipe(
        "name: x",
        ["augment.preset=mri", "augment.gamma.amount=0.1", "augment.elastic.p=0", "augment.noise={p: 0.9}"],
    ).augment
    assert (augment.gamma.p, augment.gamma.amount) == (0.3, 0.1)
    assert augment.elastic.p == 0.0
    assert (augment.noise.p, augment.noise.std) == (0.9, 0.1)
    assert augment.blur.p == 0.1


def test_hearts_stay_on_their_side():
    flip = parse_recipe("name: x", ["augment.preset=xray"]).augment.flip
    assert (flip.p, flip.vertical) == (0.0, 0.0)


@pytest.mark.parametrize("preset", ["photo", "microscopy"])
@pytest.mark.parametrize(
    ("overrides", "coloured"),
    [
        ([], False),
        (["preprocess.colour=rgb"], True),
        (["data.channels=[red, green, blue]"], True),
        (["data.channels=[red, green, blue]", "preprocess.colour=grey"], False),
    ],
)
def test_a_preset_changes_colours_only_where_there_are_some(preset, overrides, coloured):
    recipe = parse_recipe("name: x", [f"augment.preset={preset}", *overrides])
    assert (recipe.augment.colour.p > 0) == coloured == recipe.in_colour


def test_colours_that_are_asked_for_and_are_not_there_are_refused():
    with pytest.raises(
        RecipeError, match=r"augment.colour.p: it acts only with preprocess.colour=rgb or data.channels"
    ):
        parse_recipe("name: x", ["augment.preset=photo", "augment.colour.p=0.5"])


def test_a_step_that_a_recipe_switches_off_stays_off_when_its_labels_become_known():
    off = ["augment.preset=mri", "augment.elastic.p=0", "augment.flip.p=0.5", "augment.mixup.p=0.3"]
    recipe = parse_recipe(text("auto", {}), off)
    found = resolve_target(recipe, Target("binary", ("a", "b")))
    assert found.augment == recipe.augment
    reread = resolve_target(parse_recipe(yaml.safe_dump(recipe.plain())), Target("binary", ("a", "b")))
    assert reread.augment == recipe.augment


def test_numbers_are_not_mixed():
    recipe = parse_recipe(text("auto", {}), ["augment.cutmix.p=0.3"])
    with pytest.raises(RecipeError, match=r"augment.cutmix: there is no such key for target.kind regression"):
        resolve_target(recipe, Target("regression", ("level",)))
    plain = parse_recipe(yaml.safe_dump(parse_recipe(text("auto", {})).plain()))
    assert resolve_target(plain, Target("regression", ("level",))).predicts().kind == "regression"
    with pytest.raises(RecipeError, match=r"only for .*multi-label"):
        parse_recipe(text("masks", {}), ["augment.mixup.p=0.3"])


def test_points_too_close_for_their_displacement_are_refused():
    with pytest.raises(RecipeError, match=r"may fold an image.*at most 0\.025"):
        parse_recipe("name: x", ["augment.elastic.p=0.5", "augment.elastic.spacing=0.1", "augment.elastic.amount=0.04"])


def test_every_preset_of_the_reference_is_in_the_table_and_names_steps_that_there_are():
    assert set(AUGMENT_PRESETS) == set(AugmentConfig.model_json_schema()["properties"]["preset"]["anyOf"][0]["enum"])
    fields = ClassesAugmentConfig.model_fields
    for steps in AUGMENT_PRESETS.values():
        assert OLD.keys() <= steps.keys(), "what is on by default has to be said"
        assert "mixup" not in steps
        assert steps.keys() <= fields.keys()
