"""Lookup tables that show an image (VOI LUT) are applied as pydicom applies them."""

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from medloom.errors import InputError
from medloom.imaging import apply_window, decode

SHAPE = (40, 48)


def voi(entries, first, bits, *, vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return Sequence([item])


def curve(count, bits):
    """An S-shaped table, as mammographs store it."""
    steps = np.linspace(-4, 4, count)
    return (2**bits - 1) / (1 + np.exp(-steps))


def by_pydicom(data, bits):
    dataset = dcmread(io.BytesIO(data))
    values = apply_modality_lut(dataset.pixel_array, dataset).astype(np.int32)
    shown = apply_voi_lut(values, dataset, prefer_lut=True) / (2**bits - 1)
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": "1", "RescaleIntercept": "-1024"}])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": "100", "WindowWidth": "50"}])
def test_tables_are_applied_as_pydicom_does(write_dicom, photometric, bits, rescale, window):
    pixels = np.random.default_rng(4).integers(0, 4096, SHAPE).astype(np.uint16)
    first, vr = (-500, "SS") if rescale else (300, "US")
    data = write_dicom(
        pixels, BitsStored=12, HighBit=11, PhotometricInterpretation=photometric,
        VOILUTSequence=voi(curve(3000, bits), first, bits, vr=vr), **rescale, **window,
    )  # fmt: skip
    shown = apply_window(decode(data), "file")
    np.testing.assert_allclose(shown.pixels[..., 0], by_pydicom(data, bits), atol=1e-6)
    assert shown.pixels.dtype == np.float32
    assert "lookup table of the file applied" in shown.notes
    assert (shown.window, shown.table) == (None, None)


def test_a_first_value_below_zero_is_one_also_where_its_type_has_no_sign(write_dicom):
    pixels = np.arange(-4, 4, dtype=np.int16).reshape(2, 4)
    table = voi([0, 255, 511, 1023], 2**16 - 2, 10)
    shown = apply_window(decode(write_dicom(pixels, VOILUTSequence=table)), "file").pixels.ravel()
    np.testing.assert_allclose(shown, np.array([0, 0, 0, 255, 511, 1023, 1023, 1023]) / 1023, atol=1e-6)


def test_a_window_that_a_user_names_goes_before_the_table_of_the_file(write_dicom):
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4)
    plain, with_table = (
        decode(write_dicom(pixels, **more)) for more in ({}, {"VOILUTSequence": voi(curve(16, 8), 0, 8)})
    )
    np.testing.assert_array_equal(with_table.pixels, plain.pixels)
    np.testing.assert_array_equal(apply_window(with_table, (8, 4)).pixels, apply_window(plain, (8, 4)).pixels)


@pytest.mark.parametrize(
    "table",
    [voi([1, 2], 0, 32), voi([1, 2, 70], 0, 5), voi([5000, 2], 0, 12), voi([], 0, 16), Sequence([Dataset()])],
)
def test_a_table_that_cannot_be_used_is_said_and_harms_no_pixel(write_dicom, table):
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4)
    image = decode(write_dicom(pixels, VOILUTSequence=table))
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)
    assert image.notes in (("the lookup table of the file to show it cannot be used",), ())
    with pytest.raises(InputError):
        apply_window(image, "file")


def test_tables_in_functional_groups_are_those_of_their_frame(write_dicom):
    pixels = np.stack([np.arange(16, dtype=np.uint16).reshape(4, 4)] * 2)
    groups = []
    for first in (0, 8):
        inner, outer = Dataset(), Dataset()
        inner.VOILUTSequence = voi([0, 255], first, 8)
        outer.FrameVOILUTSequence = Sequence([inner])
        groups.append(outer)
    data = write_dicom(pixels, NumberOfFrames="2", PerFrameFunctionalGroupsSequence=Sequence(groups))
    for page, first in ((0, 0), (1, 8)):
        shown = apply_window(decode(data, page=page), "file").pixels[..., 0]
        np.testing.assert_array_equal(shown, pixels[page] > first)
