"""The table of kinds, and what the names of channels say."""

import pytest

from medloom import targets
from medloom.data import preferred_channel
from medloom.data.kinds import KINDS, truth_of
from medloom.recipe import parse_recipe


def test_every_kind_of_answer_is_in_the_table():
    assert list(KINDS) == list(targets.KINDS)


@pytest.mark.parametrize("kind", [*KINDS, "auto"])
def test_a_store_has_masks_where_the_truth_is_a_mask(kind):
    recipe = parse_recipe(f"name: test\ntarget: {{kind: {kind}}}")
    has_masks = kind in KINDS and targets.KINDS[kind].truth_is_mask
    truth = truth_of(recipe)
    assert (truth.class_map(recipe) is not None) == (truth.label_rule(recipe) is None) == has_masks


@pytest.mark.parametrize(
    ("names", "channel"), [(("grey",), 0), (("t1", "t2", "FLAIR"), 2), (("r", "g", "b"), 1), (("a", "b"), 1)]
)
def test_the_channel_to_draw_on_is_flair_or_the_middle_one(names, channel):
    assert preferred_channel(names) == channel
