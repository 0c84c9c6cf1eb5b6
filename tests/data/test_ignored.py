"""Pixels of masks that the recipe ignores: in no count, in no class, and in the store under an index of their own."""

import json

import numpy as np
import pytest
from PIL import Image

from medloom.data import open_source, prepare
from medloom.data.checks import ClassMap, UnfitError
from medloom.data.coverage import coverage_warnings
from medloom.data.kinds import KINDS
from medloom.errors import DataError, RecipeError
from medloom.recipe import parse_recipe
from medloom.targets import IGNORED
from medloom.transforms import Preprocess

THREE = {"background": 0, "liver": 1, "tumour": 2}
SIZE = 32
RECIPE = """
name: test
target: {kind: masks, mask_values: {background: 0, liver: 1, tumour: 2}}
data: {layout: image-mask, image: "images/{patient}/{sample}.png", mask: "masks/{patient}/{sample}.png", channels: [a]}
preprocess: {size: [32, 32], normalise: {method: none}}
"""


def truth_of(patient, number):
    truth = np.zeros((SIZE, SIZE), np.uint8)
    if number:
        truth[4:12, 4 : 8 + patient] = 1 + (patient + number) % 2
    return truth


def write(root, change, patients=6, palette=None):
    """Images of noise, three of a patient, with the masks that ``change`` makes of theirs."""
    for patient in range(patients):
        for number in range(3):
            for folder in ("images", "masks"):
                (root / folder / f"p{patient}").mkdir(parents=True, exist_ok=True)
            name = f"p{patient}/s{number}.png"
            noise = np.random.default_rng(10 * patient + number).integers(0, 255, (SIZE, SIZE), dtype=np.uint8)
            Image.fromarray(noise).save(root / "images" / name)
            mask = Image.fromarray(change(truth_of(patient, number), patient, number))
            if palette is not None:
                mask = Image.fromarray(np.asarray(mask), "P")
                mask.putpalette(palette)
            mask.save(root / "masks" / name)
    return root


def border(value):
    def change(truth, patient, number):
        truth[20:, : 8 + patient] = value
        return truth

    return change


def prepared(root, folder, *overrides):
    recipe = parse_recipe(RECIPE, list(overrides))
    with open_source(root) as source:
        return prepare(
            recipe, source, folder, folder / "cache", workers=1, preprocess=Preprocess.of(recipe.preprocess)
        )  # fmt: skip


def test_ignored_values_have_an_index_of_their_own():
    values = np.array([[0, 1, 2, 255, 254]], np.uint8)
    assert ClassMap(THREE, (254, 255))(values).tolist() == [[0, 1, 2, IGNORED, IGNORED]]
    assert ClassMap(THREE, (254, 255)).knows(values)
    assert not ClassMap(THREE, (255,)).knows(values)


@pytest.mark.parametrize("found", [[255], [254, 255], [65535], [255.0]])
def test_a_value_that_tools_write_for_no_truth_is_refused_with_the_key_that_takes_it(found):
    with pytest.raises(UnfitError, match=r"target\.ignore: \[?" + f"{found[0]:g}"):
        ClassMap(THREE)(np.array([[0, 1, *found]]))


@pytest.mark.parametrize("found", [[3], [3, 255], [254.5]])
def test_any_other_value_is_refused_as_ever(found):
    with pytest.raises(UnfitError, match="expected only") as caught:
        ClassMap(THREE)(np.array([[0, 1, *found]]))
    assert "target.ignore" not in str(caught.value)


@pytest.mark.parametrize("value", ["2", "[255,0]"])
def test_a_class_cannot_be_ignored(value):
    with pytest.raises(RecipeError, match="expected values of no class"):
        parse_recipe(RECIPE, [f"target.ignore={value}"])


@pytest.mark.parametrize("value", ["none", "-1", "[255, 70000]", "yes", "2.5"])
def test_a_wrong_value_is_named_in_one_line(value):
    with pytest.raises(RecipeError, match=r"^target\.ignore: ") as caught:
        parse_recipe(RECIPE, [f"target.ignore={value}"])
    assert str(caught.value).count("\n") == 0


