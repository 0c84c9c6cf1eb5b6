"""Where labels come from: what the recipe states reaches whoever gets the bundle, and no other data set."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
import yaml

from medloom.errors import RecipeError
from medloom.packaging import read_bundle
from medloom.packaging.writer import layout_of
from medloom.recipe import parse_recipe
from medloom.recipe.changes import changed
from support.bundles import tiny_recipe, write_tiny_bundle

ORIGIN = {
    "labelled_by": "two radiologists,\n  5 and 12 years",
    "readers": 2,
    "reference_standard": "histopathology",
    "agreement": "Dice 0.84 ± 0.02",
}


def recipe(**origin):
    return parse_recipe(yaml.safe_dump(tiny_recipe().plain()), [f"data.origin={json.dumps(origin)}"])


def test_what_is_stated_is_in_the_bundle_and_on_its_card_and_survives_reading(tmp_path):
    path = write_tiny_bundle(tmp_path / "model.tar.gz", recipe(**ORIGIN))
    with read_bundle(path) as bundle:
        assert bundle.manifest.origin.plain() == {**ORIGIN, "labelled_by": "two radiologists, 5 and 12 years"}
        card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "- Drawn or labelled by: two radiologists, 5 and 12 years\n- Readers of each image: 2\n" in card
    assert "- Reference standard: histopathology\n- Agreement: Dice 0.84 ± 0.02\n" in card


def test_what_is_not_stated_is_said_to_be_unknown(bundle_path):
    with tarfile.open(bundle_path) as archive:
        assert json.load(archive.extractfile("bundle.json"))["origin"] is None
        assert "is not stated." in archive.extractfile("MODEL_CARD.md").read().decode()


def test_images_of_another_source_do_not_inherit_whose_labels_the_first_had():
    assert "origin" not in layout_of(recipe(**ORIGIN))["data"]


def test_it_may_be_stated_after_the_training():
    assert changed(recipe().plain(), recipe(**ORIGIN).plain()) == []


@pytest.mark.parametrize("wrong", [{"readers": 0}, {"who": "x"}, {"software": "\x1b[31m"}, {"when": ""}])
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(RecipeError, match=rf"^data\.origin\.{next(iter(wrong))}"):
        recipe(**wrong)


def test_the_example_of_the_documentation_is_one():
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    (example,) = re.findall(r"```yaml\n(data:\n  origin:.*?)```", page, re.DOTALL)
    origin = recipe(**yaml.safe_load(example)["data"]["origin"]).data.origin
    assert len(origin.rows()) == 7
