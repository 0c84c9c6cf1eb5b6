"""What the try-it page says and shows of how far an answer is to be trusted: images unlike the training, heat maps."""

from __future__ import annotations

import csv
import io

import nibabel
import numpy as np
import pytest
from PIL import Image

import medloom
from support import browser
from support.bundles import tiny_recipe, write_tiny_bundle
from support.dicoms import write_dicom
from support.fingerprints import picture, write_known_bundle
from support.visitor import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.executable() is None, reason="needs a browser: apt-get install chromium"),
]

FAR = "This image is far from those that the model learned from"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "masks": write_known_bundle(folder / "masks" / "model.tar.gz"),
        "classes": write_known_bundle(folder / "classes" / "model.tar.gz", "binary"),
        "bright": write_tiny_bundle(folder / "bright.tar.gz", tiny_recipe(channels=("grey",))),
    }


@pytest.fixture(scope="module")
def url(bundles):
    with serving(*(f"{name}={path}" for name, path in bundles.items())) as found:
        yield found


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A picture like those of the training, one unlike them, and volumes of the former with some of the latter."""
    folder = tmp_path_factory.mktemp("images")
    usual, strange = picture(900)[..., 0], np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    Image.fromarray(usual).save(folder / "usual.png")
    Image.fromarray(strange).save(folder / "strange.png")
    slices = [picture(901 + number)[..., 0] for number in range(6)]
    slices[2:4] = [strange, strange]
    nibabel.save(nibabel.Nifti1Image(np.stack(slices).T, np.diag([-1, -1, 2, 1])), folder / "volume.nii.gz")
    for number, plane in enumerate(slices):
        lies = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 2.0 * number]}
        more = {"PixelSpacing": [1, 1], "StudyInstanceUID": "1.2.9", "InstanceNumber": number + 1}
        write_dicom(folder / "series" / f"{number}.dcm", plane.astype(np.uint16), "Jane", number=number, **lies, **more)
    return folder


@pytest.mark.parametrize(("name", "kind"), [("masks", "masks"), ("classes", "binary")])
def test_an_image_unlike_the_training_is_flagged_said_aloud_and_exported(visit, bundles, images, name, kind):
    predictor = medloom.load(bundles[name], kind=kind)
    scores = [predictor.predict(images / file).novelty.score for file in ("usual.png", "strange.png")]
    visitor = visit()
    visitor.give(images / "usual.png", model=name)
    assert FAR not in visitor.text("#answer") + visitor.text("#say")
    visitor.give(images / "strange.png")
    assert FAR in visitor.text("#answer .callout")
    spoken = visitor.page.get_by_role("status").filter(has_text=FAR)
    assert spoken.get_attribute("aria-live") == "polite"
    assert ["far from training" in row[2] for row in visitor.cells("#list")] == [False, True]
    assert visitor.faults() == []
    rows = list(csv.DictReader(io.StringIO(visitor.download("Export as CSV").decode("utf-8-sig"))))
    assert [row["far from training"] for row in rows] == ["no", "yes"]
    assert [float(row["distance from training"]) for row in rows] == pytest.approx(scores, rel=0.01)
    assert scores[0] < 1 < scores[1]


@pytest.mark.parametrize("name", ["masks", "classes"])
def test_slices_unlike_the_training_are_named(visit, images, name):
    visitor = visit()
    visitor.give(images / "volume.nii.gz", model=name)
    assert "worth little there: slices 3 to 4." in visitor.text("#answer .callout")
    assert "slices 3 to 4" in visitor.text("#say")
    for key, said in (("Home", "of at most 1"), ("ArrowDown", "of at most 1"), ("ArrowDown", "which is far")):
        visitor.page.locator("#stage").press(key)
        if name == "classes":  # a volume of masks has one distance, that of its strangest slice
            assert said in visitor.text("#answer .facts")


def test_a_volume_shows_the_heat_map_of_the_slice_that_is_looked_at(visit, images):
    visitor = visit()
    visitor.give(images / "volume.nii.gz", model="bright")
    stage, trouble = visitor.page.locator("#stage"), visitor.page.locator("#trouble")
    for key in ("Home", "o"):
        stage.press(key)
    before = visitor.picture()
    with visitor.page.expect_response(lambda one: one.url.endswith("?page=0")):
        stage.press("h")
    visitor.page.locator("#scale").wait_for()
    assert not np.array_equal(visitor.picture(), before)
    with visitor.page.expect_response(lambda one: one.url.endswith("?page=1")):
        stage.press("ArrowDown")
    assert not trouble.is_visible()
    visitor.give(*sorted((images / "series").iterdir()), model="bright")
    assert "No heat map of a series" in visitor.text("#heat-why")
    assert not visitor.page.locator("#heat-tool").is_visible()
    assert visitor.page.is_checked("#show-mask")
    visitor.give(images / "series" / "1.dcm", model="bright")
    assert visitor.page.locator("#heat-tool").is_visible()
    assert not trouble.is_visible()
