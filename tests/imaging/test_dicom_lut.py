"""Lookup tables in DICOM: modality tables and segmented palettes give what pydicom gives, and hostile ones end soon."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.data import get_palette_files
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.sequence import Sequence

from medloom.errors import DecodeError
from medloom.imaging import decode, inspect
from medloom.imaging.inspection import inspect_data

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (f"1.2.840.10008.1.2{tail}" for tail in ("", ".1", ".1.99", ".2"))
COLOURS = ("Red", "Green", "Blue")


def refusal(data):
    with pytest.raises(DecodeError) as caught:
        decode(data)
    return caught.value


def modality(table, first, bits=16, vr="OW", *, signed=False, little=True):
    """Return the attributes of a modality table."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(table) % 2**16, first, bits])
    item.add_new("LUTData", vr, table.astype("<u2" if little else ">u2").tobytes() if vr == "OW" else table.tolist())
    item.ModalityLUTType = "US"
    return {"ModalityLUTSequence": Sequence([item])}


def steps(count, bits=16):
    return np.random.default_rng(count).integers(0, 2**bits, count)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize(
    ("dtype", "entries", "first", "bits", "vr"),
    [("u1", 256, 0, 8, "US"), ("u1", 256, 0, 16, "OW"), ("u1", 100, 50, 16, "US"), ("u2", 4096, 0, 16, "OW"),
     ("u2", 65536, 0, 16, "OW"), ("u2", 1000, 2000, 16, "OW"), ("u2", 1000, 2000, 8, "OW"), ("u2", 2, 300, 16, "US"),
     ("i2", 2000, -1000, 16, "OW"), ("i2", 3000, -3, 8, "US"), ("i2", 20, 900, 16, "US")],
)  # fmt: skip
def test_modality_tables_are_applied_as_pydicom_applies_them(write_dicom, dtype, entries, first, bits, vr, syntax):
    low, high = (-2000, 2000) if dtype == "i2" else (0, 2 ** (8 * int(dtype[1])))
    pixels = np.random.default_rng(1).integers(low, high, (30, 20)).astype(dtype)
    attributes = modality(steps(entries, bits), first, bits, vr, signed=dtype == "i2", little=syntax != BIG_ENDIAN)
    data = write_dicom(pixels, syntax, **attributes)
    image, dataset = decode(data), pydicom.dcmread(io.BytesIO(data))
    np.testing.assert_array_equal(image.pixels[..., 0], apply_modality_lut(dataset.pixel_array, dataset))
    assert image.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert inspect(data).dtype == image.pixels.dtype.name
    assert image.notes == ("modality lookup table applied",)


def test_values_outside_a_table_get_its_first_and_last_entry(write_dicom):
    pixels = np.array([[-32768, -5, -4, -3, 0, 32767]], np.int16)
    data = write_dicom(pixels, **modality(np.array([7, 8, 9]), -5, signed=True))
    assert decode(data).pixels.ravel().tolist() == [7, 7, 8, 9, 9, 9]


def test_pixels_of_32_bits_are_looked_up(write_dicom):
    pixels = np.array([[0, 2**32 - 1, 10, 11]], np.uint32)
    assert decode(write_dicom(pixels, **modality(np.array([1, 2]), 10))).pixels.ravel().tolist() == [1, 2, 1, 2]


def test_entries_of_8_bits_may_be_packed(write_dicom):
    attributes = modality(np.arange(4), 0, 8)
    attributes["ModalityLUTSequence"][0].LUTData = bytes([4, 3, 2, 1])
    pixels = np.array([[0, 1, 2, 3]], np.uint8)
    assert decode(write_dicom(pixels, **attributes)).pixels.ravel().tolist() == [4, 3, 2, 1]


def test_monochrome_1_is_inverted_within_the_bits_of_the_table(write_dicom):
    pixels, table = np.arange(60, dtype=np.uint16).reshape(6, 10), steps(60)
    two = decode(write_dicom(pixels, **modality(table, 0), WindowCenter="30000", WindowWidth="900"))
    one = decode(write_dicom(
        pixels, **modality(65535 - table, 0), PhotometricInterpretation="MONOCHROME1", WindowCenter="35536",
        WindowWidth="900",
    ))  # fmt: skip
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.window == two.window == (30000, 900)
    assert one.notes == ("modality lookup table applied", "MONOCHROME1 inverted")


def test_padding_is_found_in_the_stored_values(write_dicom):
    pixels = np.array([[9, 1, 2, 3, 9, 9]], np.uint16)
    data = write_dicom(pixels, PixelPaddingValue=9, **modality(np.arange(100, 0, -10), 0))
    assert decode(data).pixels.ravel().tolist() == [70, 90, 80, 70, 70, 70]


