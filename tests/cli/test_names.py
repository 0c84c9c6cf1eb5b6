"""``medloom names``: what a recipe may name, for people and programs."""

import json

import pytest

from medloom.cli.main import main
from medloom.cli.names import _LISTS
from medloom.recipe import parse_recipe


def listed(capsys, *arguments):
    assert main(["names", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_without_a_word_it_says_which_lists_there_are(capsys):
    assert list(listed(capsys)) == list(_LISTS)


@pytest.mark.parametrize("what", _LISTS)
def test_every_list_has_names_with_a_summary(capsys, what):
    found = listed(capsys, what)
    assert found
    assert all(facts["summary"] for facts in found.values())


def test_a_kind_leaves_what_is_for_it(capsys):
    for name in listed(capsys, "losses", "--kind", "regression"):
        parse_recipe(f"{{name: x, target: {{kind: regression, columns: [age]}}, loss: {{name: {name}}}}}")
    assert "unet" not in listed(capsys, "networks", "--kind", "binary")


def test_encoders_are_those_of_timm_with_the_tags_of_their_weights(capsys):
    found = listed(capsys, "encoders")
    assert "mit_b0" in found
    assert "in1k" in found["tf_efficientnet_lite0"]["summary"]


@pytest.mark.parametrize(
    ("arguments", "said"), [(["nets"], "did you mean 'networks'"), (["losses", "--kind", "mask"], "'masks'")]
)
def test_a_word_that_is_none_is_refused_with_the_nearest(capsys, arguments, said):
    assert main(["names", *arguments]) == 2
    assert said in capsys.readouterr().err
