"""TIFF: bit-exact against tifffile and Pillow, or a named refusal."""

import io
import itertools
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from medloom.errors import DecodeError
from medloom.imaging import Budget, decode, inspect

DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]
LAYOUTS = {
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "big-endian bigtiff tiles": {"bigtiff": True, "byteorder": ">", "tile": (32, 16)},
}


def pillow_pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def tag_position(data, tag):
    """Offset of a tag's entry in the first directory of a little-endian classic TIFF."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    positions = [directory + 2 + 12 * index for index in range(count)]
    return next(at for at in positions if struct.unpack_from("<H", data, at)[0] == tag)


def with_tag(data, tag, value):
    """Replace a tag's value (or offset)."""
    changed = bytearray(data)
    struct.pack_into("<I", changed, tag_position(data, tag) + 8, value)
    return bytes(changed)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout_is_bit_exact(make_pixels, write_tiff, dtype, layout):
    pixels = make_pixels((37, 45), dtype)
    data = write_tiff(pixels, **LAYOUTS[layout])
    image = decode(data)
    assert image.pixels.dtype == np.dtype(dtype)
    assert image.pixels.dtype.isnative
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)
    np.testing.assert_array_equal(image.pixels[..., 0], tifffile.imread(io.BytesIO(data)))
    assert inspect(data).shape == image.pixels.shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("compression", "predictor"),
    [("packbits", False), *itertools.product(["lzw", "deflate", "zstd"], [False, True])],
)
def test_lossless_compression_is_bit_exact(make_pixels, write_tiff, compression, dtype, predictor, layout):
    predictor = predictor and dtype != "float16"  # which tifffile does not write
    pixels = make_pixels((37, 45, 3), dtype)
    data = write_tiff(pixels, compression=compression, predictor=predictor, photometric="rgb", **LAYOUTS[layout])
    np.testing.assert_array_equal(decode(data).pixels, pixels)
    np.testing.assert_array_equal(decode(data).pixels, imagecodecs.tiff_decode(data))
    np.testing.assert_array_equal(decode(data).pixels, tifffile.imread(io.BytesIO(data)))


def test_differences_of_floats_are_those_of_their_bytes(make_pixels, write_tiff):
    pixels = make_pixels((37, 45, 3), "float32")
    data = write_tiff(pixels.view("int32"), compression="lzw", predictor=2, rowsperstrip=7, photometric="rgb")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        where = file.pages[0].tags[339].valueoffset
    floats = bytearray(data)
    struct.pack_into("<3H", floats, where, 3, 3, 3)
    np.testing.assert_array_equal(imagecodecs.tiff_decode(bytes(floats)), pixels)
    np.testing.assert_array_equal(decode(bytes(floats)).pixels, pixels)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_files_of_pillow_are_read_as_pillow_reads_them(make_pixels, write_pillow, compression):
    for pixels in (make_pixels((33, 20, 3)), make_pixels((33, 20)), make_pixels((33, 20), "uint16")):
        data = write_pillow(Image.fromarray(pixels), "TIFF", compression=compression)
        np.testing.assert_array_equal(decode(data).pixels.squeeze(), pillow_pixels(data))


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"compression": "deflate", "predictor": 2}])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_planar_channels_come_last(make_pixels, write_tiff, tile, options):
    planes = make_pixels((3, 37, 45), "uint16")
    data = write_tiff(planes, planarconfig="separate", photometric="rgb", tile=tile, **options)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, np.moveaxis(planes, 0, -1))
    assert image.pixels.flags.c_contiguous