def test_a_table_stands_beside_no_other_rescale_than_the_identity(write_dicom):
    pixels, attributes = np.zeros((4, 4), np.uint16), modality(steps(9), 0)
    plain = decode(write_dicom(pixels, **attributes)).pixels
    identity = write_dicom(pixels, RescaleSlope="1", RescaleIntercept="0", **attributes)
    np.testing.assert_array_equal(decode(identity).pixels, plain)
    error = refusal(write_dicom(pixels, RescaleSlope="2", RescaleIntercept="0", **attributes))
    assert (error.code, error.field) == ("corrupt", "ModalityLUTSequence")


def test_colours_have_no_modality_table(write_dicom):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(decode(write_dicom(pixels, **modality(steps(9), 0))).pixels, pixels)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"LUTDescriptor": [4, 0, 12]}, "unsupported"), ({"LUTDescriptor": [5, 0, 16]}, "corrupt"),
     ({"LUTDescriptor": [0, 0, 16]}, "corrupt"), ({"LUTDescriptor": [4, 0]}, "corrupt"),
     ({"LUTData": b""}, "corrupt"), ({"LUTData": bytes(10)}, "corrupt"), ({"LUTData": bytes(6)}, "corrupt")],
)  # fmt: skip
def test_modality_tables_that_lie_are_refused(write_dicom, changes, code):
    attributes = modality(steps(4), 0)
    for keyword, value in changes.items():
        attributes["ModalityLUTSequence"][0][keyword].value = value
    assert refusal(write_dicom(np.zeros((4, 4), np.uint16), **attributes)).code == code


def test_of_two_modality_tables_none_is_chosen(write_dicom):
    attributes = modality(steps(4), 0)
    attributes["ModalityLUTSequence"].append(attributes["ModalityLUTSequence"][0])
    assert refusal(write_dicom(np.zeros((4, 4), np.uint16), **attributes)).field == "ModalityLUTSequence"


def test_inspect_says_what_a_table_makes(write_dicom):
    facts = inspect_data(write_dicom(np.zeros((4, 4), np.uint8), **modality(np.array([500, 3]), 0)))
    assert (facts.refused, facts.dtype, facts.minimum, facts.maximum) == ("", "uint16", 500, 500)
    assert facts.notes == ("modality lookup table applied",)


# --- palettes in segments ------------------------------------------------------------------------------------------


def stored(numbers, bits, *, little=True):
    value = np.array(numbers, "u1" if bits == 8 else "<u2" if little else ">u2").tobytes()
    return value + bytes(len(value) % 2)


def segmented(entries, bits, first, *tables, little=True):
    """Return the attributes of a palette: three lists of numbers, or one for all colours."""
    tables = tables if len(tables) == 3 else tables * 3
    attributes = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, numbers in zip(COLOURS, tables, strict=True):
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [entries % 2**16, first, bits]
        value = stored(numbers, bits, little=little)
        attributes[f"Segmented{colour}PaletteColorLookupTableData"] = value
    return attributes


def check_as_pydicom(data):
    image, dataset = decode(data), pydicom.dcmread(io.BytesIO(data))
    np.testing.assert_array_equal(image.pixels, apply_color_lut(dataset.pixel_array, dataset))
    assert (inspect(data).shape, inspect(data).dtype) == (image.pixels.shape, image.pixels.dtype.name)
    assert image.notes == ("palette expanded",)


@pytest.mark.parametrize("name", ["spring", "summer", "fall", "winter"])
def test_the_segmented_palettes_of_the_standard_are_those_of_pydicom(write_dicom, name):
    standard = pydicom.dcmread(get_palette_files(f"{name}.dcm")[0])
    attributes = {
        element.keyword: element.value for element in standard if "PaletteColorLookupTable" in element.keyword
    }
    del attributes["PaletteColorLookupTableUID"]
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    check_as_pydicom(write_dicom(pixels, PhotometricInterpretation="PALETTE COLOR", **attributes))


