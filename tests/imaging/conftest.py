"""Good files of every kind, written by the libraries that users write them with."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import ExplicitVRLittleEndian


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


def _dicom(pixels, syntax=ExplicitVRLittleEndian, frames=None, sop_class="1.2.840.10008.5.1.4.1.1.7", **attributes):
    """Write pixels, (H, W), (H, W, 3) or frames (N, H, W), or encoded frames of such pixels."""
    syntax, dataset = str(syntax), Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[1:3] if pixels.ndim == 3 and pixels.shape[2] != 3 else pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.shape[-1] == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.shape[-1] == 3 else "MONOCHROME2"
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    little = syntax != "1.2.840.10008.1.2.2"
    stored = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    dataset.PixelData = encapsulate(frames) if frames else stored + bytes(len(stored) % 2)
    dataset["PixelData"].VR = "OB" if frames or pixels.itemsize == 1 else "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=little, enforce_file_format=True)
    return stream.getvalue()


def _float_dicom(pixels, syntax=ExplicitVRLittleEndian, **attributes):
    """Write floating-point pixels, (H, W) or frames (N, H, W), of 32 or 64 bits."""
    syntax, single = str(syntax), pixels.dtype == np.float32
    little = syntax != "1.2.840.10008.1.2.2"
    dataset = dcmread(io.BytesIO(_dicom(np.zeros(pixels.shape, "u2"), ExplicitVRLittleEndian if little else syntax)))
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, keyword)
    dataset.BitsAllocated = 32 if single else 64
    dataset.file_meta.TransferSyntaxUID = syntax
    stored = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    setattr(dataset, "FloatPixelData" if single else "DoubleFloatPixelData", stored)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=little, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture(scope="session")
def write_float_dicom():
    """Write DICOM bytes of floating-point pixels: ``write_float_dicom(pixels, syntax, **attributes)``."""
    return _float_dicom


@pytest.fixture(scope="session")
def write_dicom():
    """Write DICOM bytes with pydicom: ``write_dicom(pixels, syntax, frames, **attributes)``."""
    return _dicom


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
        "bmp": _pillow(rgb_image, "BMP"),
        "bmp-grey": _pillow(grey_image, "BMP"),
        "bmp-palette": _pillow(rgb_image.quantize(13), "BMP"),
        "gif": _pillow(rgb_image.quantize(13), "GIF"),
        "gif-transparent": _pillow(rgb_image.quantize(13), "GIF", transparency=2),
        "webp-lossless": _pillow(rgb_image, "WEBP", lossless=True),
        "webp-alpha": _pillow(Image.fromarray(np.dstack([rgb, grey])), "WEBP", lossless=True, exact=True),
        "webp-lossy": _pillow(rgb_image, "WEBP", quality=80),
        "npy": _npy(real),
        "npy-fortran": _npy(np.asfortranarray(rgb)),
        "dicom-raw": _dicom(deep),
        "dicom-rgb": _dicom(rgb, "1.2.840.10008.1.2"),
        "dicom-rle": _dicom(
            deep,
            "1.2.840.10008.1.2.5",
            [
                RLELosslessEncoder.encode(
                    deep.tobytes(),
                    rows=40,
                    columns=48,
                    number_of_frames=1,
                    samples_per_pixel=1,
                    bits_allocated=16,
                    bits_stored=16,
                    pixel_representation=0,
                    photometric_interpretation="MONOCHROME2",
                )
            ],
        ),
        "dicom-jpeg": _dicom(
            rgb, "1.2.840.10008.1.2.4.50", [imagecodecs.jpeg8_encode(rgb)], PhotometricInterpretation="YBR_FULL_422"
        ),
        "dicom-jpegls": _dicom(deep, "1.2.840.10008.1.2.4.80", [bytes(imagecodecs.jpegls_encode(deep))]),
        "dicom-j2k": _dicom(
            deep,
            "1.2.840.10008.1.2.4.90",
            [
                bytes(imagecodecs.jpeg2k_encode(deep, level=0, codecformat="j2k", reversible=True)),
            ],
        ),
    }
