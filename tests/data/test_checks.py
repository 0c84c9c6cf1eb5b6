"""What is wrong with a file is said in full, with its name."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from medloom.data.alignment import Alignment, read_mask
from medloom.data.assembly import assemble, read_sample_image
from medloom.data.checks import ClassMap, UnfitError, check_quarantine, mask_classes
from medloom.data.page_reader import PageReader
from medloom.errors import DataError
from medloom.imaging import Image, decode
from medloom.transforms import Preprocess

BINARY = {"background": 0, "lesion": 255}


def tiff(pixels) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32])
def test_classes_are_numbered_in_the_order_of_the_recipe(dtype):
    values = {"background": 4, "edema": 0, "core": 2}
    pixels = np.random.default_rng(0).choice([0, 2, 4], (9, 7)).astype(dtype)
    expected = np.select([pixels == 4, pixels == 0, pixels == 2], [0, 1, 2])
    found = ClassMap(values)(pixels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("pixels", "named"), [([[0, 1]], "1"), ([[255, 254]], "254"), ([[0.5, 0.0]], "0.5")])
def test_a_value_of_no_class_is_named(pixels, named):
    with pytest.raises(UnfitError, match=rf"values {named};.*0 \(background\), 255 \(lesion\)"):
        ClassMap(BINARY)(np.array(pixels))


def test_a_16_bit_value_is_not_taken_for_its_low_byte():
    with pytest.raises(UnfitError, match="values 256"):
        ClassMap(BINARY)(np.array([[0, 256]], np.uint16))


def test_a_mask_saved_as_jpeg_is_refused_for_its_values():
    stream = io.BytesIO()
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 9:23] = 255
    Pillow.fromarray(mask).save(stream, "jpeg", quality=80)
    with pytest.raises(UnfitError, match=r"and .* more"):
        mask_classes(decode(stream.getvalue()), ClassMap(BINARY))


def test_a_mask_saved_as_grey_rgb_is_accepted_and_one_in_colour_is_not():
    mask = np.zeros((16, 16, 3), np.uint8)
    mask[3:5, 3:5] = 255
    assert mask_classes(decode(tiff(mask)), ClassMap(BINARY)).sum() == 4
    mask[9, 9, 0] = 255
    with pytest.raises(UnfitError, match="channels that differ"):
        mask_classes(decode(tiff(mask)), ClassMap(BINARY))


CHANNELS = ("t1", "flair")


def test_one_file_for_each_channel_makes_one_image():
    files = {"a": tiff(np.full((8, 8), 3, np.uint8)), "b": tiff(np.full((8, 8), 9, np.uint8))}
    image = read_sample_image(Alignment(PageReader(files.__getitem__)), ["a", "b"], CHANNELS)
    assert image.pixels[0, 0].tolist() == [3, 9]
    assert read_sample_image(Alignment(PageReader(files.__getitem__)), ["", "b"], CHANNELS).pixels[0, 0].tolist() == [
        0,
        9,
    ]


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (np.zeros((8, 9), np.uint8), "channel flair is 8x9"),
        (np.zeros((8, 8), np.uint16), "channel flair is uint16"),
        (np.zeros((8, 8, 3), np.uint8), "3 planes"),
    ],
)
def test_channels_that_do_not_fit_together_are_named(other, match):
    files = {"a": tiff(np.zeros((8, 8), np.uint8)), "b": tiff(other)}
    with pytest.raises(DataError, match=match):
        read_sample_image(Alignment(PageReader(files.__getitem__)), ["a", "b"], CHANNELS)


def test_the_damaged_one_of_several_channel_files_is_named():
    files = {"a": tiff(np.zeros((8, 8), np.uint8)), "b": b"II*\0 not really"}
    with pytest.raises(DataError, match=r"^b: "):
        read_sample_image(Alignment(PageReader(files.__getitem__)), ["a", "b"], CHANNELS)


def test_a_wrong_number_of_channels_says_which_were_expected():
    image = decode(tiff(np.zeros((8, 8), np.uint8)))
    with pytest.raises(UnfitError, match=r"image has 1 channel; the recipe's data\.channels has 2: t1, flair"):
        assemble([image], CHANNELS, Preprocess())


def test_a_file_that_is_gone_is_named_without_its_folder(tmp_path):
    def read(name):
        return (tmp_path / name).read_bytes()

    with pytest.raises(DataError, match=r"mask\.tif: No such file") as caught:
        read_mask(Alignment(PageReader(read)), ["mask.tif"], ClassMap(BINARY), None, Image(np.zeros((8, 8, 1)), "png"))
    assert str(tmp_path) not in str(caught.value)


def test_fail_names_every_problem_and_quarantine_has_a_limit():
    problems = ["a: bad", "b: bad"]
    with pytest.raises(DataError) as caught:
        check_quarantine(problems, 2, 1000, "fail", 0.01)
    assert caught.value.problems == tuple(problems)
    check_quarantine(problems, 10, 1000, "quarantine", 0.01)
    with pytest.raises(DataError, match="11 of 1,000"):
        check_quarantine(problems, 11, 1000, "quarantine", 0.01)
