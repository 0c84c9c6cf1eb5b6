"""A run that an earlier version began goes on, and one with another recipe does not."""

import pytest

from medloom.data.identity import check_identity
from medloom.errors import RecipeError
from medloom.recipe import load_recipe
from medloom.recipe.changes import flat


def identity(*settings, without=()):
    plain = flat(load_recipe("brain-mri", list(settings)).plain())
    kept = {key: value for key, value in plain.items() if key not in without and not key.startswith("evaluate.")}
    return {"settings": kept, "catalogue": "c", "store": "s", "truth": "t"}


NEW = ("augment.turn.p", "model.encoder", "data.context", "target.mask_tolerance")


def test_keys_that_were_not_known_may_have_their_defaults():
    check_identity(identity(without=NEW), identity())


def test_a_key_that_was_not_known_and_is_used_is_another_recipe():
    with pytest.raises(RecipeError, match=r"augment\.turn\.p was None, is 0\.5"):
        check_identity(identity(without=NEW), identity("augment.turn.p=0.5"))


def test_a_key_that_was_known_may_not_go_back_to_its_default():
    with pytest.raises(RecipeError, match=r"augment\.turn\.p was 0\.5, is 0\.0"):
        check_identity(identity("augment.turn.p=0.5"), identity())
