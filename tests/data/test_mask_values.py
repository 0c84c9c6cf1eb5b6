"""What the pixels of a mask mean: palettes, transparency, and values that nearly are those of a class."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from medloom.data.checks import ClassMap, UnfitError, mask_classes
from medloom.imaging import Image, decode

THREE = {"background": 0, "liver": 1, "tumour": 2}
BINARY = {"background": 0, "lesion": 255}
LEVELS = np.random.default_rng(1).integers(0, 3, (9, 14), dtype=np.uint8)


def voc_colours():
    """The palette of Pascal VOC, which labelme and CVAT write."""
    colours = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for place in range(8):
            for channel in range(3):
                colours[index, channel] |= (index >> 3 * place + channel & 1) << 7 - place
    return colours


def saved(pixels, mode, kind="PNG", palette=None, **options):
    picture = Pillow.fromarray(pixels, mode) if palette is None else Pillow.fromarray(pixels, "P")
    if palette is not None:
        picture.putpalette(palette.ravel().tolist())
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return decode(stream.getvalue())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_indices_of_a_palette_of_colours_are_the_values(kind):
    image = saved(LEVELS, "P", kind, voc_colours())
    np.testing.assert_array_equal(mask_classes(image, ClassMap(THREE)), LEVELS)
    blank = saved(np.zeros_like(LEVELS), "P", kind, voc_colours())
    assert not mask_classes(blank, ClassMap(THREE)).any()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_of_few_bits_is_read_alike(bits):
    levels = LEVELS % min(2**bits, 4)
    image = saved(levels, "P", palette=voc_colours(), bits=bits)
    np.testing.assert_array_equal(mask_classes(image, ClassMap(THREE)), levels)


def test_a_transparent_background_of_a_palette_is_no_matter():
    image = saved(LEVELS, "P", palette=voc_colours(), transparency=0)
    assert image.pixels.shape[2] == 4
    np.testing.assert_array_equal(mask_classes(image, ClassMap(THREE)), LEVELS)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_of_a_palette_of_greys_the_greys_are_the_values_where_they_are_classes(kind):
    colours = np.repeat(np.array([0, 255] + [7] * 254, np.uint8)[:, None], 3, axis=1)
    image = saved(LEVELS % 2, "P", kind, colours)
    np.testing.assert_array_equal(mask_classes(image, ClassMap(BINARY)), LEVELS % 2)
    np.testing.assert_array_equal(mask_classes(image, ClassMap({"background": 0, "lesion": 1})), LEVELS % 2)
    with pytest.raises(UnfitError, match=r"255.*expected only 0 "):
        mask_classes(image, ClassMap({"background": 0, "lesion": 9}))


def test_greys_and_indices_that_are_both_classes_are_refused():
    colours = np.repeat(np.array([0, 2, 1] + [7] * 253, np.uint8)[:, None], 3, axis=1)
    with pytest.raises(UnfitError, match="both the greys"):
        mask_classes(saved(LEVELS, "P", palette=colours), ClassMap(THREE))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_transparency_is_dropped(mode):
    pixels = np.dstack([LEVELS] * (len(mode) - 1) + [np.full_like(LEVELS, 255)])
    np.testing.assert_array_equal(mask_classes(saved(pixels, mode), ClassMap(THREE)), LEVELS)


def test_an_opaque_transparency_of_16_bits_and_of_fractions_is_dropped():
    for opaque, dtype in ((65535, np.uint16), (1.0, np.float32)):
        pixels = np.dstack([LEVELS.astype(dtype), np.full(LEVELS.shape, opaque, dtype)])
        np.testing.assert_array_equal(mask_classes(Image(pixels, "tiff"), ClassMap(THREE)), LEVELS)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_transparency_that_says_what_the_values_say_is_dropped(mode):
    pixels = np.dstack([LEVELS] * (len(mode) - 1) + [(LEVELS > 0) * np.uint8(255)])
    np.testing.assert_array_equal(mask_classes(saved(pixels, mode), ClassMap(THREE)), LEVELS)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_mask_in_the_transparency_alone_is_refused(mode):
    pixels = np.dstack([np.zeros_like(LEVELS)] * (len(mode) - 1) + [(LEVELS > 0) * np.uint8(255)])
    with pytest.raises(UnfitError, match="transparent in"):
        mask_classes(saved(pixels, mode), ClassMap(THREE))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(np.float32(0.99999994), "0.99999994"), (np.float64(1) - 1e-12, "0.999999999999"), (np.float32(0.5), "0.5"),
     (np.float32(3), "3"), (np.uint16(40001), "40001"), (np.int64(2**60 + 1), str(2**60 + 1)),
     (np.uint32(1234567), "1234567")],
)  # fmt: skip
def test_a_value_is_said_so_that_it_differs_from_those_of_classes(value, shown):
    with pytest.raises(UnfitError, match=rf"values {shown}; expected only 0 \(background\), 1 \(lesion\)"):
        ClassMap({"background": 0, "lesion": 1})(np.array([[0, 1, value]], np.asarray(value).dtype))


def test_masks_as_image_programs_write_them_with_white_as_zero():
    stream = io.BytesIO()
    tifffile.imwrite(stream, LEVELS > 0, photometric="miniswhite")
    image = decode(stream.getvalue())
    assert "white-is-zero inverted" in image.notes
    np.testing.assert_array_equal(mask_classes(image, ClassMap(BINARY)), LEVELS == 0)


def test_colours_of_a_picture_in_float_are_read_and_its_transparency_is_refused():
    classes = ClassMap({"no": 0, "red": 1}, colours={"no": (0, 0, 0), "red": (1, 0, 0)})
    pixels = np.zeros((2, 2, 4), np.float32)
    pixels[0, 0, 0], pixels[..., 3] = 1, 1
    assert mask_classes(Image(pixels, "tiff"), classes).tolist() == [[1, 0], [0, 0]]
    pixels[1, 1, 3] = 0.5
    with pytest.raises(UnfitError, match="transparent"):
        mask_classes(Image(pixels, "tiff"), classes)
