"""DICOM data sets without preamble, file meta information, or both, as some archives hand them out."""

import io

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from medloom.errors import DecodeError
from medloom.imaging import decode, inspect, sniff
from medloom.imaging.inspection import inspect_data

NAME = "Canary^Bare"
ENCODINGS = [("Implicit VR Little Endian", True, True), ("Explicit VR Little Endian", True, False),
             ("Explicit VR Big Endian", False, False)]  # fmt: skip


def bare(write_dicom, pixels, *, little, implicit, leave_out=(), **attributes):
    """Write the data set alone."""
    syntax = "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
    dataset = dcmread(io.BytesIO(write_dicom(pixels, syntax, PatientName=NAME, **attributes)))
    for keyword in leave_out:
        delattr(dataset, keyword)
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = little, implicit
    write_dataset(stream, dataset)
    return stream.getvalue()


def refusal(data):
    with pytest.raises(DecodeError) as caught:
        decode(data)
    return caught.value


@pytest.mark.parametrize(("name", "little", "implicit"), ENCODINGS)
@pytest.mark.parametrize("head", [b"", bytes(128) + b"DICM"])
@pytest.mark.parametrize("first", [{}, {"SpecificCharacterSet": "ISO_IR 192"}, {"ImageType": ["ORIGINAL", "PRIMARY"]}])
def test_a_data_set_is_read_as_pydicom_reads_it_by_force(write_dicom, make_pixels, name, little, implicit, head, first):
    pixels = make_pixels((20, 24), "uint16")
    data = head + bare(write_dicom, pixels, little=little, implicit=implicit, PixelSpacing=["2", "1"], **first)
    image = decode(data)
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)
    assert (image.spacing_mm, image.notes) == ((2, 1), (f"no transfer syntax in the file: read as {name}",))
    assert sniff(data) == "dicom"
    assert inspect(data).shape == image.pixels.shape
    assert inspect_data(data).refused == ""
    if little:
        dataset = dcmread(io.BytesIO(data), force=True)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
        np.testing.assert_array_equal(dataset.pixel_array, pixels)


@pytest.mark.parametrize(("name", "little", "implicit"), ENCODINGS)
def test_a_cut_data_set_is_truncated_and_says_no_name(write_dicom, make_pixels, name, little, implicit):
    data = bare(write_dicom, make_pixels((20, 24), "uint16"), little=little, implicit=implicit)
    for part in range(1, 16):
        error = refusal(data[: len(data) * part // 16])
        assert error.code == "truncated"
        assert "Canary" not in f"{error} {error.hint} {error.field}"


def test_compressed_pixels_without_a_transfer_syntax_are_refused(write_dicom, make_pixels):
    pixels = make_pixels((20, 24), "uint16")
    frame = bytes(imagecodecs.jpegls_encode(pixels))
    data = write_dicom(pixels, "1.2.840.10008.1.2.4.80", [frame])
    start = 144 + int.from_bytes(data[140:144], "little")
    error = refusal(data[start:])
    assert (error.code, error.field) == ("unsupported", "TransferSyntaxUID")


@pytest.mark.parametrize(
    "junk", [b"\x08\0\x05\0", b"\x08\0\x16\0" * 50, b"\0\x08\0\x05" * 50, b"\x08\0\x08\0CS" + bytes(99)]
)
def test_what_only_begins_like_a_data_set_is_refused(junk):
    assert refusal(junk).code in ("truncated", "corrupt", "unsupported", "too_large")


def test_a_mosaic_is_named(write_dicom, make_pixels):
    image_type = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    error = refusal(write_dicom(make_pixels((40, 48), "uint16"), ImageType=image_type, Modality="MR"))
    assert error.code == "unsupported"
    assert "mosaic" in error.message
    assert "dcm2niix" in str(error.hint)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32"])
def test_a_dose_grid_comes_in_its_unit(write_dicom, make_pixels, dtype):
    pixels = make_pixels((20, 24), "uint16").astype(dtype)
    attributes = {"Modality": "RTDOSE", "sop_class": "1.2.840.10008.5.1.4.1.1.481.2", "DoseUnits": "GY"}
    image = decode(write_dicom(pixels, DoseGridScaling="0.00025", **attributes))
    np.testing.assert_allclose(image.pixels[..., 0], pixels * 0.00025, rtol=1e-6)
    assert image.notes == ("dose scaled by the file's grid scaling",)
    assert inspect(write_dicom(pixels, DoseGridScaling="0.00025", **attributes)).dtype == "float32"
    assert refusal(write_dicom(pixels, DoseGridScaling="0", **attributes)).code == "corrupt"
    plain = decode(write_dicom(pixels, DoseGridScaling="0.00025", Modality="CT"))
    np.testing.assert_array_equal(plain.pixels[..., 0], pixels)
