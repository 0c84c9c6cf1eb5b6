"""Padding of images that went through lossy compression: no exact value says any more where it is."""

import imagecodecs
import numpy as np
import pytest

from medloom.imaging import decode

ROWS, COLUMNS = np.mgrid[:192, :192]
CT = "1.2.840.10008.5.1.4.1.1.2"
FROM_CENTRE = (ROWS - 96) ** 2 + (COLUMNS - 96) ** 2
PADDED = FROM_CENTRE > 94**2


def slice_of_ct():
    """A round field of view: a body of about 40 HU in air, padded with -2000 outside."""
    noise = np.random.default_rng(3).normal(0, 10, ROWS.shape)
    image = np.where((ROWS - 96) ** 2 / 70**2 + (COLUMNS - 96) ** 2 / 50**2 < 1, 40, -1000) + noise
    return np.where(PADDED, -2000, image).round().astype(np.int16)


def extended_jpeg(pixels, level):
    stored = (pixels + 2048).clip(0, 4095).astype(np.uint16)
    return stored, imagecodecs.jpeg8_encode(stored, bitspersample=12, level=level)


@pytest.mark.parametrize("level", [60, 75, 95])
def test_padding_of_a_lossy_jpeg_does_not_stretch_the_range(write_dicom, level):
    truth = slice_of_ct()
    stored, frame = extended_jpeg(truth, level)
    attributes = {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": "-2048", "RescaleSlope": "1"}
    data = write_dicom(
        stored, "1.2.840.10008.1.2.4.51", [frame], sop_class=CT, Modality="CT", PixelPaddingValue=48, **attributes
    )
    image = decode(data)
    pixels = image.pixels[..., 0]
    assert -1150 < pixels.min() < -1000
    assert (pixels[FROM_CENTRE > 97**2] == pixels.min()).all()
    inside = FROM_CENTRE < 60**2
    without = decode(write_dicom(stored, "1.2.840.10008.1.2.4.51", [frame], sop_class=CT, **attributes)).pixels[..., 0]
    assert without.min() < -1900
    np.testing.assert_array_equal(pixels[inside], without[inside])
    np.testing.assert_array_equal(pixels.max(), without.max())
    assert "padding, which lossy compression changed" in image.notes[-1]


@pytest.mark.parametrize("level", [75, 80])
def test_padding_of_a_lossy_jpeg_2000_does_not_stretch_the_range(write_dicom, level):
    truth = slice_of_ct()
    frame = bytes(imagecodecs.jpeg2k_encode(truth, level=level, codecformat="j2k", reversible=False))
    data = write_dicom(truth, "1.2.840.10008.1.2.4.91", [frame], sop_class=CT, PixelPaddingValue=-2000)
    assert -1150 < decode(data).pixels.min() < -1000


def test_padding_is_a_region_where_a_lossy_image_was_unpacked_since(write_dicom):
    truth = slice_of_ct()
    blurred = truth + np.random.default_rng(1).integers(-3, 4, truth.shape).astype(np.int16)
    plain, said = (
        decode(write_dicom(blurred, PixelPaddingValue=-2000, **more)).pixels
        for more in ({}, {"LossyImageCompression": "01"})
    )
    assert plain.min() < -1990
    assert said.min() > -1100


def test_dark_pixels_inside_are_no_padding(write_dicom):
    truth = slice_of_ct()
    truth[90:100, 90:100] = -2000
    image = decode(write_dicom(truth, PixelPaddingValue=-2000, LossyImageCompression="01"))
    assert (image.pixels[92:98, 92:98] == -2000).all()


def test_a_frame_of_padding_alone_is_left_as_it_is(write_dicom):
    data = write_dicom(np.full((40, 40), 5, np.uint16), PixelPaddingValue=5, LossyImageCompression="01")
    assert (decode(data).pixels == 5).all()
