"""JPEG: against Pillow, whole or not at all."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from medloom.errors import DecodeError
from medloom.imaging import decode, inspect


def pillow_pixels(data, mode):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert(mode))


def frame_position(data):
    """Offset of the frame header's precision byte."""
    return next(at for at in (data.find(bytes([0xFF, marker])) for marker in (0xC0, 0xC2)) if at > 0) + 4


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"optimize": True}]
)
def test_equals_pillow(make_pixels, write_pillow, mode, options):
    data = write_pillow(Image.fromarray(make_pixels((37, 45, 3))).convert(mode), "JPEG", **options)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels.squeeze(), pillow_pixels(data, mode))
    assert inspect(data).shape == image.pixels.shape


def test_cmyk_becomes_rgb_as_pillow_converts_it(make_pixels, write_pillow):
    data = write_pillow(Image.fromarray(make_pixels((37, 45, 3))).convert("CMYK"), "JPEG", quality=95)
    difference = decode(data).pixels.astype(int) - pillow_pixels(data, "RGB")
    assert np.abs(difference).max() <= 1
    assert decode(data).notes == ("CMYK converted to RGB",)


def test_ycck_becomes_rgb_as_pillow_converts_it(make_pixels):
    data = bytes(imagecodecs.jpeg8_encode(make_pixels((37, 45, 4)), colorspace="CMYK", outcolorspace="YCCK"))
    difference = decode(data).pixels.astype(int) - pillow_pixels(data, "RGB")
    assert np.abs(difference).max() <= 1


def test_rgb_marked_by_adobe_is_not_taken_for_ycbcr(make_pixels, write_pillow):
    data = write_pillow(Image.fromarray(make_pixels((37, 45, 3))), "JPEG", keep_rgb=True)
    np.testing.assert_array_equal(decode(data).pixels, pillow_pixels(data, "RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(make_pixels, write_pillow, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    data = write_pillow(Image.fromarray(make_pixels((9, 16, 3))), "JPEG", exif=exif)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, pillow_pixels(data, "RGB"))
    assert inspect(data).shape == image.pixels.shape
    assert image.notes == (("EXIF orientation applied",) if orientation > 1 else ())


def test_unreadable_exif_is_ignored_and_said(make_pixels, write_pillow):
    data = write_pillow(Image.fromarray(make_pixels((9, 16, 3))), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(data).notes == ("unreadable EXIF was ignored",)


def test_a_thumbnail_inside_does_not_end_the_image(make_pixels, write_pillow):
    thumbnail = write_pillow(Image.fromarray(make_pixels((4, 4, 3))), "JPEG")
    image = Image.fromarray(make_pixels((37, 45, 3)))
    data = write_pillow(image, "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert decode(data).pixels.shape == (37, 45, 3)
    with pytest.raises(DecodeError) as caught:
        decode(data[: len(data) // 2])
    assert caught.value.code == "truncated"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("sixteenth", range(8, 16))
def test_an_image_cut_in_its_pixels_is_refused_though_it_has_an_end_marker(
    make_pixels, write_pillow, options, sixteenth
):
    data = write_pillow(Image.fromarray(make_pixels((64, 80, 3))), "JPEG", **options)
    with pytest.raises(DecodeError) as caught:
        decode(data[: len(data) * sixteenth // 16] + b"\xff\xd9")
    assert caught.value.code in ("corrupt", "truncated")


def test_only_the_end_marker_missing_is_truncated(corpus):
    for cut in (1, 2):
        with pytest.raises(DecodeError) as caught:
            decode(corpus["jpeg"][:-cut])
        assert caught.value.code == "truncated"


@pytest.mark.parametrize(("offset", "value"), [(0, 12), (5, 2)])
def test_precision_and_components_not_read_are_named(corpus, offset, value):
    data = bytearray(corpus["jpeg"])
    data[frame_position(data) + offset] = value
    with pytest.raises(DecodeError) as caught:
        decode(bytes(data))
    assert (caught.value.code, caught.value.field) == ("unsupported", "SOF")


def test_a_frame_of_many_megapixels_is_refused(corpus):
    data = bytearray(corpus["jpeg"])
    at = frame_position(data)
    data[at + 1 : at + 5] = b"\xff\xdc\xff\xdc"
    with pytest.raises(DecodeError) as caught:
        inspect(bytes(data))
    assert caught.value.code == "too_large"


def test_hundreds_of_scans_are_refused(corpus):
    data = corpus["jpeg-progressive"]
    last = data.rfind(b"\xff\xda")
    with pytest.raises(DecodeError, match="scan"):
        decode(data[:-2] + data[last:-2] * 100 + b"\xff\xd9")
