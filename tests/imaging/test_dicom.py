"""DICOM: the same pixels as pydicom and independent decoders, in the values that the file means."""

import io
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array as encode_openjpeg
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_rescale, apply_windowing
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.pixels.processing import convert_color_space
from pydicom.sequence import Sequence

from medloom.errors import DecodeError, InputError
from medloom.imaging import Budget, Image, apply_window, decode, inspect, transfer_syntaxes

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE = (f"1.2.840.10008.1.2{tail}" for tail in ("", ".1", ".1.99", ".2", ".5"))
(BASELINE, EXTENDED, LOSSLESS, LOSSLESS_SV1, JPEGLS, JPEGLS_NEAR, J2K, J2K_LOSSY, HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY) = (
    f"1.2.840.10008.1.2.4.{tail}" for tail in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)
)

SHIPPED = [
    "CT_small.dcm", "ExplVR_BigEnd.dcm", "GDCMJ2K_TextGBR.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small.dcm", "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_dcmtk_+eb+cy+n2.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm", "SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "SC_rgb_jpeg.dcm", "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_jpeg_dcmd.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_rle_32bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm",
    "SC_rgb_small_odd_jpeg.dcm", "SC_ybr_full_422_uncompressed.dcm", "examples_jpeg2k.dcm", "examples_overlay.dcm",
    "examples_palette.dcm", "examples_rgb_color.dcm", "image_dfl.dcm", "rtdose.dcm", "rtdose_expb.dcm",
    "rtdose_rle.dcm", "dicomdirtests/77654033/CR1/6154", "dicomdirtests/98892001/CT5N/2062",
    "dicomdirtests/98892003/MR1/15820",
]  # fmt: skip
REFUSED = {
    "MR_truncated.dcm": "truncated", "rtplan_truncated.dcm": "truncated", "MR_small_padded.dcm": "corrupt",
    "badVR.dcm": "corrupt", "meta_missing_tsyntax.dcm": "corrupt", "no_meta.dcm": "unsupported",
    "reportsi.dcm": "unsupported", "test-SR.dcm": "unsupported", "rtplan.dcm": "unsupported",
    "waveform_ecg.dcm": "unsupported", "dicomdirtests/DICOMDIR": "unsupported", "liver_1frame.dcm": "corrupt",
    "JPEG2000-embedded-sequence-delimiter.dcm": "corrupt",
}  # fmt: skip


def refusal(data, **options):
    with pytest.raises(DecodeError) as caught:
        decode(data, **options)
    return caught.value