def test_more_than_four_channels_are_kept(make_pixels, write_tiff):
    pixels = make_pixels((20, 24, 5))
    data = write_tiff(pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(decode(data).pixels, pixels)


@pytest.mark.parametrize("options", [{}, {"subsampling": (2, 2)}, {"photometric": "rgb"}])
def test_jpeg_in_tiff_equals_both_readers(make_pixels, write_tiff, options):
    data = write_tiff(make_pixels((40, 48, 3)), compression="jpeg", tile=(16, 32), **options)
    np.testing.assert_array_equal(decode(data).pixels, tifffile.imread(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data).pixels, pillow_pixels(data))


@pytest.mark.parametrize("compression", [None, "group3", "group4", "tiff_ccitt", "tiff_lzw"])
def test_bilevel_becomes_0_and_255(make_pixels, write_pillow, compression):
    truth = make_pixels((40, 48)) > 90
    data = write_pillow(Image.fromarray(truth), "TIFF", compression=compression)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels[..., 0], np.where(truth, 255, 0))
    assert inspect(data).dtype == "uint8"
    assert "1-bit scaled to 0 and 255" in image.notes


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_white_is_zero_is_inverted(make_pixels, write_tiff, bits):
    pixels = {1: make_pixels((9, 16)) > 90, 8: make_pixels((9, 16)), 16: make_pixels((9, 16), "uint16")}[bits]
    image = decode(write_tiff(pixels, photometric="miniswhite"))
    expected = np.where(pixels, 0, 255) if bits == 1 else 2**bits - 1 - pixels.astype(int)
    np.testing.assert_array_equal(image.pixels[..., 0], expected)
    assert "white-is-zero inverted" in image.notes


def test_palette_is_expanded(make_pixels, write_tiff):
    ramp = np.arange(256, dtype="uint16") * 257
    data = write_tiff(make_pixels((9, 16)), photometric="palette", colormap=np.stack([ramp, ramp[::-1], ramp]))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(decode(data).pixels, np.asarray(image.convert("RGB")))
    assert inspect(data).channels == 3


def test_palette_of_16_bits_is_not_narrowed(make_pixels, write_tiff):
    indices, colours = make_pixels((9, 16)), np.arange(768, dtype="uint16").reshape(3, 256) * 77
    image = decode(write_tiff(indices, photometric="palette", colormap=colours))
    np.testing.assert_array_equal(image.pixels, colours.T[indices])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(make_pixels, write_tiff, orientation):
    data = write_tiff(make_pixels((9, 16, 3)), extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_array_equal(decode(data).pixels, pillow_pixels(data))
    assert inspect(data).shape == decode(data).pixels.shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (1, 1, 3), (1, 9, 3), (9, 1, 3)])
def test_images_of_one_row_or_column_keep_their_shape(make_pixels, write_tiff, shape):
    for compression in (None, "lzw"):
        data = write_tiff(make_pixels(shape), compression=compression)
        assert decode(data).pixels.shape == (*shape, 1)[:3]


def test_several_pages_need_a_choice(make_pixels, write_tiff):
    pages = make_pixels((3, 20, 24), "uint16")
    data = write_tiff(pages, photometric="minisblack", metadata=None)
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.code == "page_required"
    assert "page=2" in str(caught.value)
    assert inspect(data).pages == 3
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(decode(data, page=number).pixels[..., 0], page)


@pytest.mark.parametrize("page", [-1, 3, 10**9])
def test_a_page_that_is_not_there_is_an_error(make_pixels, write_tiff, page):
    data = write_tiff(make_pixels((3, 20, 24)), photometric="minisblack", metadata=None)
    with pytest.raises(DecodeError, match=f"page {page} was asked for; the file has 3"):
        decode(data, page=page)


def test_pages_of_different_size_and_type(make_pixels):
    stream = io.BytesIO()
    first, second = make_pixels((20, 24)), make_pixels((10, 12, 3), "uint16")
    with tifffile.TiffWriter(stream) as writer:
        writer.write(first, photometric="minisblack")
        writer.write(second, photometric="rgb")
    np.testing.assert_array_equal(decode(stream.getvalue(), page=0).pixels[..., 0], first)
    np.testing.assert_array_equal(decode(stream.getvalue(), page=1).pixels, second)


def test_a_loop_of_directories_ends(make_pixels, write_tiff):
    data = bytearray(write_tiff(make_pixels((20, 24))))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)
    with pytest.raises(DecodeError, match="loop") as caught:
        decode(bytes(data))
    assert caught.value.code == "corrupt"


def test_too_many_pages_are_refused(make_pixels, write_tiff):
    data = write_tiff(make_pixels((12, 4, 4)), photometric="minisblack", metadata=None)
    with pytest.raises(DecodeError, match="11") as caught:
        decode(data, page=0, budget=Budget(max_frames=11))
    assert caught.value.code == "too_large"


