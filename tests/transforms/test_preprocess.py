import io
import json

import numpy as np
import pytest
from PIL import Image

from medloom.errors import InputError
from medloom.imaging import decode, encode_png
from medloom.recipe import load_recipe
from medloom.transforms import Normalise, Preprocess


def make(size=(32, 48), fit="stretch", **normalise):
    return Preprocess(size=size, fit=fit, normalise=Normalise(**normalise))


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    picture = rng.integers(1, 256, (64, 96, 3)).astype(np.uint8)
    picture[:10] = 0
    return picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resizing_keeps_the_narrow_dtype_and_agrees_with_pillow(picture, dtype):
    pixels = picture.astype(dtype)
    resized = make().resize_image(pixels)
    assert resized.dtype == dtype
    assert resized.shape == (3, 32, 48)
    expected = np.asarray(Image.fromarray(picture).resize((48, 32), Image.Resampling.BILINEAR))
    assert np.abs(resized.astype(float) - np.moveaxis(expected, -1, 0)).max() <= 1.0


def test_an_image_of_the_right_size_is_not_touched(picture):
    assert np.array_equal(make((64, 96)).resize_image(picture), np.moveaxis(picture, -1, 0))


def test_padding_keeps_the_aspect_ratio_and_restoring_undoes_it():
    pixels = np.full((40, 80, 1), 200, np.uint8)
    preprocess = make((64, 64), fit="pad")
    resized = preprocess.resize_image(pixels)
    assert (resized[0, 16:48] == 200).all()
    assert (resized[0, :16] == 0).all()
    restored = preprocess.restore((resized / 200).astype(np.float32), 40, 80)
    assert restored.shape == (1, 40, 80)
    np.testing.assert_allclose(restored, 1.0, atol=1e-6)


def test_mask_resizing_invents_no_class():
    mask = np.random.default_rng(1).choice([0, 3, 7], (50, 70)).astype(np.uint8)
    assert set(np.unique(make().resize_mask(mask))) <= {0, 3, 7}


def test_zscore_gives_mean_zero_and_deviation_one_inside_the_head(picture):
    normalised = make((64, 96))(picture)
    inside = np.moveaxis(picture, -1, 0) > 0
    for plane, head in zip(normalised, inside, strict=True):
        assert plane[head].mean() == pytest.approx(0.0, abs=1e-4)
        assert plane[head].std() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("nonzero", [True, False])
def test_the_shortcut_for_8_bit_gives_what_float_gives(picture, nonzero):
    planes = np.moveaxis(picture[:61, :93], -1, 0)
    preprocess = make((61, 93), nonzero=nonzero)
    short = preprocess.normalisation(planes)
    plain = preprocess.normalisation(planes.astype(np.float32))
    np.testing.assert_allclose(short, plain, rtol=1e-6)


def test_percentiles_map_to_zero_and_one(picture):
    preprocess = make((64, 96), method="percentile", nonzero=False, percentiles=(5, 95))
    expected = np.percentile(picture[..., 0], (5, 95))
    offset, scale = preprocess.normalisation(np.moveaxis(picture, -1, 0))
    assert (expected[0] - offset[0]) * scale[0] == pytest.approx(0.0)
    assert (expected[1] - offset[0]) * scale[0] == pytest.approx(1.0)


def test_minmax_of_all_channels_together_spans_zero_to_one(picture):
    normalised = make((64, 96), method="minmax", nonzero=False, per_channel=False)(picture)
    assert (normalised.min(), normalised.max()) == (0.0, 1.0)


@pytest.mark.parametrize("method", ["zscore", "percentile", "minmax", "none"])
@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_constant_image_stays_finite(method, value):
    normalised = make(method=method)(np.full((20, 20, 2), value, np.uint8))
    assert np.isfinite(normalised).all()


@pytest.mark.parametrize("per_channel", [True, False])
def test_an_image_without_a_value_above_zero_is_normalised_by_what_is_above_its_least(per_channel):
    pixels = np.random.default_rng(3).uniform(-1000, -300, (32, 48, 2)).astype(np.float32)
    pixels[:16] = -1024
    normalised = make(per_channel=per_channel)(pixels)
    inside = normalised[:, 16:]
    assert inside.mean() == pytest.approx(0.0, abs=1e-4)
    assert inside.std() == pytest.approx(1.0, abs=1e-3)
    assert normalised.min() < 0 < normalised.max()


@pytest.mark.parametrize("method", ["zscore", "percentile", "minmax"])
def test_one_value_above_zero_is_enough_for_statistics_above_zero(method):
    pixels = np.full((32, 48, 1), -500, np.float32)
    pixels[0, :2, 0] = (10, 30)
    offset, scale = make(method=method).normalisation(np.moveaxis(pixels, -1, 0))
    chosen = np.array([10.0, 30.0])
    low = {"zscore": chosen.mean(), "percentile": np.percentile(chosen, 1), "minmax": 10.0}[method]
    assert offset[0] == pytest.approx(low)
    assert scale[0] > 0