def by_pydicom(path, pages):
    """Return what pydicom makes of a file: (N, H, W, C), inverted and rescaled as its header says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = 2**dataset.BitsStored - 1 - pixels
        if "DoseGridScaling" in dataset:
            pixels = pixels * np.float64(dataset.DoseGridScaling)
        return apply_rescale(pixels, dataset).reshape(pages, dataset.Rows, dataset.Columns, -1)


@pytest.mark.parametrize("name", SHIPPED)
def test_pixels_are_those_of_pydicom(name):
    data = (FILES / name).read_bytes()
    header = inspect(data)
    pixels = np.stack([decode(data, page=page).pixels for page in range(header.pages)])
    expected = by_pydicom(FILES / name, header.pages)
    assert (header.shape, header.dtype) == (pixels.shape[1:], pixels.dtype.name)
    if pixels.dtype == np.float32:  # rounded once
        np.testing.assert_array_equal(pixels, expected.astype(np.float32))
    else:
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_broken_or_no_images_are_refused(name):
    assert refusal((FILES / name).read_bytes(), page=0).code == REFUSED[name]


def test_what_is_no_image_is_named_by_its_class():
    assert "1.2.840.10008.5.1.4.1.1.88.11" in str(refusal((FILES / "reportsi.dcm").read_bytes()))


def test_a_lossy_padded_ct_is_that_of_pydicom_where_it_is_not_padded():
    data = (FILES / "693_J2KI.dcm").read_bytes()
    pixels, expected = decode(data).pixels[..., 0], by_pydicom(FILES / "693_J2KI.dcm", 1)[0, ..., 0]
    assert expected.min() < -3900
    assert -1300 < pixels.min() < -1000
    np.testing.assert_array_equal(pixels[150:-150, 150:-150], expected[150:-150, 150:-150])
    assert (pixels != expected).mean() < 0.22  # the corners


# --- transfer syntaxes ---------------------------------------------------------------------------------------------


def smooth(shape=(40, 48), bits=16, *, signed=False):
    rng = np.random.default_rng(11)
    values = rng.normal(size=shape).cumsum(0).cumsum(1)
    values = (values - values.min()) / np.ptp(values) * (2**bits - 1)
    if signed:
        values -= 2 ** (bits - 1)
    return values.astype(f"{'' if signed else 'u'}int{8 if bits <= 8 else 16}")


KINDS = {
    "u8": (smooth(bits=8), 8), "u16": (smooth(), 16), "u12": (smooth(bits=12), 12),
    "i16": (smooth(signed=True), 16), "i12": (smooth(bits=12, signed=True), 12), "i8": (smooth(bits=8, signed=True), 8),
    "rgb": (np.stack([smooth(bits=8), smooth(bits=8)[::-1], smooth(bits=8)[:, ::-1]], axis=-1), 8),
    "odd": (smooth((35, 33), 8), 8),
}  # fmt: skip


def patterns(pixels, bits):
    """Return the stored bits as numbers without sign, for encoders that know no other."""
    unsigned = pixels.view(f"u{pixels.itemsize}") & pixels.dtype.type(0).astype(f"u{pixels.itemsize}").dtype.type(
        2**bits - 1
    )
    return np.ascontiguousarray(unsigned)


def rle(pixels, bits):
    return RLELosslessEncoder.encode(
        pixels.tobytes(), rows=pixels.shape[0], columns=pixels.shape[1], number_of_frames=1,
        samples_per_pixel=3 if pixels.ndim == 3 else 1, bits_allocated=8 * pixels.itemsize, bits_stored=bits,
        pixel_representation=int(pixels.dtype.kind == "i"), planar_configuration=0,
        photometric_interpretation="RGB" if pixels.ndim == 3 else "MONOCHROME2",
    )  # fmt: skip


def lossless_jpeg(predictor):
    def encode(pixels, bits):
        space = {"colorspace": "RGB", "outcolorspace": "RGB"} if pixels.ndim == 3 else {}
        return imagecodecs.jpeg8_encode(
            patterns(pixels, bits), lossless=True, predictor=predictor, bitspersample=bits, **space
        )

    return encode


def openjpeg(pixels, bits):
    return encode_openjpeg(pixels, bits_stored=bits, photometric_interpretation=int(pixels.ndim == 3))


def htj2k(pixels, bits):
    return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))


def charls(pixels, bits):
    return bytes(jpeg_ls.encode_array(patterns(pixels, bits), interleave_mode=2 if pixels.ndim == 3 else None))


LOSSLESS_ENCODERS = {
    RLE: rle, LOSSLESS: lossless_jpeg(4), LOSSLESS_SV1: lossless_jpeg(1), JPEGLS: charls, JPEGLS_NEAR: charls,
    J2K: openjpeg, J2K_LOSSY: openjpeg, HTJ2K: htj2k, HTJ2K_RPCL: htj2k, HTJ2K_LOSSY: htj2k,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", LOSSLESS_ENCODERS)
def test_lossless_frames_come_back_bit_by_bit(write_dicom, syntax, kind):
    """The encoders are other libraries than the decoder, or the decoder's output is compared with the original."""
    pixels, bits = KINDS[kind]
    if LOSSLESS_ENCODERS[syntax] is charls and bits == 12 and kind == "u12":
        bits = 16 if pixels.max() > 4095 else bits
    frame = LOSSLESS_ENCODERS[syntax](pixels, bits)
    image = decode(write_dicom(pixels, syntax, [frame], BitsStored=bits, HighBit=bits - 1))
    np.testing.assert_array_equal(image.pixels.squeeze(), pixels)
    assert image.pixels.dtype == pixels.dtype


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_of_lossless_jpeg_is_that_of_two_other_decoders(write_dicom, predictor):
    pixels = smooth()
    frame = lossless_jpeg(predictor)(pixels, 16)
    found = decode(write_dicom(pixels, LOSSLESS, [frame])).pixels[..., 0]
    np.testing.assert_array_equal(found, imagecodecs.jpegsof3_decode(frame))
    np.testing.assert_array_equal(found, imagecodecs.ljpeg_decode(frame))
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN])
def test_uncompressed_pixels_are_those_of_pydicom(write_dicom, syntax, kind):
    pixels, bits = KINDS[kind]
    data = write_dicom(pixels, syntax, BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(decode(data).pixels.squeeze(), pixels)
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(data)).pixel_array, pixels)


def test_bits_that_are_not_stored_are_not_read(write_dicom):
    """Old scanners kept overlays in the bits above; signs are extended from the highest bit that is stored."""
    for signed in (False, True):
        pixels = smooth(bits=12, signed=signed)
        dirty = (pixels.view("u2") & 0x0FFF) | np.uint16(0xA000)
        data = write_dicom(dirty, BitsStored=12, HighBit=11, PixelRepresentation=int(signed))
        np.testing.assert_array_equal(decode(data).pixels[..., 0], pixels)
        shifted = write_dicom(dirty << 4 | 7, BitsStored=12, HighBit=15, PixelRepresentation=int(signed))
        np.testing.assert_array_equal(decode(shifted).pixels[..., 0], pixels)


def test_colours_by_plane_are_those_by_pixel(write_dicom):
    pixels = KINDS["rgb"][0]
    planes = write_dicom(pixels, PlanarConfiguration=1, PixelData=np.moveaxis(pixels, -1, 0).tobytes())
    np.testing.assert_array_equal(decode(planes).pixels, pixels)


@pytest.mark.parametrize(("syntax", "bits"), [(BASELINE, 8), (EXTENDED, 8), (EXTENDED, 12)])
def test_lossy_jpeg_is_within_its_loss(write_dicom, syntax, bits):
    pixels = smooth((64, 80), bits)
    frame = imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=bits)
    found = decode(write_dicom(pixels, syntax, [frame], BitsStored=bits, HighBit=bits - 1)).pixels[..., 0]
    np.testing.assert_array_equal(found, imagecodecs.jpeg8_decode(frame))
    assert np.abs(found.astype(int) - pixels).max() < 2**bits / 40


def test_the_shipped_12_bit_jpeg_decodes():
    image = decode((FILES / "JPGExtended.dcm").read_bytes())
    assert image.pixels.shape == (1024, 256, 1)
    assert image.pixels.dtype == np.uint16
    assert 200 < image.pixels.max() < 4096


