from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from medloom.recipe import builtin_names, builtin_text, load_recipe, parse_recipe
from medloom.recipe.commented import commented
from medloom.recipe.kinds import KINDS
from medloom.recipe.reference import tree, whole_schema, write_reference

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("file", ["recipe.schema.json", "recipe.md"])
def test_the_published_reference_is_current(tmp_path, file):
    write_reference(tmp_path)
    assert (DOCS / file).read_text() == (tmp_path / file).read_text(), "run `make docs`"


@pytest.mark.parametrize("name", builtin_names())
def test_the_schema_accepts_the_built_in_recipes(name):
    jsonschema.Draft202012Validator.check_schema(whole_schema())
    jsonschema.validate(yaml.safe_load(builtin_text(name)), whole_schema())
    jsonschema.validate(load_recipe(name).plain(), whole_schema())


@pytest.mark.parametrize(
    "wrong", [{}, {"name": "X"}, {"name": "x", "trian": {}}, {"name": "x", "train": {"epochs": 0}}]
)
def test_the_schema_refuses_what_the_recipe_refuses(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, whole_schema())


def test_every_key_is_documented():
    def undocumented(node, path=""):
        for key, child in node["properties"].items():
            if not child.get("description"):
                yield path + key
            if "properties" in child:
                yield from undocumented(child, f"{path}{key}.")

    assert {kind: list(undocumented(tree(kind))) for kind in KINDS} == {kind: [] for kind in KINDS}


@pytest.mark.parametrize("name", builtin_names())
def test_the_commented_recipe_means_the_same_and_shows_every_key(name):
    text = commented(name)
    assert parse_recipe(text) == load_recipe(name)
    for key in ("patience", "missing_channel", "degrees", "bootstrap"):
        assert f"{key}: " in text


@pytest.mark.parametrize("name", builtin_names())
def test_the_defaults_in_the_commented_recipe_are_valid_when_uncommented(name):
    lines = commented(name).splitlines()
    keys = {key for node in [whole_schema(), *whole_schema()["$defs"].values()] for key in node.get("properties", {})}
    uncommented = [_uncomment(line, keys) for line in lines]
    assert parse_recipe("\n".join(uncommented)) == load_recipe(name)


def _uncomment(line: str, keys: set[str]) -> str:
    word = line.strip().removeprefix("# ").partition(":")[0]
    return line.replace("# ", "", 1) if word in keys else line