def test_an_imagej_stack_with_one_directory_is_not_read_as_one_slice(make_pixels, write_tiff):
    description = "ImageJ=1.54f\nimages=40\nslices=40\n"
    data = write_tiff(make_pixels((20, 24)), description=description, metadata=None)
    with pytest.raises(DecodeError, match="40 slices") as caught:
        decode(data)
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize(("tag", "value"), [(256, 4_000_000), (257, 4_000_000), (277, 60_000)])
def test_a_size_beyond_the_budget_is_refused_from_the_header(make_pixels, write_tiff, tag, value):
    data = with_tag(write_tiff(make_pixels((200, 240)), rowsperstrip=200), tag, value)
    with pytest.raises(DecodeError) as caught:
        inspect(data)
    assert caught.value.code in ("too_large", "corrupt")


def test_tiles_much_larger_than_the_image_are_refused(make_pixels, write_tiff):
    data = write_tiff(make_pixels((20, 24)), tile=(16, 32), compression="deflate")
    data = with_tag(with_tag(data, 322, 2**16 - 16), 323, 2**16 - 16)
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.code == "too_large"


def test_strips_that_overlap_are_refused(make_pixels, write_tiff):
    data = bytearray(write_tiff(make_pixels((200, 50)), rowsperstrip=1))
    offsets, counts = (struct.unpack_from("<I", data, tag_position(data, tag) + 8)[0] for tag in (273, 279))
    width = {3: 2, 4: 4}[struct.unpack_from("<H", data, tag_position(data, 279) + 2)[0]]
    for strip in range(200):
        struct.pack_into("<I", data, offsets + 4 * strip, 8)
        data[counts + width * strip : counts + width * (strip + 1)] = (9000).to_bytes(width, "little")
    with pytest.raises(DecodeError, match="overlap"):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("tag", "value", "field"),
    [(259, 34712, "Compression"), (258, 12, "BitsPerSample"), (262, 8, "PhotometricInterpretation"),
     (339, 6, "BitsPerSample"), (317, 9, "Predictor")],
)  # fmt: skip
def test_what_is_not_read_is_named(make_pixels, write_tiff, tag, value, field):
    data = write_tiff(make_pixels((20, 24), "int8"), compression="lzw", predictor=2)
    with pytest.raises(DecodeError) as caught:
        decode(with_tag(data, tag, value))
    assert (caught.value.code, caught.value.field, caught.value.http) == ("unsupported", field, 415)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_non_finite_pixels_are_refused_by_default(make_pixels, write_tiff, dtype, value):
    pixels = make_pixels((9, 16), dtype)
    pixels[3, 4] = value
    data = write_tiff(pixels)
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.code == "non_finite"
    np.testing.assert_array_equal(decode(data, nan_policy="allow").pixels[..., 0], pixels)


CODED = ["deflate", "lzw", "packbits", "zstd", "jpeg"]


def coded_strips(write_tiff, pixels, compression, **options):
    """A TIFF of four compressed strips, and where the second one begins and ends."""
    data = write_tiff(pixels, compression=compression, rowsperstrip=16, photometric="minisblack", **options)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        starts, lengths = file.pages[0].dataoffsets, file.pages[0].databytecounts
    assert len(starts) == 4
    return bytearray(data), starts[1], starts[1] + lengths[1]


def refused(data):
    with pytest.raises(DecodeError) as caught:
        decode(bytes(data))
    assert caught.value.code in ("corrupt", "truncated")
    return caught.value


@pytest.mark.parametrize("compression", CODED)
@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_strip_with_a_zeroed_tail_is_refused(make_pixels, write_tiff, compression, quarter):
    data, start, end = coded_strips(write_tiff, make_pixels((64, 80)), compression)
    cut = start + (end - start) * quarter // 4
    data[cut:end] = bytes(end - cut)
    refused(data)