def test_the_shipped_lossless_jpeg_is_that_of_another_decoder():
    path = FILES / "SC_rgb_jpeg_gdcm.dcm"
    fragments = list(pydicom.encaps.generate_fragments(pydicom.dcmread(path).PixelData))
    np.testing.assert_array_equal(decode(path.read_bytes()).pixels, imagecodecs.jpegsof3_decode(fragments[-1]))


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_colours_of_a_jpeg_without_markers_are_those_of_the_header(write_dicom, photometric):
    pixels = KINDS["rgb"][0]
    options = {"colorspace": "RGB", "outcolorspace": "RGB"} if photometric == "RGB" else {}
    frame = imagecodecs.jpeg8_encode(pixels, level=100, subsampling="444", **options)
    frame = bytes(frame[:2] + frame[4 + int.from_bytes(frame[4:6], "big") :])  # without the marker
    frame = frame.replace(b"R\x11\x00G\x11\x00B\x11\x00", b"\1\x11\x00\2\x11\x00\3\x11\x00")
    frame = frame.replace(b"\x03R\x00G\x00B\x00", b"\x03\1\x00\2\x00\3\x00")
    found = decode(write_dicom(pixels, BASELINE, [frame], PhotometricInterpretation=photometric)).pixels
    assert np.abs(found.astype(int) - pixels).max() < 12


def test_every_syntax_is_listed_and_others_are_named(write_dicom):
    assert set(transfer_syntaxes()) == {
        IMPLICIT,
        EXPLICIT,
        DEFLATED,
        BIG_ENDIAN,
        BASELINE,
        EXTENDED,
        *LOSSLESS_ENCODERS,
    }
    for uid in ("1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.93", "1.2.3.4"):
        error = refusal(
            write_dicom(smooth(), EXPLICIT).replace(b"1.2.840.10008.1.2.1\0", uid.encode().ljust(20, b"\0")[:20])
        )
        assert error.code == "unsupported"
        assert f"unsupported_transfer_syntax: {uid[:20]}"[:40] in str(error)


# --- meaning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["u8", "u16", "u12", "i16", "i12"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": "0.684", "RescaleIntercept": "200"}])
def test_monochrome_1_and_2_twins_are_identical(write_dicom, kind, rescale):
    pixels, bits = KINDS[kind]
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if pixels.dtype.kind == "i" else (0, 2**bits - 1)
    twin = (lowest + highest - pixels.astype(int)).astype(pixels.dtype)
    attributes = dict(rescale, BitsStored=bits, HighBit=bits - 1)
    two = decode(write_dicom(pixels, **attributes))
    one = decode(write_dicom(twin, PhotometricInterpretation="MONOCHROME1", **attributes))
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert "MONOCHROME1 inverted" in one.notes


def test_windows_of_twins_show_the_same(write_dicom):
    pixels = smooth(bits=12)
    two = decode(write_dicom(pixels, BitsStored=12, HighBit=11, WindowCenter="1000", WindowWidth="800"))
    one = decode(write_dicom(
        4095 - pixels, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1",
        WindowCenter=str(4095 + 1 - 1000), WindowWidth="800",
    ))  # fmt: skip
    assert one.window == two.window == (1000, 800)
    np.testing.assert_array_equal(apply_window(one, "file").pixels, apply_window(two, "file").pixels)


@pytest.mark.parametrize(("slope", "intercept"), [("1", "-1024"), ("2.5", "0"), ("-0.25", "7"), ("1.0E-03", "0.5")])
def test_rescaled_values_are_exact(write_dicom, slope, intercept):
    pixels = smooth(bits=12, signed=True)
    image = decode(write_dicom(pixels, RescaleSlope=slope, RescaleIntercept=intercept))
    exact = pixels.astype(np.float64) * float(slope) + float(intercept)
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels[..., 0], exact.astype(np.float32))
    np.testing.assert_allclose(image.pixels[..., 0], exact, rtol=1e-6, atol=1e-6)


def test_an_identity_keeps_the_stored_type(write_dicom):
    image = decode(write_dicom(smooth(), RescaleSlope="1.0", RescaleIntercept="0"))
    assert image.pixels.dtype == np.uint16


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [("RescaleSlope", "nan", "non_finite"), ("RescaleSlope", "inf", "non_finite"),
     ("RescaleSlope", "1e999", "non_finite"), ("RescaleSlope", "1e38", "non_finite"), ("RescaleSlope", "0", "corrupt"),
     ("RescaleSlope", "-0.0", "corrupt"), ("RescaleSlope", "1_0", "corrupt"), ("RescaleSlope", "one", "corrupt"),
     ("RescaleIntercept", "-inf", "non_finite"), ("RescaleIntercept", "0x10", "corrupt"),
     ("PixelSpacing", "nan\\1", "non_finite"), ("PixelSpacing", "0\\1", "corrupt"), ("PixelSpacing", "1", "corrupt"),
     ("WindowCenter", "nan", "non_finite")],
)  # fmt: skip
def test_numbers_that_are_none_are_refused(write_dicom, keyword, value, code):
    marker = {
        "RescaleSlope": "1.25",
        "RescaleIntercept": "1.25",
        "PixelSpacing": ["1.25", "1.25"],
        "WindowCenter": "1.25",
    }
    attributes = {"WindowWidth": "4"} if keyword == "WindowCenter" else {}
    data = write_dicom(smooth(), **attributes, **{keyword: marker[keyword]})
    stored = b"1.25\\1.25 " if keyword == "PixelSpacing" else b"1.25"
    text = value.encode()
    text += b" " * (len(text) % 2)
    head = data.index(stored) - 2
    data = data[:head] + len(text).to_bytes(2, "little") + text + data[head + 2 + len(stored) :]
    error = refusal(data)
    assert (error.code, error.field) == (code, keyword)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_becomes_the_smallest_value(write_dicom, photometric):
    pixels = smooth(bits=12, signed=True) // 2
    padded = pixels.copy()
    padded[:, :7], padded[0, 20:23] = -2000, -1990
    data = write_dicom(
        padded, PhotometricInterpretation=photometric, RescaleSlope="2", RescaleIntercept="-24",
        PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1985,
    )  # fmt: skip
    data_without = write_dicom(padded, PhotometricInterpretation=photometric, RescaleSlope="2", RescaleIntercept="-24")
    found, plain = decode(data).pixels[..., 0], decode(data_without).pixels[..., 0]
    outside = padded < -1980
    np.testing.assert_array_equal(found[~outside], plain[~outside])
    assert (found[outside] == plain[~outside].min()).all()


