"""``load`` with a kind: what a type checker is told is what comes, and another bundle is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

import medloom
from medloom.errors import UserError
from medloom.imaging import Volume
from support.bundles import tiny_label_recipe, tiny_recipe, write_tiny_bundle, write_tiny_label_bundle

sys.path.insert(0, str(Path(__file__).parent))  # as where somebody's script stands
import typed_user

PIXELS = np.full((20, 24), 200, np.uint8)
VOLUME = Volume(np.stack([PIXELS] * 3), (1.0, 1.0, 1.0), np.eye(4), "nifti")


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    recipe = tiny_recipe(channels=("grey",), preprocess={"normalise": {"method": "none"}})
    return write_tiny_bundle(tmp_path_factory.mktemp("masks") / "model.tar.gz", recipe)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return write_tiny_label_bundle(tmp_path_factory.mktemp("labels") / "model.tar.gz", tiny_label_recipe())


def test_the_script_that_type_checks_runs(masks, labels):
    assert typed_user.segment(masks, PIXELS, VOLUME) == (PIXELS.size, VOLUME.voxels.size)
    assert typed_user.classify(labels, PIXELS, VOLUME) == ("malignant",)
    assert {typed_user.whatever(path, PIXELS).get("decision") for path in (masks, labels)} == {None, "malignant"}


def test_a_bundle_that_predicts_something_else_is_refused_with_both_kinds(masks, labels):
    with pytest.raises(
        UserError, match=r"predicts binary, one of two classes .*; masks was asked for, a class for each"
    ):
        medloom.load(labels, kind="masks")
    with pytest.raises(UserError, match="predicts masks"):
        medloom.load(masks, kind="regression")
    with pytest.raises(UserError, match="there is no kind 'mask'; expected one of masks, "):
        medloom.load(masks, kind="mask")
