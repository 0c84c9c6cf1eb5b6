"""PNG: against Pillow and libspng."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from medloom.errors import DecodeError
from medloom.imaging import decode, encode_png, inspect


def pillow_pixels(data, mode=None):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode) if mode else image)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_depth_and_channel_count_is_kept(make_pixels, dtype, channels):
    pixels = make_pixels((13, 17, channels), dtype)
    data = bytes(imagecodecs.png_encode(pixels.squeeze()))
    image = decode(data)
    assert image.pixels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert inspect(data).shape == pixels.shape


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_rgba_equals_libspng(make_pixels, dtype):
    data = bytes(imagecodecs.png_encode(make_pixels((13, 17, 4), dtype)))
    np.testing.assert_array_equal(decode(data).pixels, imagecodecs.spng_decode(data))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_files_of_pillow_are_read_as_pillow_reads_them(make_pixels, write_pillow, mode):
    if mode == "I;16":
        image = Image.fromarray(make_pixels((13, 17), "uint16"))
    else:
        image = Image.fromarray(make_pixels((13, 17, 3))).convert(mode)
    data = write_pillow(image, "PNG")
    np.testing.assert_array_equal(decode(data).pixels.squeeze(), np.asarray(image))


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_of_every_depth_are_expanded(make_pixels, write_pillow, colours, transparent):
    image = Image.fromarray(make_pixels((40, 48, 3))).quantize(colours)
    data = write_pillow(image, "PNG", **({"transparency": 1} if transparent else {}))
    mode = "RGBA" if transparent else "RGB"
    np.testing.assert_array_equal(decode(data).pixels, pillow_pixels(data, mode))
    assert inspect(data).channels == len(mode)
    assert "palette expanded" in decode(data).notes


def test_a_transparent_colour_becomes_a_last_channel(make_pixels, write_pillow):
    pixels = make_pixels((13, 17, 3))
    data = write_pillow(Image.fromarray(pixels), "PNG", transparency=tuple(int(v) for v in pixels[2, 3]))
    np.testing.assert_array_equal(decode(data).pixels, pillow_pixels(data, "RGBA"))
    assert inspect(data).channels == 4


def test_a_transparent_grey_becomes_a_last_channel(make_pixels, write_pillow):
    pixels = make_pixels((13, 17))
    data = write_pillow(Image.fromarray(pixels), "PNG", transparency=int(pixels[2, 3]))
    np.testing.assert_array_equal(decode(data).pixels, pillow_pixels(data, "LA"))


@pytest.mark.parametrize(("depth", "row"), [(1, 0b10110000), (2, 0b00011011), (4, 0b00001111)])
def test_grey_of_few_bits_is_scaled_to_255(png_of_header, depth, row):
    width = 8 // depth
    data = png_of_header(width, 1, depth=depth, colour=0, data=bytes([0, row]))
    levels = [(row >> shift) & (2**depth - 1) for shift in range(8 - depth, -1, -depth)]
    np.testing.assert_array_equal(decode(data).pixels.ravel(), np.array(levels) * 255 // (2**depth - 1))
    np.testing.assert_array_equal(decode(data).pixels[..., 0], pillow_pixels(data, "L"))
    assert decode(data).notes == (f"{depth}-bit grey scaled to 0–255",)


def exif_chunk(body):
    return struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "P"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(make_pixels, write_pillow, orientation, mode):
    if mode == "I;16":
        image = Image.fromarray(make_pixels((9, 16), "uint16"))
    else:
        image = Image.fromarray(make_pixels((9, 16, 3))).convert(mode)
    exif = Image.Exif()
    exif[274] = orientation
    data = write_pillow(image, "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        transposed = ImageOps.exif_transpose(opened)
        expected = np.asarray(transposed.convert("RGB") if mode == "P" else transposed)
    found = decode(data)
    np.testing.assert_array_equal(found.pixels.squeeze(), expected)
    assert inspect(data).shape == found.pixels.shape
    assert ("EXIF orientation applied" in found.notes) == (orientation > 1)


def test_an_exif_chunk_may_come_after_the_pixels(corpus):
    exif = Image.Exif()
    exif[274] = 6
    chunk = exif_chunk(exif.tobytes().removeprefix(b"Exif\0\0"))
    data = corpus["png-rgb"]
    late = decode(data[:-12] + chunk + data[-12:])
    np.testing.assert_array_equal(late.pixels, np.rot90(decode(data).pixels, -1))


def test_unreadable_exif_is_ignored_and_said(corpus):
    data = corpus["png-rgb"]
    for body in (b"MM\0*\xff\xff\xff\xff", b"nothing", b"II"):
        image = decode(data[:-12] + exif_chunk(body) + data[-12:])
        assert image.notes == ("unreadable EXIF was ignored",)
        np.testing.assert_array_equal(image.pixels, decode(data).pixels)


def test_exif_chunks_that_are_damaged_or_come_twice_are_refused(corpus):
    data, chunk = corpus["png-rgb"], exif_chunk(b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    assert decode(data[:33] + chunk + data[33:]).notes == ()
    for chunks in (chunk + chunk, chunk[:-1] + bytes([chunk[-1] ^ 1])):
        with pytest.raises(DecodeError) as caught:
            decode(data[:33] + chunks + data[33:])
        assert (caught.value.code, caught.value.field) == ("corrupt", "eXIf")


def interlaced(pixels):
    """Write an 8-bit grey PNG in the seven passes of Adam7."""
    import struct
    import zlib

    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [pixels[y::dy, x::dx] for x, y, dx, dy in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 0, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (13, 17)])
def test_interlaced_pixels_fall_into_place(make_pixels, shape):
    pixels = make_pixels(shape)
    np.testing.assert_array_equal(decode(interlaced(pixels)).pixels[..., 0], pixels)


def test_of_an_animation_the_first_image_is_read_and_said(make_pixels, write_pillow):
    first = make_pixels((13, 17, 3))
    frames = [Image.fromarray(first), Image.fromarray(255 - first)]
    data = write_pillow(frames[0], "PNG", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(data).pixels, first)
    assert decode(data).notes == ("animated: only the first image was read",)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (13_300, 13_300), (9_400, 9_400)])
def test_a_header_of_many_megapixels_is_refused(png_of_header, width, height):
    with pytest.raises(DecodeError) as caught:
        decode(png_of_header(width, height))
    assert (caught.value.code, caught.value.http) == ("too_large", 413)


def test_a_size_of_zero_is_refused(png_of_header):
    with pytest.raises(DecodeError) as caught:
        decode(png_of_header(0, 5))
    assert caught.value.code == "corrupt"


def test_too_few_rows_are_not_filled_up(png_of_header):
    for missing in (1, 9, 70):
        with pytest.raises(DecodeError) as caught:
            decode(png_of_header(8, 8, colour=0, data=b"\0" * (72 - missing)))
        assert caught.value.code == "truncated"


def test_rows_after_the_last_one_are_refused(png_of_header):
    for more in (1, 9, 5_000_000):
        with pytest.raises(DecodeError) as caught:
            decode(png_of_header(8, 8, colour=0, data=b"\0" * (72 + more)))
        assert caught.value.code == "corrupt"


def test_a_filter_that_does_not_exist_is_refused(png_of_header):
    with pytest.raises(DecodeError):
        decode(png_of_header(8, 2, colour=0, data=b"\7" * 18))


def test_a_palette_index_without_a_colour_is_refused(png_of_header):
    data = png_of_header(2, 1, colour=3, data=b"\0\0\5", palette=bytes(9))
    with pytest.raises(DecodeError, match="colour 5 of 3"):
        decode(data)


def test_a_transparent_colour_of_16_bits_is_compared_in_16_bits(png_of_header):
    rows = b"\0" + b"\x12\x34" * 3 + b"\x12\x35" * 3
    data = png_of_header(2, 1, depth=16, colour=2, data=rows, transparency=b"\x12\x34" * 3)
    np.testing.assert_array_equal(decode(data).pixels[0, :, 3], [0, 65535])
    np.testing.assert_array_equal(decode(data).pixels[0, :, 0], [0x1234, 0x1235])


def test_a_changed_byte_in_the_pixels_is_noticed(corpus):
    data = bytearray(corpus["png-rgb"])
    data[len(data) // 2] ^= 1
    with pytest.raises(DecodeError) as caught:
        decode(bytes(data))
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize("shape", [(9, 16), (9, 16, 1), (9, 16, 3), (9, 16, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_encoded_decodes_to_the_same(make_pixels, shape, dtype):
    pixels = make_pixels(shape, dtype)
    np.testing.assert_array_equal(decode(encode_png(pixels)).pixels, pixels.reshape((*shape, 1)[:3]))


def test_a_view_that_is_not_contiguous_can_be_encoded(make_pixels):
    pixels = make_pixels((16, 9, 3)).transpose(1, 0, 2)[:, ::-1]
    np.testing.assert_array_equal(decode(encode_png(pixels)).pixels, pixels)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), "float32"), np.zeros((4, 4, 2), "uint8"), np.zeros((0, 4), "uint8")]
)
def test_what_png_cannot_hold_is_refused(pixels):
    with pytest.raises(ValueError, match="cannot write"):
        encode_png(pixels)
