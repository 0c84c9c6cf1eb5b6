"""Sets as their publishers lay them out are read by ordinary recipes, down to the label or mask of every image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from medloom.data import open_source, preparation, prepare
from medloom.data.alignment import Alignment, read_mask
from medloom.data.assembly import read_sample_image
from medloom.data.catalogue import image_files, labels_of
from medloom.data.masks import MASKS
from medloom.data.orientation import asked_orientation
from medloom.data.page_reader import PageReader
from medloom.imaging.canonical import turned
from medloom.recipe import parse_recipe
from medloom.transforms import Preprocess
from support.publishers import PUBLISHERS
from support.publishers.facts import SIZE


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})


def written(sections: dict[str, Any]):
    """The recipe with small images, on one channel unless it says otherwise."""
    whole = {"name": "test", "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}}, **sections}
    return parse_recipe(yaml.safe_dump(whole, sort_keys=False))


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_recipe_by_hand_reads_a_published_set(name, tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    publisher = PUBLISHERS[name]
    facts, recipe = publisher.write(root), written(dict(publisher.recipe))
    with open_source(root) as source:
        work = Preprocess.of(recipe.preprocess)
        made = prepare(recipe, source, tmp_path / "run", tmp_path / "cache", workers=1, preprocess=work)
    catalogue = made.catalogue
    assert (made.target.kind, made.target.names, made.target.values) == (facts.kind, facts.names, facts.values)
    assert (len(catalogue), made.store.images.shape[1], made.set_aside) == (facts.samples, facts.channels, ())
    assert made.facts["patient_source"]["patients"] == facts.patients
    check_parts(catalogue, facts)
    check_truth(made, facts)
    if facts.values:
        check_evaluation_reads_the_same(recipe, root, made)


def check_parts(catalogue, facts):
    """Published parts stay; validation may be drawn from train where none is published."""
    counts = catalogue["split"].value_counts()
    for part, count in facts.parts.items():
        drawn = counts["validation"] if part == "train" and "validation" not in facts.parts else 0
        assert counts[part] + drawn == count
    assert catalogue.groupby("patient_id")["split"].nunique().max() == 1 or not facts.patients


def check_truth(made, facts):
    catalogue = made.catalogue
    assert set(catalogue["image"]) == set(facts.truth)
    if facts.values:
        rows = made.store.rows(catalogue["sample_id"].tolist())
        found = {}
        for path, row in zip(catalogue["image"], rows, strict=True):
            found[path] = found.get(path, 0) + int(np.asarray(made.store.masks[row]).sum())
        assert found == dict(facts.truth)
        return
    for path, labels in zip(catalogue["image"], labels_of(catalogue), strict=True):
        np.testing.assert_array_equal(labels, facts.truth[path], err_msg=path)


def check_evaluation_reads_the_same(recipe, root, made):
    """Truth is read from the files once more when a model is measured."""
    classes = MASKS.class_map(recipe)
    with open_source(root) as source:
        alignment = Alignment(PageReader(source.read, segments=classes.values), recipe.data.align)
        for row in made.catalogue.sample(5, random_state=0).to_dict("records"):
            page = row["frame"] if recipe.data.page == "all" else recipe.data.page
            image = read_sample_image(alignment, image_files(row["image"]), recipe.data.channels, page)
            truth = read_mask(alignment, image_files(row["mask"]), classes, page, image)
            stored = made.store.masks[made.store.rows([row["sample_id"]])[0]]
            _, turn = turned(image, asked_orientation(recipe.data.plane))
            np.testing.assert_array_equal(turn.apply(truth), stored)