def test_without_the_key_the_store_has_the_name_that_it_always_had():
    recipe = parse_recipe(RECIPE)
    assert KINDS["masks"].store_rules(recipe) == {"masks": THREE}
    one, two = (parse_recipe(RECIPE, [f"target.ignore={value}"]) for value in ("255", "[255, 255]"))
    assert KINDS["masks"].store_rules(one) == KINDS["masks"].store_rules(two) != KINDS["masks"].store_rules(recipe)


def test_ignored_pixels_are_stored_as_such_and_in_no_count(tmp_path):
    plain = prepared(write(tmp_path / "plain", lambda truth, *_: truth), tmp_path / "a")
    ignoring = prepared(write(tmp_path / "ignoring", border(255)), tmp_path / "b", "target.ignore=255")
    masks, known = np.asarray(ignoring.store.masks), np.asarray(plain.store.masks)
    assert (masks == IGNORED).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(np.where(masks == IGNORED, 0, masks), known)
    np.testing.assert_array_equal(ignoring.store.foreground_px, plain.store.foreground_px)
    columns = ["sample_id", "patient_id", "foreground_px", "split"]
    assert ignoring.catalogue[columns].equals(plain.catalogue[columns])
    assert ignoring.facts["counts"] == plain.facts["counts"]
    assert ignoring.facts["warnings"] == plain.facts["warnings"]


def test_without_the_key_every_such_mask_is_named(tmp_path):
    with pytest.raises(DataError, match=r"18 of 18") as caught:
        prepared(write(tmp_path / "set", border(255)), tmp_path / "a")
    assert "add target.ignore: 255 to the recipe" in str(caught.value)


def test_the_border_of_a_palette_is_ignored(tmp_path):
    palette = np.random.default_rng(0).integers(0, 255, 768).tolist()
    found = prepared(write(tmp_path / "set", border(255), palette=palette), tmp_path / "a", "target.ignore=255")
    assert (np.asarray(found.store.masks) == IGNORED).any(axis=(1, 2)).all()


def test_an_image_that_is_ignored_everywhere_is_set_aside_and_counted(tmp_path):
    def change(truth, patient, number):
        return np.full_like(truth, 255) if number == 2 and patient < 4 else border(255)(truth, patient, number)

    root = write(tmp_path / "set", change)
    for again in range(2):
        found = prepared(root, tmp_path / "a", "target.ignore=255")
        assert len(found.catalogue) == 14
        assert found.facts["set_aside"] == [{"reason": "ignored", "count": 4}]
        assert sum(warning.startswith("4 of 18 samples are set aside") for warning in found.facts["warnings"]) == 1
        assert len(found.set_aside) == 4
        assert found.facts["store"]["reused"] == bool(again)
    assert json.loads((tmp_path / "a/prepare.json").read_text())["used"] == 14


def test_an_image_whose_known_pixels_are_lost_to_resizing_is_set_aside(tmp_path):
    def change(truth, patient, number):
        if number == 2 and patient == 1:
            truth[:] = 255
            truth[0, 0] = 0  # of two by two pixels, the nearest is another
        return truth

    found = prepared(write(tmp_path / "set", change), tmp_path / "a", "target.ignore=255", "preprocess.size=[16, 16]")
    assert found.facts["set_aside"] == [{"reason": "ignored", "count": 1}]


def test_nothing_but_ignored_masks_is_refused(tmp_path):
    root = write(tmp_path / "set", lambda truth, *_: np.full_like(truth, 255))
    with pytest.raises(DataError, match="none of 18 samples can be used"):
        prepared(root, tmp_path / "a", "target.ignore=255")


def test_coverage_is_a_share_of_the_known_pixels(tmp_path):
    def mostly(truth, patient, number):
        truth[:12], truth[12:16], truth[16:] = 1, 0, 255
        return truth

    found = prepared(write(tmp_path / "set", mostly), tmp_path / "a", "target.ignore=255")
    said = coverage_warnings(found.catalogue, found.store, list(THREE))
    assert any("'tumour' is in none of 18 masks" in one for one in said)
    assert any("more than half of 18 of 18 images, 75% of" in one for one in said)
