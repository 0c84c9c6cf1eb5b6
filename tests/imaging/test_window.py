"""Windows that images bring themselves: what the file suggests, else all that its stored bits can hold."""

import numpy as np
import pytest

from medloom.imaging import Image, apply_window, decode, read_series
from medloom.imaging.canonical import along, slice_of
from medloom.imaging.types import DisplayTable, Volume
from support.tiffs import tiff


def levels(bits, *, signed=False):
    """A ramp over everything that so many bits can hold."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    kind = ("i" if signed else "u") + ("1" if bits <= 8 and not signed else "2")
    return np.linspace(low, high, 64).round().reshape(8, 8).astype(kind)


@pytest.mark.parametrize("intercept", ["0", "-1024"])
@pytest.mark.parametrize("slope", ["1", "-0.5"])
@pytest.mark.parametrize("grey", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("bits", "signed"), [(10, False), (12, False), (16, False), (12, True), (16, True)])
def test_stored_bits_are_brought_to_0_to_1(write_dicom, bits, signed, grey, slope, intercept):
    stored = levels(bits, signed=signed)
    image = decode(write_dicom(
        stored, BitsStored=bits, HighBit=bits - 1, PhotometricInterpretation=grey, RescaleSlope=slope,
        RescaleIntercept=intercept,
    ))  # fmt: skip
    shown = apply_window(image, "auto").pixels[..., 0].astype(np.float64)
    if (bits, signed, slope, intercept) == (16, False, "1", "0"):
        assert image.value_range is None
        shown /= 65535
    share = (stored.astype(np.float64) - stored.min()) / (2**bits - 1)
    falls = (float(slope) < 0) != (grey == "MONOCHROME1")
    np.testing.assert_allclose(shown, 1 - share if falls else share, atol=1e-6)


def test_the_window_of_the_file_comes_before_its_bits(write_dicom):
    image = decode(write_dicom(levels(12), BitsStored=12, HighBit=11, WindowCenter="1000", WindowWidth="500"))
    np.testing.assert_array_equal(apply_window(image, "auto").pixels, apply_window(image, "file").pixels)


def test_eight_bits_are_left_alone_and_so_are_numbers_of_an_unknown_range(write_dicom):
    for image in (
        decode(write_dicom(levels(8), WindowCenter="100", WindowWidth="50")),
        Image(np.float32([[[-900.0], [40.0]]]), "nifti"),
    ):
        assert apply_window(image, "auto") is image


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_tiff_of_fewer_bits_than_its_type_says_so(bits):
    image = decode(tiff(levels(bits), bits, rows=8))
    assert image.value_range == (0, 2**bits - 1)
    assert apply_window(image, "auto").pixels.max() == 1
    assert decode(tiff(levels(8), 8, rows=8)).value_range is None


def test_slices_of_a_series_know_what_their_files_said(write_dicom):
    files = [
        write_dicom(
            levels(12), BitsStored=12, HighBit=11, RescaleSlope=str(number + 1), RescaleIntercept="-1000",
            ImageOrientationPatient=["1", "0", "0", "0", "1", "0"], ImagePositionPatient=["0", "0", str(number)],
            PixelSpacing=["1", "1"],
            **({"WindowCenter": "40", "WindowWidth": "400"} if number == 2 else {}),
        )
        for number in range(3)
    ]  # fmt: skip
    volume = read_series(files)
    for number, data in enumerate(files):
        page, cut = decode(data), slice_of(volume, number)
        assert (cut.window, cut.value_range) == (page.window, page.value_range)
        np.testing.assert_array_equal(apply_window(cut, "auto").pixels, apply_window(page, "auto").pixels)
    across = slice_of(along(volume, "coronal")[0], 0)
    assert (across.window, across.value_range) == (None, (-1000, 3 * 4095 - 1000))


@pytest.mark.parametrize("apart", [False, True])
def test_what_shows_the_slices_of_a_volume_shows_those_of_another_plane_where_it_is_one(apart):
    tables = [DisplayTable(0.0, np.float32([0, 0.5, 1])) for _ in range(3)]
    windows = [(40.0, 400.0)] * 3
    if apart:
        tables[1], windows[2] = DisplayTable(0.0, np.float32([0, 0.2, 1])), (40.0, 80.0)
    volume = Volume(
        np.zeros((3, 4, 5), np.int16), (1.0, 1.0, 1.0), np.diag([-1.0, -1.0, 1.0, 1.0]), "dicom", ("known",),
        windows=tuple(windows), tables=tuple(tables),
    )  # fmt: skip
    cut, _ = along(volume, "coronal")
    first = slice_of(cut, 0)
    assert first.window == (None if apart else (40.0, 400.0))
    assert (first.table is None) == apart
    assert first.notes[0] == "known"
    assert len(first.notes) == 1 + apart
    assert along(volume, "axial")[0].notes == ("known",)
