"""TIFF samples that share bytes: 1, 2, 4, 10, 12 and 14 bits, as levels of grey or of a palette.

No library at hand writes them all, so this file does; tifffile and Pillow read them as it expects.
"""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from medloom.errors import DecodeError
from medloom.imaging import decode, inspect

RAW, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
ENCODERS = {RAW: bytes, LZW: imagecodecs.lzw_encode, DEFLATE: zlib.compress, PACKBITS: imagecodecs.packbits_encode}
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
CASES = pytest.mark.parametrize("compression", ENCODERS)
WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE = 0, 1, 3


def tiff(levels, bits, compression=RAW, photometric=BLACK_IS_ZERO, order="<", rows=11, fill=1, colours=None, more=()):
    """Write levels (H, W) packed from the first bit of each byte on, each row in bytes of its own."""
    strips = [levels[top : top + rows] for top in range(0, len(levels), rows)]
    coded = [
        bytes(ENCODERS[compression](b"".join(imagecodecs.packints_encode(row, bits) for row in strip)))
        for strip in strips
    ]
    coded = [strip.translate(REVERSED) for strip in coded] if fill == 2 else coded
    tags = {
        256: levels.shape[1:], 257: levels.shape[:1], 258: [bits], 259: [compression], 262: [photometric],
        266: [fill], 273: [0] * len(coded), 277: [1], 278: [rows], 279: [len(strip) for strip in coded], **dict(more),
    }  # fmt: skip
    if colours is not None:
        tags[320] = colours.T.ravel().tolist()
    at, body, entries = 8 + 2 + 12 * len(tags) + 4, b"", b""
    tags[273] = [at + sum(map(len, coded[:number])) for number in range(len(coded))]
    body = b"".join(coded)
    for tag, values in sorted(tags.items()):
        kind, form = (3, "H") if tag == 320 else (4, "I")
        packed = struct.pack(f"{order}{len(values)}{form}", *values)
        field = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", at + len(body))
        body += b"" if len(packed) <= 4 else packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + field
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4) + body


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
