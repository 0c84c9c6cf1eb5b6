"""Good files of every kind, written by the libraries that users write them with."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image


def _pixels(shape, dtype="uint8"):
    rng = np.random.default_rng(7)
    scale = 100 if np.dtype(dtype).itemsize > 1 else 0.5 if dtype in ("int8", "i1") else 1
    return (
        (rng.normal(size=shape).cumsum(0) * 9 * scale + 100 * scale)
        .astype("float32")
        .clip(0, 250 * scale)
        .astype(dtype)
    )


def _tiff(pixels, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def _pillow(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.fixture(scope="session")
def make_pixels():
    """Make an array with structure: ``make_pixels(shape, dtype)``."""
    return _pixels


@pytest.fixture(scope="session")
def write_tiff():
    """Write TIFF bytes with tifffile."""
    return _tiff


@pytest.fixture(scope="session")
def write_pillow():
    """Write bytes with Pillow: ``write_pillow(image, "PNG", **options)``."""
    return _pillow


@pytest.fixture(scope="session")
def write_npy():
    """Write NPY bytes with NumPy."""
    return _npy


@pytest.fixture(scope="session")
def png_of_header():
    """Write a PNG that announces a size but holds next to nothing."""

    def write(width, height, depth=8, colour=2, data=b"", palette=b"", transparency=b""):
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"PLTE", palette), (b"tRNS", transparency), (b"IDAT", zlib.compress(data))]
        body = b"".join(_png_chunk(kind, body) for kind, body in chunks if body)
        return b"\x89PNG\r\n\x1a\n" + body + _png_chunk(b"IEND", b"")

    return write


@pytest.fixture(scope="session")
def corpus():
    """Small good files by name; all of them decode."""
    rgb, grey = _pixels((40, 48, 3)), _pixels((40, 48))
    deep, real = _pixels((40, 48), "uint16"), _pixels((40, 48), "float32")
    rgb_image, grey_image = Image.fromarray(rgb), Image.fromarray(grey)
    return {
        "tiff-raw": _tiff(rgb, rowsperstrip=11),
        "tiff-lzw": _tiff(deep, compression="lzw", predictor=2),
        "tiff-deflate": _tiff(real, compression="deflate", predictor=3, byteorder=">"),
        "tiff-packbits": _tiff(grey, compression="packbits"),
        "tiff-jpeg-tiles": _tiff(rgb, compression="jpeg", tile=(16, 32)),
        "tiff-big": _tiff(deep, bigtiff=True, tile=(16, 16)),
        "tiff-g4": _pillow(grey_image.point(lambda value: 255 * (value > 90), "1"), "TIFF", compression="group4"),
        "png-rgb": _pillow(rgb_image, "PNG"),
        "png-16": bytes(imagecodecs.png_encode(deep)),
        "png-palette": _pillow(rgb_image.quantize(13), "PNG", transparency=2),
        "jpeg": _pillow(rgb_image, "JPEG"),
        "jpeg-progressive": _pillow(rgb_image, "JPEG", progressive=True),
        "jpeg-grey": _pillow(grey_image, "JPEG"),
        "jpeg-cmyk": _pillow(rgb_image.convert("CMYK"), "JPEG"),
        "npy": _npy(real),
        "npy-fortran": _npy(np.asfortranarray(rgb)),
    }
