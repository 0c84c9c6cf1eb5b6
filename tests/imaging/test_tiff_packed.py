"""TIFF samples that share bytes: 1, 2, 4, 10, 12 and 14 bits, as levels of grey or of a palette.

tifffile and Pillow read the files that are written for these tests as they are meant.
"""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from medloom.errors import DecodeError
from medloom.imaging import decode, inspect
from support.tiffs import ENCODERS, PALETTE, WHITE_IS_ZERO, tiff

CASES = pytest.mark.parametrize("compression", ENCODERS)


def levels_of(bits, shape=(37, 45)):
    rng = np.random.default_rng(bits)
    smooth = np.repeat(rng.integers(0, 2**bits, (shape[0], 5)), 9, axis=1)  # runs, so that PackBits has some
    return smooth.astype("u2" if bits > 8 else "u1")


@CASES
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize("fill", [1, 2])
@pytest.mark.parametrize("rows", [1, 11, 37])
def test_grey_is_read_as_other_readers_do(bits, order, compression, fill, rows):
    levels = levels_of(bits)
    data = tiff(levels, bits, compression, order=order, fill=fill, rows=rows)
    image = decode(data)
    scale = 255 // (2**bits - 1) if bits < 8 else 1
    np.testing.assert_array_equal(image.pixels[..., 0], levels * scale)
    if fill == 1:
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), levels)
    assert inspect(data).dtype == image.pixels.dtype.name == ("uint16" if bits > 8 else "uint8")


@CASES
@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_white_is_zero_is_inverted_within_the_bits(bits, compression):
    levels = levels_of(bits)
    white = decode(tiff(levels, bits, compression, WHITE_IS_ZERO))
    black = decode(tiff((2**bits - 1 - levels).astype(levels.dtype), bits, compression))
    np.testing.assert_array_equal(white.pixels, black.pixels)
    assert "white-is-zero inverted" in white.notes


@CASES
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_are_expanded_as_pillow_does(bits, compression):
    levels, colours = levels_of(bits), np.random.default_rng(3).integers(0, 256, (2**bits, 3)) * 257
    data = tiff(levels, bits, compression, PALETTE, colours=colours)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, (colours // 257)[levels])
    assert image.notes == ("palette expanded",)
    if bits != 2:
        np.testing.assert_array_equal(image.pixels, np.array(Image.open(io.BytesIO(data)).convert("RGB")))


@CASES
@pytest.mark.parametrize("bits", [1, 4, 12])
def test_a_file_cut_or_damaged_is_refused(bits, compression):
    data = tiff(levels_of(bits), bits, compression)
    for part in range(1, 16):
        with pytest.raises(DecodeError) as caught:
            decode(data[: len(data) * part // 16])
        assert caught.value.code == "truncated"


def test_strips_shorter_than_their_rows_are_refused():
    levels = levels_of(4)
    data = tiff(levels, 4, more={279: [11 * 23 - 1, *[11 * 23] * 2, 4 * 23]}.items())
    with pytest.raises(DecodeError, match="shorter than its rows"):
        decode(data)


@pytest.mark.parametrize(("bits", "more"), [(4, {317: [2]}), (12, {317: [2]}), (3, {}), (6, {}), (4, {259: [7]})])
def test_what_is_not_read_is_named(bits, more):
    with pytest.raises(DecodeError) as caught:
        decode(tiff(levels_of(bits), bits, more=more.items()))
    assert (caught.value.code, caught.value.field) == ("unsupported", "BitsPerSample")


def test_mutants_end_in_pixels_or_a_decode_error():
    rng, outcomes = np.random.default_rng(5), set()
    for bits in (1, 2, 4, 12):
        for compression in ENCODERS:
            data = tiff(levels_of(bits), bits, compression)
            for _ in range(60):
                hostile = bytearray(data)
                for position in rng.integers(220, size=3):
                    hostile[position] = int(rng.integers(256))
                try:
                    assert decode(bytes(hostile), page=0).pixels.nbytes < 2**29
                    outcomes.add("read")
                except DecodeError as error:
                    outcomes.add(error.code)
    assert {"read", "truncated", "corrupt"} <= outcomes
