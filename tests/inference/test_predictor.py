import io

import numpy as np
import pytest

from medloom.errors import DecodeError, InputError, MedloomError
from medloom.imaging import Image
from medloom.inference import MaskPoint


def _npy(pixels):
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _with_square(height, width, channels=3):
    pixels = np.zeros((height, width, channels), np.float32)
    pixels[height // 4 : height // 2, width // 2 : width * 3 // 4] = 1.0
    return pixels


@pytest.mark.parametrize("shape", [(32, 32), (50, 40), (17, 90), (1, 1)])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_prediction_has_the_geometry_of_the_image_that_came_in(make_predictor, shape, fit):
    prediction = make_predictor(preprocess={"fit": fit}).predict(_with_square(*shape))
    assert prediction.mask.shape == shape
    assert prediction.probabilities.shape == (1, *shape)
    assert prediction.mask.dtype == np.uint8
    assert prediction.probabilities.dtype == np.float32


def test_foreground_is_found_where_it_is_in_an_image_of_another_size(make_predictor):
    pixels = _with_square(96, 64)
    mask = make_predictor().predict(pixels).mask
    truth = pixels[..., 0] > 0
    assert 2 * (mask.astype(bool) & truth).sum() / (mask.sum() + truth.sum()) > 0.95


def test_bytes_image_and_array_give_the_same(make_predictor):
    pixels = _with_square(40, 40)
    predictor = make_predictor()
    answers = [predictor.predict(one) for one in (_npy(pixels), Image(pixels, "npy"), pixels)]
    for other in answers[1:]:
        np.testing.assert_array_equal(other.probabilities, answers[0].probabilities)
        np.testing.assert_array_equal(other.mask, answers[0].mask)


def test_a_grey_image_needs_no_channel_axis(make_predictor):
    assert make_predictor(channels=("grey",)).predict(np.ones((20, 30), np.uint8)).mask.shape == (20, 30)


def test_a_batch_of_different_sizes_gives_what_single_images_give_in_one_call(make_predictor):
    images = [_with_square(40, 40), _with_square(20, 64), _with_square(32, 32)]
    predictor = make_predictor()
    batch = predictor.predict_batch(images)
    assert predictor.runtime.batches == [3]
    for image, found in zip(images, batch, strict=True):
        np.testing.assert_array_equal(found.probabilities, predictor.predict(image).probabilities)


def test_an_empty_batch_gives_nothing(make_predictor):
    assert make_predictor().predict_batch([]) == []


def test_with_two_views_the_prediction_of_the_mirror_image_is_the_mirrored_prediction(make_predictor):
    class Slanted:
        name = "slanted"

        def run(self, batch_nchw, table_nf=None):
            ramp = np.linspace(0, 1, batch_nchw.shape[-1], dtype=np.float32)
            return np.clip(batch_nchw[:, :1] * ramp, 0, 1)

    pixels = _with_square(32, 32)
    plain, both = make_predictor(Slanted()), make_predictor(Slanted(), views=2)
    mirrored = both.predict(pixels[:, ::-1]).probabilities[..., ::-1]
    np.testing.assert_allclose(mirrored, both.predict(pixels).probabilities, atol=1e-6)
    assert (
        abs(plain.predict(pixels[:, ::-1]).probabilities[..., ::-1] - plain.predict(pixels).probabilities).max() > 0.1
    )


def test_area_in_mm2_follows_the_spacing_and_is_unknown_without(make_predictor):
    pixels = _with_square(32, 32)
    predictor = make_predictor()
    known = predictor.predict(Image(pixels, "tiff", spacing_mm=(0.5, 2.5)))
    assert known.area_px == 64
    assert known.area_mm2 == pytest.approx(64 * 1.25)
    assert predictor.predict(pixels).area_mm2 is None
    assert predictor.predict(Image(pixels, "dicom", spacing_mm=(1e200, 1e200))).area_mm2 is None


def test_small_regions_leave_the_mask_but_not_the_probability(make_predictor):
    prediction = make_predictor(point=MaskPoint(0.5, 65)).predict(_with_square(32, 32))
    assert not prediction.has_foreground
    assert prediction.area_px == 0
    assert prediction.probability == 1.0


def test_a_constant_image_gives_a_finite_answer(make_predictor):
    assert np.isfinite(make_predictor().predict(np.full((20, 20, 3), 7, np.uint8)).probability)


def test_wrong_channels_name_what_came_and_what_is_needed(make_predictor):
    with pytest.raises(InputError, match="1 channel; this model takes 3: a, b, c"):
        make_predictor().predict(np.zeros((8, 8), np.uint8))


def test_bytes_that_are_no_image_are_refused(make_predictor):
    with pytest.raises(DecodeError):
        make_predictor().predict(b"not an image")


def test_a_probability_that_is_not_finite_stops(make_predictor):
    class Broken:
        name = "broken"

        def run(self, batch_nchw, table_nf=None):
            return np.full_like(batch_nchw[:, :1], np.nan)

    with pytest.raises(MedloomError, match="not finite"):
        make_predictor(Broken()).predict(_with_square(8, 8))


def test_another_operating_point_leaves_the_first_predictor_alone(make_predictor):
    predictor = make_predictor()
    strict = predictor.at(MaskPoint(0.9, 7))
    assert strict.predict(_with_square(32, 32)).point == MaskPoint(0.9, 7)
    assert predictor.point == MaskPoint(0.5, 0)
