"""With a spacing, the network sees everything at one scale, and answers lie in the image's own grid."""

import numpy as np
import pytest

from medloom.errors import InputError, RecipeError
from medloom.imaging import Image
from medloom.packaging.golden import make_golden
from medloom.recipe import parse_recipe
from medloom.transforms import Preprocess

SPACING = {"spacing": (1.0, 2.0), "fit": "pad"}


class Grey:
    """Answers with the image."""

    name = "grey"

    def run(self, batch_nchw, table_nf=None):
        return np.clip(batch_nchw[:, -1:], 0, 1)


@pytest.fixture
def predictor(make_predictor):
    return make_predictor(Grey(), size=(64, 48), channels=("grey",), orientation="any", preprocess=SPACING)


def disk(spacing_mm, size_mm=(48.0, 64.0), radius_mm=14.0, directions=("L", "P")):
    """A disk around the middle, sampled at a spacing of rows and columns."""
    rows, columns = (round(size / mm) for size, mm in zip(size_mm, spacing_mm, strict=True))
    y, x = np.mgrid[:rows, :columns]
    off = ((y + 0.5) * spacing_mm[0] - size_mm[0] / 2) ** 2 + ((x + 0.5) * spacing_mm[1] - size_mm[1] / 2) ** 2
    return Image((off < radius_mm**2).astype(np.float32)[..., None], "dicom", spacing_mm, directions=directions)


@pytest.mark.parametrize("spacing_mm", [(1.0, 2.0), (0.5, 0.5), (2.0, 1.0), (0.4, 1.6), (3.0, 2.0)])
def test_the_same_anatomy_has_the_same_size_and_the_answer_lies_on_the_image(spacing_mm, predictor):
    image = disk(spacing_mm)
    seen = predictor.prepare(image).network_input[0]
    assert seen.shape == (64, 48)
    assert seen.sum() * 1.0 * 2.0 == pytest.approx(np.pi * 14**2, rel=0.06)
    assert not seen[:8].any()  # 48 mm of 64 rows: padded above and below
    found = predictor.predict(image)
    assert found.mask.shape == image.size
    assert (found.mask != image.pixels[..., 0]).sum() * np.prod(spacing_mm) < 0.12 * np.pi * 14**2
    assert found.area_mm2 == pytest.approx(np.pi * 14**2, rel=0.08)


def test_the_spacing_is_that_of_the_image_as_it_is_looked_at(predictor):
    upright = disk((0.5, 2.0))
    turned = Image(upright.pixels.swapaxes(0, 1).copy(), "dicom", (2.0, 0.5), directions=("P", "L"))
    np.testing.assert_array_equal(predictor.prepare(turned).network_input, predictor.prepare(upright).network_input)
    np.testing.assert_array_equal(predictor.predict(turned).mask.T, predictor.predict(upright).mask)


def test_what_does_not_fit_or_does_not_say_is_refused(predictor):
    with pytest.raises(
        InputError, match=r"of 100x64 pixels of 1x1 mm takes 100x32 of 1x2 mm .* the network sees 64x48"
    ):
        predictor.predict(disk((1.0, 1.0), size_mm=(100.0, 64.0)))
    with pytest.raises(InputError, match="does not say how large its pixels are; they are to become 1x2 mm"):
        predictor.predict(np.zeros((20, 20), np.uint8))


def test_masks_are_resized_as_their_images():
    steps = Preprocess(size=(64, 48), **SPACING)
    image = disk((0.5, 0.5))
    small = steps.resize_mask(image.pixels[..., 0].astype(np.uint8), image.spacing_mm)
    assert np.abs(small - steps.resize_image(image)[0]).mean() < 0.02


def test_the_golden_example_counts_as_one_of_that_spacing(predictor):
    golden = make_golden(predictor)
    assert set(golden) == {"golden/input.npy", "golden/probabilities.npy", "golden/mask.png"}


def test_a_spacing_needs_padding():
    with pytest.raises(RecipeError, match=r"fit=stretch would undo; set preprocess\.fit=pad"):
        parse_recipe("name: a\npreprocess: {spacing: [1, 1]}\n")
    assert parse_recipe("name: a\npreprocess: {spacing: [1, 1], fit: pad}\n").preprocess.spacing == (1.0, 1.0)
