"""DICOM with floating-point pixels: what was written comes back, and what is no number is refused."""

import io
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest

from medloom.errors import DataError, DecodeError
from medloom.imaging import decode, inspect
from medloom.imaging.inspection import inspect_data
from medloom.imaging.series import read_series

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE = (f"1.2.840.10008.1.2{tail}" for tail in ("", ".1", ".1.99", ".2", ".5"))
PADDINGS = {"float32": "FloatPixelPadding", "float64": "DoubleFloatPixelPadding"}


def refusal(data, **options):
    with pytest.raises(DecodeError) as caught:
        decode(data, **options)
    return caught.value


def reals(shape=(12, 10), dtype="float32"):
    return (np.random.default_rng(3).normal(size=shape) * 1e-3).astype(dtype)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point_pixels_come_back_bit_by_bit(write_float_dicom, dtype, syntax):
    pixels = reals(dtype=dtype)
    data = write_float_dicom(pixels, syntax)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)
    np.testing.assert_array_equal(image.pixels[..., 0], pydicom.dcmread(io.BytesIO(data)).pixel_array)
    assert (image.pixels.dtype, inspect(data).dtype, image.notes) == (pixels.dtype, dtype, ())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frames_are_pages(write_float_dicom, dtype):
    pixels = reals((3, 7, 5), dtype)
    data = write_float_dicom(pixels, NumberOfFrames="3")
    for number in range(3):
        np.testing.assert_array_equal(decode(data, page=number).pixels[..., 0], pixels[number])
    assert refusal(data).code == "page_required"


def test_they_are_not_compressed_in_a_compressed_syntax(write_float_dicom):
    pixels = reals()
    np.testing.assert_array_equal(decode(write_float_dicom(pixels, RLE)).pixels[..., 0], pixels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_are_rescaled_and_keep_their_precision(write_float_dicom, dtype):
    pixels = reals(dtype=dtype)
    data = write_float_dicom(pixels, RescaleSlope="3.7", RescaleIntercept="-1")
    image = decode(data)
    np.testing.assert_array_equal(image.pixels[..., 0], (pixels * np.float64(3.7) - 1).astype(dtype))
    assert inspect(data).dtype == dtype == image.pixels.dtype.name


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_no_number_is_refused_unless_it_is_allowed(write_float_dicom, dtype, value):
    pixels = reals(dtype=dtype)
    pixels[3, 4] = value
    data = write_float_dicom(pixels)
    assert refusal(data).code == inspect_data(data).refused == "non_finite"
    np.testing.assert_array_equal(decode(data, nan_policy="allow").pixels[..., 0], pixels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rescale_that_makes_infinity_is_refused(write_float_dicom, dtype):
    pixels = np.full((4, 5), np.finfo(dtype).max, dtype)
    assert refusal(write_float_dicom(pixels, RescaleSlope="10")).code == "non_finite"


@pytest.mark.parametrize("padding", [-9999.5, np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_padding_becomes_the_smallest_value(write_float_dicom, dtype, padding):
    pixels = reals(dtype=dtype)
    padded = pixels.copy()
    padded[2:5] = padding
    image = decode(write_float_dicom(padded, **{f"{PADDINGS[dtype]}Value": padding}))
    outside = np.zeros(pixels.shape, bool)
    outside[2:5] = True
    np.testing.assert_array_equal(image.pixels[~outside][..., 0], pixels[~outside])
    assert (image.pixels[outside] == pixels[~outside].min()).all()
    assert image.notes == ("padding set to the smallest value",)


def test_padding_may_be_a_range(write_float_dicom):
    pixels = np.array([[1, 2, -5, -7, -9, 3]], np.float32)
    data = write_float_dicom(pixels, FloatPixelPaddingValue=-9.0, FloatPixelPaddingRangeLimit=-6.0)
    assert decode(data).pixels.ravel().tolist() == [1, 2, -5, -5, -5, 3]


def test_what_is_no_number_beside_padding_is_refused(write_float_dicom):
    pixels = reals()
    pixels[0], pixels[1, 1] = -1000, np.nan
    assert refusal(write_float_dicom(pixels, FloatPixelPaddingValue=-1000.0)).code == "non_finite"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [({"BitsAllocated": 64}, "corrupt"), ({"BitsAllocated": 16}, "corrupt"), ({"Rows": 13}, "corrupt"),
     ({"Rows": 0}, "corrupt"), ({"Rows": 60000, "Columns": 60000}, "too_large"), ({"NumberOfFrames": "2"}, "corrupt"),
     ({"SamplesPerPixel": 3}, "unsupported"), ({"PhotometricInterpretation": "MONOCHROME1"}, "unsupported"),
     ({"FloatPixelData": b""}, "corrupt"), ({"PixelData": bytes(480)}, "corrupt"),
     ({"DoubleFloatPixelData": bytes(960)}, "corrupt")],
)  # fmt: skip
def test_headers_that_lie_are_refused(write_float_dicom, attributes, code):
    assert refusal(write_float_dicom(reals(), IMPLICIT, **attributes)).code == code


def test_a_file_that_is_cut_is_refused(write_float_dicom):
    data = write_float_dicom(reals())
    for length in range(200, len(data), 97):
        assert refusal(data[:length]).code in ("truncated", "corrupt")


def test_a_deflated_bomb_is_refused_before_it_is_inflated(write_float_dicom):
    data = write_float_dicom(np.zeros((1000, 1000)), EXPLICIT)
    start = 144 + int.from_bytes(data[140:144], "little")
    meta = data[:start].replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99")
    meta = meta[:140] + (start - 144 + 2).to_bytes(4, "little") + meta[144:]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = data[start:].replace((1000).to_bytes(2, "little"), (60000).to_bytes(2, "little"))
    bomb = meta + deflater.compress(body + bytes(2**25)) + deflater.flush()
    tracemalloc.start()
    try:
        assert refusal(bomb).code == "too_large"
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_inspect_says_of_them_what_it_says_of_others(write_float_dicom):
    pixels = reals()
    facts = inspect_data(write_float_dicom(pixels, PixelSpacing=["2", "3"], Modality="MR"))
    assert (facts.format, facts.height, facts.width, facts.channels, facts.pages) == ("dicom", 12, 10, 1, 1)
    assert (facts.dtype, facts.minimum, facts.maximum) == ("float32", float(pixels.min()), float(pixels.max()))
    assert (facts.spacing_mm, facts.modality, facts.refused) == ((2, 3), "MR", "")


def test_a_series_of_them_is_a_volume_of_numbers(write_float_dicom):
    def write(pixels, place):
        return write_float_dicom(
            pixels, PixelSpacing=["1", "1"], ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
            ImagePositionPatient=["0", "0", str(place)],
        )  # fmt: skip

    slices = [reals() + number for number in range(3)]
    volume = read_series([write(pixels, place) for place, pixels in enumerate(slices)])
    np.testing.assert_array_equal(volume.voxels, slices)
    slices[1][2, 3] = np.nan
    with pytest.raises(DataError, match="slice 1") as caught:
        read_series([write(pixels, place) for place, pixels in enumerate(slices)])
    assert "NaN" in str(caught.value)