@pytest.mark.parametrize("compression", CODED)
@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_strip_cut_short_is_refused(make_pixels, write_tiff, compression, quarter):
    data, start, end = coded_strips(write_tiff, make_pixels((64, 80)), compression)
    (counts,) = struct.unpack_from("<I", data, tag_position(data, 279) + 8)
    wide = struct.unpack_from("<H", data, tag_position(data, 279) + 2)[0] == 4
    struct.pack_into("<I" if wide else "<H", data, counts + (4 if wide else 2), (end - start) * quarter // 4)
    refused(data)


def test_a_wrong_checksum_of_a_strip_is_refused(make_pixels, write_tiff):
    data, _, end = coded_strips(write_tiff, make_pixels((64, 80)), "deflate")
    data[end - 1] ^= 1
    assert refused(data).field == "StripOffsets"


@pytest.mark.parametrize("compression", ["lzw", "packbits"])
def test_a_strip_that_decodes_to_more_than_its_rows_is_refused(make_pixels, write_tiff, compression):
    data, _, _ = coded_strips(write_tiff, make_pixels((64, 80)), compression)
    refused(with_tag(data, 256, 79))


@pytest.mark.parametrize("at", range(5, 10))
def test_a_garbled_jpeg_strip_is_refused(make_pixels, write_tiff, at):
    data, start, end = coded_strips(write_tiff, make_pixels((64, 80)), "jpeg")
    middle = start + (end - start) * at // 10
    data[middle : middle + 16] = b"\xff\x00" * 8  # ones, which are no code of any table
    refused(data)


def test_damaged_shared_tables_of_jpeg_strips_are_refused(make_pixels, write_tiff):
    data, _, _ = coded_strips(write_tiff, make_pixels((64, 80)), "jpeg", extratags=[(347, 7, 6, b"\xff\xd8none", True)])
    assert refused(data).field == "JPEGTables"


@pytest.mark.parametrize("compression", [None, *CODED[:4]])
def test_a_last_strip_filled_up_to_the_height_of_the_others_is_read(make_pixels, write_tiff, compression):
    pixels = make_pixels((64, 80))
    data, _, _ = coded_strips(write_tiff, pixels, compression)
    np.testing.assert_array_equal(decode(with_tag(data, 257, 57)).pixels[..., 0], pixels[:57])


@pytest.mark.parametrize("compression", CODED[:4])
def test_compressed_bytes_with_their_bits_reversed_are_read(make_pixels, write_tiff, compression):
    pixels = make_pixels((64, 80))
    data, _, _ = coded_strips(write_tiff, pixels, compression)
    struct.pack_into("<HHIHH", data, tag_position(data, 270), 266, 3, 1, 2, 0)  # FillOrder, for the description
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for start, length in zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True):
            strip = np.frombuffer(data[start : start + length], np.uint8)
            data[start : start + length] = np.packbits(np.unpackbits(strip), bitorder="little").tobytes()
    np.testing.assert_array_equal(decode(bytes(data)).pixels[..., 0], pixels)


def with_smaller_copies(pages, subfiles, **options):
    """A TIFF of these pages, each with its NewSubfileType."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, **options) as writer:
        for page, subfile in zip(pages, subfiles, strict=True):
            writer.write(page, photometric="minisblack", metadata=None, subfiletype=subfile, contiguous=False)
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}])
@pytest.mark.parametrize("subfiles", [(0, 1), (1, 0), (1, 0, 1), (0, 1, 3)])
def test_a_smaller_copy_is_no_page(make_pixels, options, subfiles):
    pages = [make_pixels((10, 12) if subfile else (20, 24)) for subfile in subfiles]
    data = with_smaller_copies(pages, subfiles, **options)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels[..., 0], make_pixels((20, 24)))
    assert "smaller copies in the file left out" in image.notes
    assert (inspect(data).shape, inspect(data).pages) == (image.pixels.shape, 1)
    with pytest.raises(DecodeError, match="the file has 1"):
        decode(data, page=1)


def test_pages_are_counted_without_the_smaller_copies(make_pixels):
    pages = make_pixels((4, 20, 24))
    data = with_smaller_copies([pages[0], pages[1, ::2], pages[2], pages[3, ::2]], (2, 1, 2, 3))
    assert inspect(data).pages == 2
    for number, page in enumerate((pages[0], pages[2])):
        np.testing.assert_array_equal(decode(data, page=number).pixels[..., 0], page)


def test_a_file_of_smaller_copies_alone_is_read(make_pixels):
    pages = make_pixels((2, 20, 24))
    data = with_smaller_copies(pages, (1, 1))
    assert inspect(data).pages == 2
    np.testing.assert_array_equal(decode(data, page=1).pixels[..., 0], pages[1])


def test_a_smaller_copy_marked_by_the_old_tag_is_no_page(make_pixels):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for pixels, kind in ((make_pixels((10, 12)), 2), (make_pixels((20, 24)), 1)):
            writer.write(pixels, metadata=None, contiguous=False, extratags=[(255, 3, 1, kind, True)])
    assert inspect(stream.getvalue()).pages == 1
    np.testing.assert_array_equal(decode(stream.getvalue()).pixels[..., 0], make_pixels((20, 24)))