def test_an_image_of_padding_alone_is_left_as_it_is(write_dicom):
    data = write_dicom(np.full((8, 8), 5, np.uint16), PixelPaddingValue=5)
    assert (decode(data).pixels == 5).all()


def palette(entries, bits, first=0, stored_bits=16):
    rng = np.random.default_rng(5)
    tables = rng.integers(0, 2**bits, (3, entries)).astype(f"<u{stored_bits // 8}")
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    described = {f"{name}Descriptor": [entries % 2**16, first, bits] for name in names}
    values = {f"{name}Data": table.tobytes() for name, table in zip(names, tables, strict=True)}
    return tables.T, {**described, **values, "PhotometricInterpretation": "PALETTE COLOR"}


@pytest.mark.parametrize(
    ("dtype", "entries", "bits", "first", "stored_bits"),
    [("u1", 256, 8, 0, 8), ("u1", 256, 16, 0, 16), ("u1", 256, 8, 0, 16), ("u1", 100, 16, 20, 16),
     ("u2", 65536, 16, 0, 16), ("u2", 4000, 16, 60000, 16)],
)  # fmt: skip
def test_palettes_are_expanded(write_dicom, dtype, entries, bits, first, stored_bits):
    colours, attributes = palette(entries, bits, first, stored_bits)
    indices = np.random.default_rng(6).integers(first, first + min(entries, 2 ** (8 * int(dtype[1])) - first), (20, 30))
    image = decode(write_dicom(indices.astype(dtype), **attributes))
    np.testing.assert_array_equal(image.pixels, colours[indices - first])
    assert image.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert "palette expanded" in image.notes


@pytest.mark.parametrize("index", [19, 120])
def test_an_index_outside_the_palette_is_refused(write_dicom, index):
    _, attributes = palette(100, 16, 20)
    indices = np.full((4, 4), 50, np.uint8)
    indices[1, 2] = index
    assert refusal(write_dicom(indices, **attributes)).code == "corrupt"


