"""BMP, GIF and WebP, as Pillow and other writers make them: read as Pillow reads them, or refused by name."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from medloom.errors import DecodeError
from medloom.imaging import decode, inspect

GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)


def pillow_pixels(data, mode):
    pixels = np.array(Image.open(io.BytesIO(data)).convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def refusal(data):
    with pytest.raises(DecodeError) as caught:
        decode(data)
    return caught.value


def bmp(rows, width, bits, *, height=None, header=40, compression=0, palette=b"", masks=b"", used=0):
    """Write a BMP of rows that are packed and padded already, the bottom one first."""
    body = b"".join(row + bytes(-len(row) % 4) for row in rows)
    height = len(rows) if height is None else height
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(body), 0, 0, used, 0)
        info += masks[: header - 40].ljust(header - 40, b"\0") if header > 40 else masks
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 47), (33, 64)])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA"])
def test_bmp_of_pillow_is_read_as_pillow_reads_it(make_pixels, write_pillow, shape, mode):
    picture = Image.fromarray(make_pixels((*shape, 3)))
    data = write_pillow(picture.quantize(13) if mode == "P" else picture.convert(mode), "BMP")
    image = decode(data)
    expected = {"1": "L", "P": "RGB", "RGBA": "RGB"}.get(mode, mode)
    np.testing.assert_array_equal(image.pixels, pillow_pixels(data, expected))
    assert inspect(data).shape == image.pixels.shape


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize(
    ("header", "upwards"),
    [(header, upwards) for header in (12, 40, 108, 124) for upwards in (True, False) if upwards or header != 12],
    ids=str,
)  # the oldest header has no direction
def test_bmp_palettes_of_any_depth_and_direction_keep_their_indices(bits, header, upwards):
    rng = np.random.default_rng(bits)
    levels = rng.integers(0, 2**bits, (9, 21), dtype=np.uint8)
    colours = rng.integers(0, 256, (2**bits, 3), dtype=np.uint8)
    step = 3 if header == 12 else 4
    palette = b"".join(bytes(colour[::-1]) + bytes(step - 3) for colour in colours)
    rows = [bytes(imagecodecs.packints_encode(row, bits)) for row in (levels[::-1] if upwards else levels)]
    data = bmp(rows, 21, bits, height=9 if upwards else -9, header=header, palette=palette)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, colours[levels])
    np.testing.assert_array_equal(image.indices[..., 0], levels)
    np.testing.assert_array_equal(image.pixels, pillow_pixels(data, "RGB"))


def test_a_bmp_palette_of_greys_is_one_channel():
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = b"".join(bytes(colour) + b"\0" for colour in GREYS[::-1])
    image = decode(bmp([bytes(row) for row in levels[::-1]], 4, 8, palette=palette))
    np.testing.assert_array_equal(image.pixels[..., 0], 255 - levels)


@pytest.mark.parametrize(
    ("bits", "masks"), [(16, (0x7C00, 0x3E0, 0x1F)), (16, (0xF800, 0x7E0, 0x1F)), (32, (0xFF0000, 0xFF00, 0xFF))]
)
@pytest.mark.parametrize("header", [40, 56, 124])
def test_bmp_bit_fields_are_read_as_pillow_reads_them(bits, masks, header):
    stored = np.random.default_rng(2).integers(0, 2**bits, (6, 5)).astype(f"<u{bits // 8}")
    packed = struct.pack("<3I", *masks)
    data = bmp([bytes(row) for row in stored[::-1]], 5, bits, header=header, compression=3, masks=packed)
    image = decode(data)
    expected = pillow_pixels(data, "RGB").astype(int)
    assert np.abs(image.pixels.astype(int) - expected).max() <= 4  # of 5 bits made 8, readers differ
    assert image.pixels.shape == (6, 5, 3)


def test_bmp_of_16_bits_without_masks_has_five_for_each_colour():
    stored = np.array([[0x7FFF, 0x7C00, 0x3E0, 0x1F, 0]], "<u2")
    expected = [[255] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255], [0] * 3]
    assert decode(bmp([stored.tobytes()], 5, 16)).pixels[0].tolist() == expected


@pytest.mark.parametrize(
    ("options", "code"),
    [({"compression": 1}, "unsupported"), ({"compression": 2}, "unsupported"), ({"compression": 4}, "unsupported"),
     ({"bits": 2}, "corrupt"), ({"width": 0}, "corrupt"), ({"width": -4}, "corrupt"), ({"height": 0}, "corrupt"),
     ({"height": 9}, "truncated"), ({"width": 30_000, "height": 30_000}, "too_large"), ({"header": 41}, "corrupt"),
     ({"palette": b""}, "corrupt"), ({"compression": 3}, "corrupt"),
     ({"bits": 32, "compression": 3, "masks": bytes(12)}, "corrupt")],
)  # fmt: skip
def test_bmp_that_is_not_read_is_refused(options, code):
    known = {"rows": [bytes(4)] * 3, "width": 4, "bits": 8, "palette": bytes(1024), **options}
    assert refusal(bmp(**known)).code == code


def test_an_index_without_a_colour_is_corrupt():
    assert refusal(bmp([bytes([0, 1, 2, 3])], 4, 8, palette=bytes(12), used=3)).field == "palette"


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("colours", [2, 13, 256])
def test_gif_is_read_as_pillow_reads_it(make_pixels, write_pillow, interlace, colours):
    picture = Image.fromarray(make_pixels((37, 45, 3))).quantize(colours)
    data = write_pillow(picture, "GIF", interlace=interlace)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, pillow_pixels(data, "RGB"))
    np.testing.assert_array_equal(image.indices[..., 0], np.array(Image.open(io.BytesIO(data))))
    assert image.notes == ("palette expanded",)


def test_a_grey_gif_is_one_channel(make_pixels, write_pillow):
    pixels = make_pixels((37, 45))
    np.testing.assert_array_equal(decode(write_pillow(Image.fromarray(pixels), "GIF")).pixels[..., 0], pixels)


def test_a_transparent_colour_of_a_gif_is_a_last_channel(make_pixels, write_pillow):
    picture = Image.fromarray(make_pixels((37, 45, 3))).quantize(13)
    data = write_pillow(picture, "GIF", transparency=3)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, pillow_pixels(data, "RGBA"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animations_are_refused_by_name(make_pixels, write_pillow, kind):
    frames = [Image.fromarray(make_pixels((20, 24, 3)) // number) for number in (1, 2, 3)]
    error = refusal(write_pillow(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
    assert error.code == "unsupported"
    assert "expected one" in error.message


def gif(lzw, *, least=2, size=(8, 8), place=(0, 0, 8, 8)):
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, 0, 0) + bytes(range(12))
    return head + b"," + struct.pack("<HHHHB", *place, 0) + bytes([least, len(lzw)]) + lzw + b"\0;"


def test_gif_pixels_that_end_early_are_refused():
    assert refusal(gif((4 | 1 << 3 | 5 << 6).to_bytes(2, "little"))).code in ("corrupt", "truncated")


def test_a_gif_that_does_not_fill_its_screen_is_refused():
    assert "does not fill" in refusal(gif(b"\x44\x01", place=(1, 1, 7, 7))).message


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("lossless", [True, False])
def test_webp_is_read_as_pillow_reads_it(make_pixels, write_pillow, mode, lossless):
    picture = Image.fromarray(make_pixels((37, 45, 3))).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(make_pixels((37, 45))))
    data = write_pillow(picture, "WEBP", lossless=lossless, exact=True, icc_profile=bytes(200))
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, pillow_pixels(data, "RGBA" if mode == "RGBA" else "RGB"))
    assert image.notes == (() if lossless else ("lossy compression",))
    if lossless:
        np.testing.assert_array_equal(image.pixels, np.array(picture.convert("RGBA" if mode == "RGBA" else "RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_webp_is_turned_as_its_exif_says(make_pixels, write_pillow, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = make_pixels((20, 24, 3))
    webp, png = (write_pillow(Image.fromarray(pixels), kind, exif=exif, lossless=True) for kind in ("WEBP", "PNG"))
    np.testing.assert_array_equal(decode(webp).pixels, decode(png).pixels)
    assert inspect(webp).shape == decode(webp).pixels.shape


def test_a_riff_file_of_another_kind_is_no_image():
    assert refusal(b"RIFF" + bytes(4) + b"WAVE" + bytes(50)).code == "unsupported"
