"""Keys that act only beside a value of another key are refused without it."""

from __future__ import annotations

import re

import pytest
import yaml

from medloom.errors import RecipeError
from medloom.recipe import parse_recipe
from medloom.recipe.dependent import ONLY
from medloom.recipe.kinds import KINDS
from support.recipe_keys import CASES, exists, fields, text

ALL = [(kind, key) for kind, model in KINDS.items() for key, _ in fields(model) if key in CASES]


@pytest.mark.parametrize(("kind", "key"), ALL)
def test_a_key_is_refused_where_it_would_do_nothing_and_taken_where_it_acts(kind, key):
    value, acts, idle = CASES[key]
    if exists(kind, key, acts):
        assert parse_recipe(text(kind, {**acts, key: value}))
    for settings in idle:
        if exists(kind, key, settings):
            with pytest.raises(RecipeError, match=rf"{re.escape(key)}: it acts only with .*; leave it out"):
                parse_recipe(text(kind, {**settings, key: value}))


@pytest.mark.parametrize(("kind", "key"), ALL)
def test_the_default_of_a_key_is_taken_everywhere(kind, key):
    """A run keeps its recipe with every default written out."""
    for settings in CASES[key][2]:
        if exists(kind, key, settings):
            known = {name: one for name, one in settings.items() if name not in CASES}
            plain = parse_recipe(text(kind, known)).plain()
            assert parse_recipe(yaml.safe_dump(plain)).plain() == plain


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_said_to_act_only_with_another_is_in_the_table(kind):
    said = {key for key, sentence in fields(KINDS[kind]) if re.match(r"`[^`]+` only\b", sentence)}
    assert said - {"split.by"} <= ONLY.keys()  # that is only meant for some data


def test_every_key_of_the_table_is_a_key_of_some_recipe():
    assert ONLY.keys() == CASES.keys() == {key for _, key in ALL}


def test_the_recipe_of_a_run_that_is_there_is_read_with_a_key_that_does_nothing():
    text = "name: x\ntrain: {schedule: {name: cosine, factor: 0.3}}"
    with pytest.raises(RecipeError, match="would do nothing"):
        parse_recipe(text)
    assert parse_recipe(text, of_a_run=True).train.schedule.factor == 0.3


@pytest.mark.parametrize("key", ["tune: head", "layer_decay: 0.5", "head_epochs: 2", "freeze_statistics: yes"])
def test_masks_tune_a_network_on_an_encoder(key):
    plain = "name: x\nmodel: {{name: {}, {}}}"
    assert parse_recipe(plain.format("smp-unet", key))
    assert parse_recipe(plain.format("flexible-unet", key))
    with pytest.raises(RecipeError, match="would do nothing"):
        parse_recipe(plain.format("unet", key))


@pytest.mark.parametrize("key", ["unfreeze_every: 1", "head_epochs: 1"])
def test_nothing_is_unfrozen_later_in_several_processes(key):
    with pytest.raises(RecipeError, match=r"expected (empty|0) with several train\.devices"):
        parse_recipe(f"name: x\nmodel: {{name: smp-unet, {key}}}\ntrain: {{devices: 2}}")