def test_a_palette_that_is_cut_or_missing_is_refused(write_dicom):
    _, attributes = palette(100, 16)
    short = dict(attributes, GreenPaletteColorLookupTableData=bytes(150))
    assert refusal(write_dicom(np.zeros((4, 4), np.uint8), **short)).code == "corrupt"
    missing = {name: value for name, value in attributes.items() if not name.startswith("Blue")}
    assert refusal(write_dicom(np.zeros((4, 4), np.uint8), **missing)).code == "corrupt"


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE])
def test_ybr_becomes_the_rgb_of_pydicom(write_dicom, syntax):
    pixels = np.random.default_rng(2).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    frames = [rle(pixels, 8)] if syntax == RLE else None
    image = decode(write_dicom(pixels, syntax, frames, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_array_equal(image.pixels, convert_color_space(pixels.copy(), "YBR_FULL", "RGB"))
    assert "YBR converted to RGB" in image.notes


def test_spacing_is_row_then_column_and_says_where_it_was_measured(write_dicom):
    pixels = smooth((8, 8))
    assert decode(write_dicom(pixels)).spacing_mm is None
    image = decode(write_dicom(pixels, PixelSpacing=["0.5", "0.25"]))
    assert (image.spacing_mm, image.notes) == ((0.5, 0.25), ())
    image = decode(write_dicom(pixels, ImagerPixelSpacing=["0.14", "0.14"]))
    assert image.spacing_mm == (0.14, 0.14)
    assert any("detector" in note for note in image.notes)


def test_a_spacing_of_zero_is_unknown_and_said(write_dicom):
    pixels = smooth((8, 8))
    image = decode(write_dicom(pixels, PixelSpacing=["0", "0.000"]))
    assert (image.spacing_mm, image.notes) == (None, ("a pixel spacing of 0 is taken for unknown",))
    image = decode(write_dicom(pixels, PixelSpacing=["0", "0"], ImagerPixelSpacing=["0.14", "0.14"]))
    assert (image.spacing_mm, len(image.notes)) == ((0.14, 0.14), 2)
    for impossible in (["0", "1"], ["-1", "-1"]):
        assert refusal(write_dicom(pixels, PixelSpacing=impossible)).field == "PixelSpacing"


def group(**attributes):
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def enhanced(write_dicom, syntax=EXPLICIT, **options):
    """Three frames; the slope is shared, intercepts, spacings and windows are each frame's own."""
    pixels = smooth((3, 20, 24), 12)
    own = [
        group(
            PixelValueTransformationSequence=Sequence([group(RescaleSlope="2", RescaleIntercept=str(10 * number))]),
            PixelMeasuresSequence=Sequence([group(PixelSpacing=["0.5", str(number + 1)])]),
            FrameVOILUTSequence=Sequence([group(WindowCenter=str(100 + number), WindowWidth="50")]),
        )
        for number in range(3)
    ]
    shared = [group(PixelMeasuresSequence=Sequence([group(PixelSpacing=["9", "9"])]))]
    data = write_dicom(
        pixels, syntax, NumberOfFrames="3", PerFrameFunctionalGroupsSequence=Sequence(own),
        SharedFunctionalGroupsSequence=Sequence(shared), **options,
    )  # fmt: skip
    return pixels, data


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_frames_are_pages_with_their_own_groups(write_dicom, syntax):
    pixels, data = enhanced(write_dicom, syntax)
    assert inspect(data).pages == 3
    assert refusal(data).code == "page_required"
    assert refusal(data, page=3).code == "page_required"
    for number in range(3):
        image = decode(data, page=number)
        np.testing.assert_array_equal(image.pixels[..., 0], pixels[number] * 2.0 + 10 * number)
        assert image.spacing_mm == (0.5, number + 1)
        assert image.window == (100 + number, 50)


def test_sequences_of_undefined_length_are_walked(write_dicom):
    _, data = enhanced(write_dicom)
    dataset = pydicom.dcmread(io.BytesIO(data))
    for sequence in (dataset["PerFrameFunctionalGroupsSequence"], dataset["SharedFunctionalGroupsSequence"]):
        sequence.is_undefined_length = True
        for item in sequence.value:
            item.is_undefined_length_sequence_item = True
    stream = io.BytesIO()
    dataset.save_as(stream)
    assert len(stream.getvalue()) > len(data)
    np.testing.assert_array_equal(decode(stream.getvalue(), page=2).pixels, decode(data, page=2).pixels)
    assert decode(stream.getvalue(), page=2).spacing_mm == (0.5, 3)


@pytest.mark.parametrize("tables", ["basic", "extended"])
def test_frames_in_several_fragments_are_put_together(write_dicom, tables):
    pixels = smooth((3, 20, 24), 12)
    frames = [bytes(imagecodecs.jpegls_encode(frame)) for frame in pixels]
    frames = [frame + bytes(len(frame) % 2) for frame in frames]
    whole = write_dicom(pixels, JPEGLS, frames, NumberOfFrames="3", BitsStored=12, HighBit=11)
    dataset = pydicom.dcmread(io.BytesIO(whole))
    encapsulated = encapsulate(frames, fragments_per_frame=2, has_bot=tables == "basic")
    dataset.PixelData = encapsulated
    if tables == "extended":
        lengths = [8 * 2 + len(frame) + len(frame) % 4 // 2 * 0 for frame in frames]
        items, at = [], 8  # offsets count from the first fragment, which follows the empty table
        while encapsulated[at : at + 4] == b"\xfe\xff\x00\xe0":
            items.append(at - 8)
            at += 8 + int.from_bytes(encapsulated[at + 4 : at + 8], "little")
        assert len(items) == 6
        assert len(lengths) == 3
        dataset.ExtendedOffsetTable = struct.pack("<3Q", *items[::2])
        dataset.ExtendedOffsetTableLengths = struct.pack("<3Q", *map(len, frames))
    stream = io.BytesIO()
    dataset.save_as(stream)
    for number in range(3):
        np.testing.assert_array_equal(decode(stream.getvalue(), page=number).pixels[..., 0], pixels[number])


def test_one_frame_in_several_fragments_is_put_together(write_dicom):
    pixels = smooth()
    frame = bytes(imagecodecs.jpegls_encode(pixels))
    half = len(frame) // 4 * 2
    np.testing.assert_array_equal(
        decode(write_dicom(pixels, JPEGLS, [frame[:half], frame[half:]])).pixels[..., 0], pixels
    )


def test_an_rle_frame_in_several_fragments_is_refused_as_what_it_is(write_dicom):
    pixels = smooth()
    frame = rle(pixels, 16)
    half = len(frame) // 4 * 2
    error = refusal(write_dicom(pixels, RLE, [frame[:half], frame[half:]]))
    assert "an RLE frame comes in 2 fragments; expected 1" in error.message
    error = refusal(write_dicom(pixels, RLE, [frame, frame]))
    assert "more frames than the header says" in error.message


@pytest.mark.parametrize("pad", [b" ", b"\0", b"\xff"])
@pytest.mark.parametrize("syntax", [BASELINE, EXTENDED, LOSSLESS, LOSSLESS_SV1, JPEGLS])
def test_bytes_that_fill_up_a_frame_are_passed_over(write_dicom, syntax, pad):
    pixels = smooth(bits=8)
    encoder = {JPEGLS: charls, LOSSLESS: lossless_jpeg(4), LOSSLESS_SV1: lossless_jpeg(1)}.get(
        syntax, lambda pixels, bits: imagecodecs.jpeg8_encode(pixels)
    )
    frame = bytes(encoder(pixels, 8))
    found, whole = (decode(write_dicom(pixels, syntax, [data])) for data in (frame + pad * 16, frame))
    np.testing.assert_array_equal(found.pixels, whole.pixels)
    assert refusal(write_dicom(pixels, syntax, [frame[:-2] + pad * 16])).code == "truncated"


def overshooting():
    """Pixels of 10 bits at their limits, compressed with 12, and what another decoder makes of them."""
    pixels = np.where(np.indices((64, 64)).sum(0) % 60 < 30, 900, 120).astype("u2")
    pixels[:8, :32] = np.where(np.arange(32) % 7 < 3, 1023, 0)
    frame = imagecodecs.jpeg8_encode(pixels, level=90, bitspersample=12)
    lossy = imagecodecs.jpeg8_decode(frame)
    assert 1023 < lossy.max() < 1023 + 128
    return frame, lossy


def test_pixels_that_lossy_compression_moves_beyond_the_stored_bits_are_clipped(write_dicom):
    frame, lossy = overshooting()
    clipped = lossy.clip(0, 1023)
    for photometric, expected in (("MONOCHROME2", clipped), ("MONOCHROME1", 1023 - clipped)):
        attributes = {"BitsStored": 10, "HighBit": 9, "PhotometricInterpretation": photometric}
        image = decode(write_dicom(lossy, EXTENDED, [frame], **attributes))
        np.testing.assert_array_equal(image.pixels[..., 0], expected)
        assert "pixels that lossy compression moved beyond 10 bits clipped" in image.notes


def test_pixels_far_beyond_the_stored_bits_are_no_overshoot(write_dicom):
    frame, lossy = overshooting()
    attributes = {"BitsStored": 9, "HighBit": 8, "PhotometricInterpretation": "MONOCHROME1"}
    assert refusal(write_dicom(lossy, EXTENDED, [frame], **attributes)).field == "BitsStored"


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN])
def test_one_bit_masks_are_unpacked_frame_by_frame(write_dicom, syntax):
    mask = np.random.default_rng(1).integers(0, 2, (3, 5, 7)).astype(np.uint8)
    packed = np.packbits(mask.ravel(), bitorder="little").tobytes()
    packed += bytes(len(packed) % 2)
    data = write_dicom(mask, syntax, NumberOfFrames="3", BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    for number in range(3):
        np.testing.assert_array_equal(decode(data, page=number).pixels[..., 0], mask[number])


# --- windows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("centre", "width"), [(40, 400), (-600, 1500.5), (0.5, 2)])
def test_windows_are_those_of_pydicom(write_dicom, centre, width):
    pixels = smooth(bits=12, signed=True)
    data = write_dicom(
        pixels, BitsStored=12, HighBit=11, RescaleSlope="1", RescaleIntercept="-20", RescaleType="HU", Modality="CT",
        WindowCenter=str(centre), WindowWidth=str(width),
    )  # fmt: skip
    dataset = pydicom.dcmread(io.BytesIO(data))
    shown = apply_windowing(apply_rescale(dataset.pixel_array, dataset), dataset)
    low, high = -2048 - 20, 2047 - 20
    for window in ("file", (centre, width)):
        found = apply_window(decode(data), window)
        np.testing.assert_allclose(found.pixels[..., 0], (shown - low) / (high - low), atol=1e-6)
        assert found.window is None


def test_exact_windows_are_the_same_as_linear_ones_moved_by_half(write_dicom):
    pixels = smooth(bits=8)
    data = write_dicom(pixels, WindowCenter="100", WindowWidth="80", VOILUTFunction="LINEAR_EXACT")
    shown = apply_windowing(pixels, pydicom.dcmread(io.BytesIO(data)))
    np.testing.assert_allclose(apply_window(decode(data), "file").pixels[..., 0], shown / 255, atol=1e-6)


def test_no_window_is_the_default_and_leaves_the_image_alone(write_dicom):
    image = decode(write_dicom(smooth(), WindowCenter=["40", "400"], WindowWidth=["80", "2000"]))
    assert image.window == (40, 80)
    assert apply_window(image, None) is image
    assert image.pixels.dtype == np.uint16


def test_a_window_of_width_one_is_a_threshold():
    image = Image(np.array([[[1.0], [2.0], [3.0]]], np.float32), "dicom")
    assert apply_window(image, (2.5, 1)).pixels.ravel().tolist() == [0, 0, 1]


def test_windows_that_cannot_be_used_say_so(write_dicom):
    sigmoid = decode(write_dicom(smooth(), WindowCenter="4", WindowWidth="8", VOILUTFunction="SIGMOID"))
    assert sigmoid.window is None
    assert any("window" in note for note in sigmoid.notes)
    with pytest.raises(InputError, match="no window"):
        apply_window(sigmoid, "file")
    for window in ((0, 0.5), (float("nan"), 4), (0, float("inf"))):
        with pytest.raises(InputError, match="width"):
            apply_window(sigmoid, window)


# --- hostile input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "code"),
    [({"Rows": 1, "Columns": 1}, "corrupt"), ({"Rows": 39}, "corrupt"), ({"Rows": 41}, "corrupt"),
     ({"Columns": 96}, "corrupt"), ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "corrupt"),
     ({"BitsAllocated": 32}, "corrupt"), ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "unsupported"),
     ({"BitsStored": 17}, "corrupt"), ({"BitsStored": 0}, "corrupt"), ({"HighBit": 3}, "corrupt"),
     ({"HighBit": 16}, "corrupt"), ({"PixelRepresentation": 2}, "corrupt"), ({"NumberOfFrames": "2"}, "corrupt"),
     ({"NumberOfFrames": "0"}, "corrupt"), ({"NumberOfFrames": "-1"}, "corrupt"), ({"Rows": 0}, "corrupt"),
     ({"NumberOfFrames": "2001"}, "too_large"), ({"Rows": 65535, "Columns": 65535}, "too_large"),
     ({"SamplesPerPixel": 3}, "unsupported"), ({"SamplesPerPixel": 2}, "unsupported"),
     ({"PhotometricInterpretation": "HSV"}, "unsupported"), ({"PhotometricInterpretation": "RGB"}, "unsupported"),
     ({"PhotometricInterpretation": "PALETTE COLOR"}, "corrupt")],
)  # fmt: skip
@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED])
def test_lies_in_the_header_are_refused(write_dicom, syntax, attributes, code):
    assert refusal(write_dicom(smooth(), syntax, **attributes), page=0).code == code


