"""Sets as their publishers lay them out become the recipes that someone would write by hand, or are asked about."""

from __future__ import annotations

from collections import defaultdict

import pytest
import yaml

from medloom.data import open_source, preparation, prepare
from medloom.data.layouts import build_layout
from medloom.data.splits import as_listed
from medloom.data.survey import Undecided, survey, written
from medloom.recipe import parse_recipe
from medloom.transforms import Preprocess
from support.publishers import PUBLISHERS

ASKED = {
    "covid-qu-ex": "data.mask={split}/{folder}/infection masks/{sample}.png",
    "chexpert": "target.blank=mask",
    "idrid": "data.mask=2. All Segmentation Groundtruths/{folder}. {split} Set/3. Hard Exudates/{sample}_EX.tif",
}
"""Sets that can be read in several ways, with the setting that says which is meant by the recipe by hand."""

UNSAID = {"lgg-mri", "plain-masks", "kvasir-seg"}
"""Sets whose files do not say what the foreground of a mask is called."""


@pytest.fixture(params=PUBLISHERS)
def publisher(request):
    return PUBLISHERS[request.param]


def look(root, name):
    """The survey, with the answer where a question is due; that it is asked is a part of the test."""
    if name not in ASKED:
        return survey(root)
    with pytest.raises(Undecided) as undecided:
        survey(root)
    settings = [option.settings for option in undecided.value.options]
    assert (ASKED[name],) in settings
    assert len(settings) == (4 if name == "idrid" else 2)
    key, _, value = ASKED[name].partition("=")
    return survey(root, {key: value})


def listed(recipe, root):
    """What the layout and the lists of a split find, with patients by the images that they share."""
    with open_source(root) as source:
        found = build_layout(recipe).find(source.names(), source.read)
        found = as_listed(found, recipe.split.lists, source.names(), source.read)
    people = defaultdict(set)
    for item in found.items:
        people[item.patient if item.known else item.images].add(item.images)
    samples = {(item.images, item.masks, str(item.labels), item.published, item.known) for item in found.items}
    return samples, sorted(sorted(images) for images in people.values())


def test_a_published_set_becomes_the_recipe_by_hand(publisher, tmp_path):
    facts = publisher.write(tmp_path)
    found = look(tmp_path, publisher.name)
    own = parse_recipe(written(found))
    by_hand = parse_recipe(yaml.safe_dump({"name": "hand", **publisher.recipe}, sort_keys=False))
    assert listed(own, tmp_path) == listed(by_hand, tmp_path)
    assert own.target.kind == facts.kind
    if facts.values:
        values = own.target.mask_values
        assert {values[name] for name in values} >= set(facts.values)
        known = dict(zip(facts.names, facts.values, strict=True))
        if publisher.name not in UNSAID:
            assert {name: values.get(name) for name in known} == known
        assert (own.target.ignored, own.target.mask_colours) == (by_hand.target.ignored, by_hand.target.mask_colours)
    said = written(found)
    assert not any(name in said for name in ("19960909", "IP_0000003", "patient00001", "Training_001"))


@pytest.mark.slow
def test_what_was_found_of_a_published_set_is_prepared_with_nothing_set_aside(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})
    root = tmp_path / "set"
    root.mkdir()
    facts = publisher.write(root)
    recipe = parse_recipe(written(look(root, publisher.name)))
    with open_source(root) as source:
        work = Preprocess.of(recipe.preprocess)
        made = prepare(recipe, source, tmp_path / "run", tmp_path / "cache", workers=1, preprocess=work)
    assert (len(made.catalogue), made.set_aside) == (facts.samples, ())
    assert made.facts["patient_source"]["patients"] == facts.patients
