"""The first class of a mask is the background: its place survives every way that a recipe takes."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.data import open_source, preparation, prepare
from medloom.data.store import PixelStore
from medloom.errors import RecipeError
from medloom.imaging import encode_png
from medloom.packaging import read_bundle
from medloom.pipeline.elsewhere import recipe_for
from medloom.pipeline.finished import _recipe_hash
from medloom.pipeline.runs import Run
from medloom.pipeline.starting import loaded_recipe
from medloom.recipe import MasksRecipe, Recipe
from medloom.transforms import Preprocess
from support.bundles import tiny_recipe, write_tiny_bundle

BACKGROUND_FIRST = {"nothing": 0, "liver": 1, "Aorta": 2}
LAST = dict(reversed(BACKGROUND_FIRST.items()))


def recipe(values=BACKGROUND_FIRST) -> MasksRecipe:
    plain = {**tiny_recipe(channels=["grey"]).plain(), "target": {"mask_values": values}}
    return MasksRecipe.model_validate(plain)


def names(made: Recipe) -> tuple[str, ...]:
    return made.predicts().names


def test_settings_on_a_recipe_from_python_leave_the_classes_in_order():
    assert names(loaded_recipe(recipe(), ["train.epochs=3"])) == tuple(BACKGROUND_FIRST)
    assert names(loaded_recipe(recipe(), preset="quick")) == tuple(BACKGROUND_FIRST)


def test_a_validation_elsewhere_reads_masks_with_the_classes_in_order(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "model.tar.gz", recipe())
    with read_bundle(bundle) as opened:
        assert names(recipe_for(opened.manifest, None, ["data.mask=gt/{sample}.png"])) == tuple(BACKGROUND_FIRST)


@pytest.fixture
def pictures(tmp_path):
    """Twelve images whose masks hold one pixel in ten of each class but the background."""
    for number in range(12):
        rng = np.random.default_rng(number)
        for folder, pixels in (
            ("images", rng.integers(0, 255, (32, 32), dtype=np.uint8)),
            ("masks", rng.choice(np.arange(3, dtype=np.uint8), (32, 32), p=(0.8, 0.1, 0.1))),
        ):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / folder / f"{number}.png").write_bytes(encode_png(pixels))
    return tmp_path / "set"


def stored(made: Recipe, pictures, folder) -> PixelStore:
    with open_source(pictures) as source:
        work = Preprocess.of(made.preprocess)
        return prepare(made, source, folder / "run", folder / "cache", workers=1, preprocess=work).store


def test_pixels_that_are_stored_for_one_order_are_not_taken_for_another(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})
    first, turned = (stored(recipe(values), pictures, tmp_path) for values in (BACKGROUND_FIRST, LAST))
    assert first.key != turned.key
    np.testing.assert_array_equal(np.asarray(turned.masks), 2 - np.asarray(first.masks))


def test_a_finished_run_is_not_finished_with_the_classes_in_another_order(tmp_path):
    assert len({_recipe_hash(Run(tmp_path, recipe(values))) for values in (BACKGROUND_FIRST, LAST)}) == 2


def test_a_run_that_has_begun_to_train_is_not_taken_up_with_the_classes_in_another_order(tmp_path):
    Run(tmp_path, recipe()).save()
    (tmp_path / "checkpoints").mkdir()
    assert names(Run.planned(recipe(), tmp_path).recipe) == tuple(BACKGROUND_FIRST)
    with pytest.raises(RecipeError, match=r"target\.mask_values: is \['Aorta', 'liver', 'nothing'\], was \['nothing'"):
        Run.planned(recipe(LAST), tmp_path)