@pytest.mark.parametrize("syntax", LOSSLESS_ENCODERS)
@pytest.mark.parametrize(
    "attributes", [{"Rows": 39}, {"Rows": 41}, {"Columns": 24}, {"Columns": 4000}, {"NumberOfFrames": "2"},
                   {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}],
)  # fmt: skip
def test_lies_about_compressed_frames_are_refused(write_dicom, syntax, attributes):
    pixels = smooth()
    data = write_dicom(pixels, syntax, [LOSSLESS_ENCODERS[syntax](pixels, 16)], **attributes)
    assert refusal(data, page=0).code == "corrupt"


@pytest.mark.parametrize("syntax", [RLE, LOSSLESS, JPEGLS, J2K])
def test_more_frames_than_announced_are_refused(write_dicom, syntax):
    frame = LOSSLESS_ENCODERS[syntax](smooth(), 16)
    assert refusal(write_dicom(smooth(), syntax, [frame, frame])).code == "corrupt"


def test_extra_bytes_after_the_pixels_are_refused(write_dicom):
    odd = smooth((5, 5), 8)
    assert decode(write_dicom(odd)).pixels.shape == (5, 5, 1)  # padded to an even length
    for extra in (2, 100):
        assert refusal(write_dicom(odd, PixelData=odd.tobytes() + bytes(1 + extra))).code == "corrupt"
    assert refusal(write_dicom(odd, PixelData=odd.tobytes()[:-1])).code == "corrupt"


