"""JPEG: against Pillow, whole or not at all."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from medloom.errors import DecodeError
from medloom.imaging import Budget, decode, inspect


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


@pytest.mark.parametrize("numbers", [(1, 3), (0, 2), (2, 2), (1, 1, 1, 1), (1, 2, 1, 3)])
def test_a_damaged_colour_profile_is_ignored_and_said(corpus, numbers):
    """Each part of a profile says its number and how many there are."""
    parts = b""
    for number, count in zip(numbers[::2], numbers[1::2], strict=True):
        body = b"ICC_PROFILE\0" + bytes([number, count]) + bytes(50)
        parts += b"\xff\xe2" + (len(body) + 2).to_bytes(2, "big") + body
    image = decode(corpus["jpeg"][:2] + parts + corpus["jpeg"][2:])
    np.testing.assert_array_equal(image.pixels, decode(corpus["jpeg"]).pixels)
    assert image.notes == ("damaged colour profile was ignored",)


@pytest.mark.parametrize("length", [50, 100_000])
def test_a_whole_colour_profile_is_nothing_to_note(make_pixels, write_pillow, length):
    data = write_pillow(Image.fromarray(make_pixels((37, 45, 3))), "JPEG", icc_profile=bytes(length))
    assert decode(data).notes == ()
    np.testing.assert_array_equal(decode(data).pixels, pillow_pixels(data, "RGB"))


def segments(data):
    """Yield start and end of each segment before the first scan."""
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield at, end
        at = end


@pytest.mark.parametrize("junk", [b"\0", b"junk", b"\0\xff\0\0\xff", bytes(range(1, 200))])
@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-grey"])
def test_junk_between_segments_is_skipped_and_said(corpus, name, junk):
    data = corpus[name]
    for _, place in segments(data):
        image = decode(data[:place] + junk + data[place:])
        np.testing.assert_array_equal(image.pixels, decode(data).pixels)
        assert image.notes == ("bytes between the segments of the JPEG skipped",)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_segment_with_a_wrong_length_never_shows_another_image(make_pixels, write_pillow, mode):
    """What is left of a segment that is said to be shorter looks like junk."""
    exif = Image.Exif()
    exif[274] = 6
    data = write_pillow(Image.fromarray(make_pixels((24, 32, 3))).convert(mode), "JPEG", exif=exif)
    expected = decode(data).pixels
    for start, end in segments(data):
        for length in range(2, end - start - 2):
            try:
                image = decode(data[: start + 2] + length.to_bytes(2, "big") + data[start + 4 :])
            except DecodeError:
                continue
            np.testing.assert_array_equal(image.pixels, expected)


def test_a_segment_whose_marker_is_damaged_is_no_junk(corpus):
    data = corpus["jpeg"]
    for start, _ in list(segments(data))[1:]:
        with pytest.raises(DecodeError) as caught:
            decode(data[:start] + b"\x7f" + data[start + 1 :])
        assert caught.value.code == "corrupt"


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


@pytest.fixture(scope="module")
def radiograph():
    """A smooth picture with edges and a little noise, the sides no multiples of 8."""
    rng = np.random.default_rng(3)
    height, width = 1211, 1501
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    ribs = 30 * (np.cos(22 * (y - 0.3 * x**2)) > 0.5)
    smooth = (
        110 + 60 * np.sin(3 * x + 1) * np.cos(4 * y) + ribs * (np.abs(x) < 0.8) + 40 * (x**2 + (y - 0.2) ** 2 < 0.1)
    )
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def shrunk(image, size):
    """Resize as a viewer would: bilinear over the part that the picture covers."""
    box = None if image.reduction is None else image.reduction.box
    planes = np.moveaxis(image.pixels.astype(np.float32), -1, 0)
    resized = [Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR, box) for plane in planes]
    return np.stack([np.asarray(plane) for plane in resized], -1)


@pytest.mark.parametrize(
    ("at_least", "factor"),
    [((900, 900), 1), ((455, 455), 1), ((454, 454), 2), ((227, 227), 4), ((113, 113), 8), ((8, 8), 8), ((8, 600), 1),
     ((8, 562), 2)],
)  # fmt: skip
def test_a_reduced_image_leaves_a_third_more_than_was_asked_for_on_both_sides(
    radiograph, write_pillow, at_least, factor
):
    data = write_pillow(Image.fromarray(radiograph), "JPEG", quality=92)
    image = decode(data, at_least=at_least)
    assert image.pixels.shape == (-(-1211 // factor), -(-1501 // factor), 1)
    assert image.size == (1211, 1501) == inspect(data).shape[:2]
    assert image.notes == ((f"decoded at 1/{factor} of its size",) if factor > 1 else ())
    if factor == 1:
        assert image.reduction is None
        np.testing.assert_array_equal(image.pixels, decode(data).pixels)
    else:
        assert all(side >= least * 4 / 3 for side, least in zip(image.pixels.shape, at_least, strict=False))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(400, 420), (224, 224), (100, 90)])
def test_a_reduced_image_shrinks_to_what_the_whole_one_shrinks_to(radiograph, write_pillow, orientation, size):
    exif = Image.Exif()
    exif[274] = orientation
    data = write_pillow(Image.fromarray(radiograph), "JPEG", quality=92, exif=exif)
    whole, image = decode(data), decode(data, at_least=size)
    assert image.reduction is not None
    assert image.size == whole.pixels.shape[:2]
    difference = np.abs(shrunk(image, size) - shrunk(whole, size))
    assert difference.mean() < 0.7
    assert difference.max() < 12  # at the edges of the ribs


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_colours_of_a_reduced_image_are_those_of_the_whole_one(radiograph, write_pillow, mode, options):
    colours = np.stack([radiograph, radiograph[::-1], np.roll(radiograph, 300, 1)], -1)
    data = write_pillow(Image.fromarray(colours).convert(mode), "JPEG", quality=92, **options)
    difference = np.abs(shrunk(decode(data, at_least=(224, 224)), (224, 224)) - shrunk(decode(data), (224, 224)))
    assert difference.mean() < 0.7


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-grey", "jpeg-cmyk"])
def test_what_is_refused_whole_is_refused_reduced(corpus, name):
    """Damage is found at every fraction: cut with and without an end marker, and with any byte changed."""
    data = corpus[name]
    hostile = [data[: len(data) * part // 16] + end for part in range(1, 16) for end in (b"", b"\xff\xd9")]
    rng = np.random.default_rng(5)
    for at in rng.integers(len(data), size=60):
        hostile.append(data[:at] + bytes([data[at] ^ int(rng.integers(1, 256))]) + data[at + 1 :])
    for mutant in hostile:
        for at_least in ((12, 12), (6, 6), (2, 2)):
            assert refusal(mutant, at_least=at_least) == refusal(mutant), len(mutant)


def refusal(data, **options):
    try:
        decode(data, **options)
    except DecodeError as error:
        return error.code
    return None


def test_other_formats_come_whole(corpus):
    for name in ("png-rgb", "tiff-raw", "npy", "dicom-jpeg"):
        image = decode(corpus[name], at_least=(2, 2))
        assert image.reduction is None
        np.testing.assert_array_equal(image.pixels, decode(corpus[name]).pixels)


def test_the_budget_is_that_of_the_whole_image(corpus):
    with pytest.raises(DecodeError) as caught:
        decode(corpus["jpeg"], budget=Budget(max_pixels=40 * 48 - 1), at_least=(2, 2))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (9, 7), (15, 17)])
def test_tiny_images_are_reduced_or_not_but_never_refused(make_pixels, write_pillow, size):
    data = write_pillow(Image.fromarray(make_pixels((*size, 3))), "JPEG")
    for at_least in ((1, 1), (2, 2), (1, 8)):
        assert decode(data, at_least=at_least).size == size