def test_a_16_bit_image_is_not_cut_to_8_bit():
    ramp = np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48, 1)
    assert len(np.unique(make().resize_image(ramp))) == ramp.size


def test_the_noise_of_a_nearly_blank_image_is_not_blown_up():
    noise = np.random.default_rng(0).integers(0, 3, (32, 48, 1)).astype(np.uint8)
    assert np.abs(make(min_spread=5.0)(noise)).max() < 0.5
    assert np.abs(make()(noise)).max() > 0.9


def test_the_smallest_spread_leaves_an_ordinary_image_alone(picture):
    assert np.array_equal(make(min_spread=5.0)(picture), make()(picture))


@pytest.mark.parametrize("mode", ["grey", "rgb"])
def test_colours_become_what_pillow_makes_of_them(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    image = Image.fromarray(pixels)
    expected = np.asarray(image.convert("L" if mode == "grey" else "RGB")).reshape(9, 7, -1)
    preprocess = Preprocess(colour=mode)
    for given in (pixels, np.dstack([pixels, np.full((9, 7), 255, np.uint8)])):
        assert np.abs(preprocess.to_colour(given).astype(int) - expected).max() <= 1
    grey = pixels[..., :1]
    assert (preprocess.to_colour(grey) == grey).all()
    with pytest.raises(InputError, match="5 channels"):
        preprocess.to_colour(np.zeros((4, 4, 5), np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("mode", ["grey", "rgb"])
def test_colours_keep_their_dtype(mode, dtype):
    preprocess = Preprocess(colour=mode)
    for channels in (1, 3):
        assert preprocess.to_colour(np.ones((4, 4, channels), dtype)).dtype == dtype


def test_imagenet_normalisation_is_that_of_torchvision():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    preprocess = Preprocess(size=(16, 16), normalise=Normalise("imagenet"))
    expected = (pixels / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(preprocess(pixels), expected.transpose(2, 0, 1), atol=1e-5)


def test_the_network_sees_the_middle_of_the_resized_image():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 1), np.uint8)
    whole = Preprocess(size=(32, 40), normalise=Normalise("none"))(pixels)
    cropped = Preprocess(size=(32, 40), crop=(16, 20), normalise=Normalise("none"))(pixels)
    np.testing.assert_array_equal(cropped, whole[:, 8:24, 10:30])


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_an_image_decoded_at_a_fraction_gives_the_pixels_of_the_whole_one(fit, orientation):
    """Also where the sides are no multiples of the fraction, and the rest lies at the other side."""
    rough = np.random.default_rng(0).integers(50, 200, (20, 30)).astype(np.uint8)
    smooth = Image.fromarray(rough).resize((403, 299), Image.Resampling.BICUBIC)
    exif, stream = Image.Exif(), io.BytesIO()
    exif[274] = orientation
    smooth.save(stream, "JPEG", quality=95, exif=exif)
    preprocess = make((40, 48), fit=fit)
    image = decode(stream.getvalue(), at_least=preprocess.at_least)
    assert image.reduction is not None
    found, expected = preprocess.resize_image(image), preprocess.resize_image(decode(stream.getvalue()))
    assert np.abs(found.astype(float) - expected).mean() < 0.7
    assert np.array_equal(found == 0, expected == 0) or fit == "stretch"


@pytest.mark.parametrize(
    "given",
    [
        Preprocess(),
        Preprocess((32, 48), "pad", (40.0, 400.0), "grey", (16, 16), Normalise("percentile", False, False, (5, 95), 2)),
        Preprocess(window="file", normalise=Normalise("imagenet")),
    ],
)
def test_plain_types_go_through_json_and_come_back(given):
    assert Preprocess.from_plain(json.loads(json.dumps(given.plain()))) == given


@pytest.mark.parametrize(
    "wrong", [{"size": [0, 0]}, {"fit": "other"}, {"crop": [64, 64], "size": [32, 32]}, {"cut": 1}]
)
def test_what_no_recipe_may_say_is_not_taken_back(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Preprocess.from_plain({**Preprocess().plain(), **wrong})


def test_a_recipe_section_says_the_same_in_plain_types():
    section = load_recipe("chest-xray", ["preprocess.crop=[64,64]"]).preprocess
    assert Preprocess.of(section).plain() == section.model_dump(mode="json")


def test_the_channels_are_counted_after_the_conversion():
    grey = decode(encode_png(np.zeros((4, 6), np.uint8)))
    assert Preprocess(colour="rgb").to_input(grey, ("red", "green", "blue")).pixels.shape == (4, 6, 3)
    with pytest.raises(InputError, match="1 channel; this model takes 2: a, b"):
        Preprocess().to_input(grey, ("a", "b"))


def test_values_that_are_cut_to_a_window_come_from_the_whole_image():
    assert make().at_least == (32, 48)
    assert Preprocess(size=(32, 48), window=(40, 400)).at_least is None