def test_rows_of_another_type_are_refused(write_dicom):
    data = write_dicom(smooth())
    stored = struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, 40)
    assert stored in data
    error = refusal(data.replace(stored, struct.pack("<HH2sHL", 0x28, 0x10, b"UL", 4, 40)))
    assert (error.code, error.field) == ("corrupt", "Rows")


def test_a_file_without_pixels_is_refused(write_dicom):
    dataset = pydicom.dcmread(io.BytesIO(write_dicom(smooth())))
    del dataset.PixelData
    stream = io.BytesIO()
    dataset.save_as(stream)
    assert refusal(stream.getvalue()).code == "truncated"


def test_a_file_that_is_also_a_program_is_refused(write_dicom):
    data = write_dicom(smooth())
    for start in (b"MZ", b"\x7fELF", b"#!/bin/sh\n"):
        error = refusal(start + data[len(start) :])
        assert (error.code, error.field) == ("unsupported", "preamble")


def test_a_file_that_is_also_a_tiff_is_dicom(write_dicom):
    data = write_dicom(smooth())
    assert decode(b"II*\0" + data[4:]).format == "dicom"


def test_a_file_without_preamble_is_read_if_it_says_how_it_is_encoded(write_dicom):
    data = write_dicom(smooth())
    np.testing.assert_array_equal(decode(data[132:]).pixels, decode(data).pixels)


def nested(depth, *, defined):
    """Return private sequences in one another."""
    value = b""
    for _ in range(depth):
        if defined:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(value)) + value
            value = struct.pack("<HH2sHL", 0x0009, 0x1001, b"SQ", 0, len(item)) + item
        else:
            value = (
                struct.pack("<HH2sHL", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF)
                + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + value + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
                + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
            )  # fmt: skip
    return value


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("depth", [60, 300, 3000])
def test_deep_sequences_end(write_dicom, depth, defined):
    data = write_dicom(smooth())
    rows = data.index(struct.pack("<HH2sH", 0x28, 0x02, b"US", 2))
    data = data[:rows] + nested(depth, defined=defined) + data[rows:]
    if defined or depth == 60:
        np.testing.assert_array_equal(decode(data).pixels[..., 0], smooth())
    else:
        assert refusal(data).code == "too_large"


def test_functional_groups_that_are_deep_or_broken_end(write_dicom):
    _, data = enhanced(write_dicom)
    assert refusal(data.replace(b"\xfe\xff\x00\xe0", b"\xfe\xff\x01\xe0", 1), page=0).code == "corrupt"
    longer = data.replace(b"\x00\x52\x30\x92SQ\x00\x00", b"\x00\x52\x30\x92UN\x00\x00", 1)
    assert refusal(longer, page=0).code in ("corrupt", "truncated")  # the items of UN do not say their types


