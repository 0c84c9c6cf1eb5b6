import io
from dataclasses import replace

import numpy as np
import pytest

from medloom.errors import BundleError, DataError, DecodeError, InputError, MedloomError, NotFiniteError
from medloom.imaging import Budget, Image
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


def test_a_path_gives_what_its_bytes_give(make_predictor, tmp_path):
    pixels = _with_square(40, 40)
    (tmp_path / "ä b.npy").write_bytes(_npy(pixels))
    predictor = make_predictor()
    expected = predictor.predict(pixels).probabilities
    batch = predictor.predict_batch([tmp_path / "ä b.npy", str(tmp_path / "ä b.npy"), pixels])
    for found in (predictor.predict(tmp_path / "ä b.npy"), predictor.predict(str(tmp_path / "ä b.npy")), *batch):
        np.testing.assert_array_equal(found.probabilities, expected)


def test_a_path_may_name_a_larger_file_than_bytes_may_be_unless_a_budget_is_given(make_predictor, tmp_path):
    pixels = np.zeros((3000, 3000, 3), np.uint8)
    (tmp_path / "large.npy").write_bytes(_npy(pixels))
    predictor = make_predictor()
    assert predictor.predict(tmp_path / "large.npy").mask.shape == (3000, 3000)
    for refused in (predictor, replace(predictor, budget=Budget(max_pixels=1000))):
        image = _npy(pixels) if refused is predictor else tmp_path / "large.npy"
        with pytest.raises(DecodeError, match="too_large"):
            refused.predict(image)


def test_a_path_without_an_image_is_refused(make_predictor, tmp_path):
    for path in (tmp_path / "none.png", "", "data:image/png;base64,AAAA"):
        with pytest.raises(InputError, match=r"path of one image|path is empty"):
            make_predictor().predict(path)
    with pytest.raises(DataError, match="no DICOM files"):
        make_predictor().predict(tmp_path)


BROKEN = {
    "NaN": np.full((8, 8, 3), np.nan),
    "one NaN": np.where(np.arange(192).reshape(8, 8, 3) == 100, np.nan, 1.0).astype(np.float32),
    "infinite": np.full((8, 8, 3), np.inf, np.float16),
    "beyond float32": np.full((8, 8, 3), [-1e300, 0, 1e300]),
    "text": np.full((8, 8, 3), "a"),
    "objects": np.full((8, 8, 3), None),
    "complex": np.zeros((8, 8, 3), complex),
    "empty": np.zeros((0, 8, 3)),
    "four axes": np.zeros((2, 8, 8, 3)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_pixels_that_make_no_sense_are_the_callers_mistake_not_the_models(make_predictor, name):
    for predictor in (make_predictor(), make_predictor(preprocess={"window": (0.0, 1.0)})):
        with pytest.raises(InputError, match=r"expected|takes"):
            predictor.predict(BROKEN[name])
        if BROKEN[name].ndim == 3:
            with pytest.raises(InputError, match="expected"):
                predictor.predict(Image(BROKEN[name], "npy"))


def test_an_answer_of_another_shape_is_refused(make_predictor):
    class Other:
        name = "other"

        def run(self, batch_nchw, table_nf=None):
            return np.zeros((len(batch_nchw), 2, 5, 5), np.float32)

    with pytest.raises(BundleError, match=r"\(1, 2, 5, 5\); expected \(1, 1, 32, 32\)"):
        make_predictor(Other()).predict(_with_square(8, 8))


def test_a_grey_image_needs_no_channel_axis(make_predictor):
    assert make_predictor(channels=("grey",)).predict(np.ones((20, 30), np.uint8)).mask.shape == (20, 30)


def test_a_batch_of_different_sizes_gives_what_single_images_give_in_one_call(make_predictor):
    images = [_with_square(40, 40), _with_square(20, 64), _with_square(32, 32)]
    predictor = make_predictor()
    batch = predictor.predict_batch(images)
    assert predictor.runtime.batches == [3]
    for image, found in zip(images, batch, strict=True):
        np.testing.assert_array_equal(found.probabilities, predictor.predict(image).probabilities)


def test_one_bad_image_does_not_lose_a_batch(make_predictor, tmp_path):
    predictor = make_predictor()
    good, nan = _with_square(40, 40), np.full((8, 8, 3), np.nan)
    given = [good, b"no image", tmp_path / "none.png", nan, np.zeros((4, 4)), _npy(good)]
    found = predictor.predict_batch(given)
    assert [type(one) for one in found[1:5]] == [DecodeError, InputError, InputError, InputError]
    assert predictor.runtime.batches == [2]
    for one in (found[0], found[5]):
        np.testing.assert_array_equal(one.probabilities, predictor.predict(good).probabilities)
    for image, error in zip(given[1:5], found[1:5], strict=True):
        with pytest.raises(type(error)) as raised:
            predictor.predict(image)
        assert str(raised.value) == str(error)


def test_a_batch_raises_for_one_bad_image_where_it_is_asked_to(make_predictor):
    with pytest.raises(DecodeError):
        make_predictor().predict_batch([_with_square(40, 40), b"no image"], on_error="raise")


def test_a_batch_of_nothing_but_bad_images_gives_their_errors(make_predictor):
    predictor = make_predictor()
    assert all(isinstance(one, DecodeError) for one in predictor.predict_batch([b"", b"no image"]))
    assert predictor.runtime.batches == []


def test_an_image_for_which_the_network_gives_no_number_does_not_lose_a_batch(make_predictor):
    class Bright:
        name = "bright"

        def run(self, batch_nchw, table_nf=None):
            largest = batch_nchw.max(axis=(1, 2, 3))
            answer = np.where(largest > 1e30, np.nan, np.float32(0.5)).astype(np.float32)
            return np.broadcast_to(answer[:, None, None, None], (len(batch_nchw), 1, *batch_nchw.shape[2:]))

    predictor = make_predictor(Bright())
    good, bad = np.ones((32, 32, 3), np.float32), np.full((32, 32, 3), 1e38, np.float32)
    found = predictor.predict_batch([good, bad, good])
    assert isinstance(found[1], NotFiniteError)
    assert [one.area_px for one in (found[0], found[2])] == [32 * 32] * 2
    with pytest.raises(NotFiniteError):
        predictor.predict_batch([good, bad], on_error="raise")


def test_metadata_of_a_batch_are_one_row_for_each_image(make_predictor):
    with pytest.raises(InputError, match="1 rows of metadata for 2 images"):
        make_predictor().predict_batch([_with_square(8, 8)] * 2, [{}])


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