def random_segments(bits, entries, rng):
    """Return discrete and linear segments of all lengths, and indirect ones that copy from the first one on."""
    longest = min(2**bits - 1, 300)
    numbers, made, firsts = [0, 3, *rng.integers(0, 2**bits, 3).tolist()], 3, 3
    while made < entries:
        length, kind = int(min(rng.integers(1, longest + 1), entries - made)), int(rng.integers(3))
        if kind == 0:
            numbers += [0, length, *rng.integers(0, 2**bits, length).tolist()]
        elif kind == 1:
            numbers += [1, length, int(rng.integers(2**bits))]
        elif entries - made >= firsts:
            numbers += [2, 1, *[0] * (4 if bits == 8 else 2)]
            length = firsts
        else:
            length = 0
        made += length
    return numbers


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED, BIG_ENDIAN])
@pytest.mark.parametrize(("bits", "entries", "first"), [(8, 256, 0), (8, 100, 20), (16, 4000, 7), (16, 65536, 0)])
def test_segments_of_every_kind_are_expanded_as_pydicom_expands_them(write_dicom, bits, entries, first, syntax):
    little, rng = syntax != BIG_ENDIAN, np.random.default_rng(entries)
    tables = [random_segments(bits, entries, rng) for _ in COLOURS]
    pixels = (first + np.arange(entries)).astype("u1" if entries <= 256 else "u2").reshape(4, -1)
    data = write_dicom(pixels, syntax, **segmented(entries, bits, first, *tables, little=little))
    if bits == 8 and not little:
        assert refusal(data).code == "unsupported"
    else:
        check_as_pydicom(data)


@pytest.mark.parametrize("bits", [8, 16])
def test_an_indirect_segment_counts_its_offset_in_bytes(write_dicom, bits):
    """As the standard says; pydicom counts in entries, which is the same for bytes only."""
    offset = [5, 0, 0, 0] if bits == 8 else [10, 0]
    numbers = [0, 3, 10, 20, 30, 1, 2, 50, 0, 1, 7, 2, 2, *offset]
    data = write_dicom(np.arange(9, dtype=np.uint8)[np.newaxis], **segmented(9, bits, 0, numbers))
    assert decode(data).pixels[0, :, 1].tolist() == [10, 20, 30, 40, 50, 7, 28, 50, 7]


def test_a_line_may_start_from_an_entry_of_0_in_a_copy(write_dicom):
    numbers = [0, 1, 8, 1, 2, 4, 0, 1, 0, 2, 1, 3, 0, 0, 0]
    data = write_dicom(np.arange(6, dtype=np.uint8)[np.newaxis], **segmented(6, 8, 0, numbers))
    assert decode(data).pixels[0, :, 2].tolist() == [8, 6, 4, 0, 2, 4]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("numbers", "code"),
    [([2, 1, 0, 0, 0, 0], "corrupt"),  # copies itself
     ([0, 2, 1, 2, 2, 1, 4, 0, 0, 0], "corrupt"), ([0, 2, 1, 2, 2, 9, 0, 0, 0, 0], "corrupt"),  # copies a copy
     ([0, 2, 1, 2, 2, 0, 0, 0, 0, 0], "corrupt"), ([0, 2, 1, 2, 2, 1, 2, 0, 0, 0], "corrupt"),  # none, and no segment
     ([0, 2, 1, 2, 2, 1, 255, 255, 255, 255], "corrupt"), ([0, 2, 1, 2, 2, 1, 0], "truncated"),
     ([1, 10, 5], "corrupt"), ([0, 0, 0, 10, *range(10)], "corrupt"), ([0, 1, 1, 1, 0, 5], "corrupt"),
     ([0, 200, 1, 2, 3], "truncated"), ([0, 2, 1, 2, 1, 8], "truncated"), ([7, 10, 1], "corrupt"),
     ([0, 1, 3, 1, 200, 3], "corrupt"), ([0, 1, 3, 1, 10, 3], "corrupt"), ([0, 9, *range(9)], "corrupt"),
     ([0, 10, *range(10), 0, 1, 1], "corrupt"), ([0, 1, 3] * 300, "corrupt")],
)  # fmt: skip
def test_hostile_segments_are_refused(write_dicom, numbers, code, bits):
    data = write_dicom(np.zeros((4, 4), np.uint8), **segmented(10, bits, 0, numbers))
    assert refusal(data).code == code


def test_the_work_that_segments_ask_for_is_bounded(write_dicom):
    """The dearest good ones, 65,536 entries made by as many copies of one; what asks for more ends before it begins."""
    single = [0, 1, 3] + [2, 1, 0, 0] * 65535
    pixels = np.full((4, 4), 65535, np.uint16)
    assert (decode(write_dicom(pixels, **segmented(65536, 16, 0, single))).pixels == 3).all()
    assert refusal(write_dicom(pixels, **segmented(65536, 16, 0, [0, 1, 3] + [2, 65535, 0, 0] * 9))).code == "corrupt"
    huge = stored([0, 1, 3] * 2**20, 16)
    attributes = segmented(65536, 16, 0, [0, 1]) | {"SegmentedRedPaletteColorLookupTableData": huge}
    assert "bytes of segments" in str(refusal(write_dicom(pixels, **attributes)))