def deflated(write_dicom, before=b"", pixels=b"", **attributes):
    """Return a deflated file with elements before and bytes instead of the pixels."""
    raw = write_dicom(np.zeros((4, 4), np.uint8), **attributes)
    start = raw.index(struct.pack("<HH2sH", 8, 0x16, b"UI", 26))
    data_set, pixel_head = raw[start:-16], struct.pack("<L", len(pixels))
    meta = raw[132:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    meta = meta.replace(struct.pack("<HH2sH", 2, 0x10, b"UI", 20), struct.pack("<HH2sH", 2, 0x10, b"UI", 22))
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    at = data_set.index(struct.pack("<HH2sH", 0x28, 2, b"US", 2))
    parts = (data_set[:at], before, data_set[at:-4], pixel_head, pixels)
    return raw[:132] + meta + b"".join(map(deflater.compress, parts)) + deflater.flush()


def peak_bytes(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_deflated_files_of_these_tests_are_sound(write_dicom):
    np.testing.assert_array_equal(decode(deflated(write_dicom, pixels=bytes(range(16)))).pixels.ravel(), range(16))


def test_deflated_bombs_are_refused_before_they_are_inflated(write_dicom):
    huge = bytes(100 * 2**20)
    honest = deflated(write_dicom, pixels=huge, Rows=10240, Columns=10240)
    lying = deflated(write_dicom, pixels=huge)
    early = deflated(write_dicom, before=struct.pack("<HH2sHL", 9, 0x10, b"OB", 0, len(huge)) + huge, pixels=bytes(16))
    del huge
    for bomb, code in ((honest, "too_large"), (lying, "corrupt"), (early, "too_large")):
        assert len(bomb) < 400_000
        errors = []
        assert peak_bytes(lambda bomb=bomb, errors=errors: errors.append(refusal(bomb))) < 64 * 2**20
        assert errors[0].code == code


def test_deflated_data_that_is_cut_damaged_or_followed_by_more_is_refused(write_dicom):
    data = deflated(write_dicom, pixels=bytes(range(16)))
    assert refusal(data[:-3]).code == "truncated"
    assert refusal(data + b"more").code == "corrupt"
    assert refusal(data[:-40] + bytes(40)).code in ("corrupt", "truncated")


def test_rle_bombs_are_refused_before_anything_is_allocated(write_dicom):
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 1000
    for rows, code in ((50_000, "too_large"), (7000, "corrupt")):
        bomb = write_dicom(np.zeros((4, 4), np.uint8), RLE, [frame], Rows=rows, Columns=7000)
        assert peak_bytes(lambda bomb=bomb, code=code: refusal(bomb).code == code) < 2**20
        assert refusal(bomb).code == code
    long = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 2**20
    bomb = write_dicom(np.zeros((4, 4), np.uint8), RLE, [long])
    assert peak_bytes(lambda: refusal(bomb)) < 8 * 2**20


@pytest.mark.parametrize(
    "offsets", [(2, 64, 64), (2, 64, 40), (2, 0, 100), (2, 64, 10**9), (15, *range(64, 79)), (10**9, 64), (1, 64)]
)
def test_rle_headers_that_lie_are_refused(write_dicom, offsets):
    frame = struct.pack("<16L", *offsets, *[0] * (16 - len(offsets))) + bytes(4000)
    assert refusal(write_dicom(smooth(), RLE, [frame])).code == "corrupt"


@pytest.mark.parametrize("syntax", [LOSSLESS, JPEGLS, J2K, HTJ2K, RLE, BASELINE])
def test_frames_that_are_cut_are_refused(write_dicom, syntax):
    pixels = smooth(bits=8)
    encode = LOSSLESS_ENCODERS.get(syntax, lambda pixels, _: imagecodecs.jpeg8_encode(pixels))
    frame = encode(pixels, 8)
    for part in range(1, 16):
        data = write_dicom(pixels, syntax, [frame[: len(frame) * part // 16]])
        assert refusal(data).code in ("corrupt", "truncated")


@pytest.mark.parametrize("syntax", [BASELINE, EXTENDED, LOSSLESS, LOSSLESS_SV1])
def test_jpeg_frames_that_are_cut_and_closed_again_are_refused(write_dicom, syntax):
    """libjpeg would fill the rest and only warn."""
    pixels = smooth(bits=8 if syntax == BASELINE else 12)
    options = {"lossless": True, "predictor": 1} if syntax in (LOSSLESS, LOSSLESS_SV1) else {}
    frame = imagecodecs.jpeg8_encode(pixels, bitspersample=8 if syntax == BASELINE else 12, **options)
    start = frame.index(b"\xff\xda") + 20
    for end in range(start, len(frame) - 12, 7):
        data = write_dicom(pixels, syntax, [frame[:end] + b"\xff\xd9"])
        assert refusal(data).code in ("corrupt", "truncated")


@pytest.mark.parametrize("syntax", list(LOSSLESS_ENCODERS))
def test_frames_of_another_kind_are_refused(write_dicom, syntax):
    for frame in (b"\0" * 200, b"\xff\xd8\xff\xd9", imagecodecs.png_encode(smooth())):
        assert refusal(write_dicom(smooth(), syntax, [bytes(frame)])).code in ("corrupt", "truncated")


def test_encapsulation_and_syntax_must_agree(write_dicom):
    data = write_dicom(smooth(), JPEGLS, [charls(smooth(), 16)])
    assert refusal(data.replace(JPEGLS.encode(), EXPLICIT.encode().ljust(len(JPEGLS), b"\0"))).code == "corrupt"
    data = write_dicom(smooth()).replace(EXPLICIT.encode() + b"\0", b"1.2.840.10008.1.2.5\0")
    assert refusal(data).code == "corrupt"


def test_elements_that_come_twice_are_refused(write_dicom):
    data = write_dicom(smooth())
    rows = struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, 40)
    assert refusal(data.replace(rows, rows + rows)).code == "corrupt"


def test_limits_hold_for_frames(write_dicom):
    _, data = enhanced(write_dicom)
    assert refusal(data, page=0, budget=Budget(max_frames=2)).code == "too_large"


def said(data):
    """Return all the words that come out."""
    try:
        return repr(decode(data).notes)
    except DecodeError as error:
        return f"{error} {error.hint} {error.field} {error.__cause__!r}"


def test_messages_name_nobody(write_dicom):
    canary = "CANARY^PATIENT"
    attributes = {"PatientName": canary, "PatientID": canary, "StudyDescription": canary, "InstitutionName": canary}
    good = write_dicom(smooth(), **attributes)
    assert canary.encode() in good
    rng = np.random.default_rng(4)
    for _ in range(300):
        changed = bytearray(good)
        changed[int(rng.integers(132, len(good) - 3800))] ^= int(rng.integers(1, 256))
        assert "CANARY" not in said(bytes(changed))
    data = write_dicom(smooth(), RescaleSlope="1.25", NumberOfFrames="1 ")
    for stored, canary in (
        (b"MONOCHROME2 ", b"CANARY^CANAR"),
        (b"1.25", b"CANA"),
        (EXPLICIT.encode(), b"CANARY^CANARY^CANAR"),
    ):
        assert "CANA" not in str(refusal(data.replace(stored, canary)))
