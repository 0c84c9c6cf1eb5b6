"""De-identification: nothing of the patient in any byte that is written, and the pixels as they were."""

import io
import re
import struct
import zlib

import numpy as np
import pydicom
import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import get_entry
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)

from medloom.errors import DataError, DecodeError, UserError
from medloom.imaging import Budget, decode
from medloom.imaging.deidentify import Deidentifier, deidentify_files, profile_actions
from medloom.imaging.deidentify.cleaning import quiet_pydicom

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
WORD = "CANARY"
KEY = bytes(range(32))
PSEUDONYM = re.compile(rb"2\.25\.\d+|P[0-9A-F]{16}")  # by chance one holds the digits that are looked for
ROOT = "1.2.826.0.1.3680043.9.424242"
NEEDLES = [
    WORD.encode(),
    ROOT.encode(),
    b"19770123",
    b"112358",
    b"077Y",
    b"765.4321",
    b"7654321",
    b"\xca\xfe\xba\xbe" * 2,
]
TAGS = [int(tag, 16) for tag in profile_actions() if "X" not in tag]


def needles(data):
    """What is found in ``data`` outside the pseudonyms."""
    rest = PSEUDONYM.sub(b"", data)
    return [needle for needle in NEEDLES if needle in rest]


def image(**attributes):
    """A small CT slice with what every one has."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3"
    dataset.PatientID, dataset.PatientName, dataset.Modality = f"{WORD}7", f"{WORD}^ANNA", "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 6, 1
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PhotometricInterpretation, dataset.PixelSpacing = "MONOCHROME2", [0.5, 0.75]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.Manufacturer = "2", "-1024", "Maker"
    dataset.PixelData = np.arange(24, dtype="<u2").tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def stored(dataset, syntax=ExplicitVRLittleEndian):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.SourceApplicationEntityTitle = WORD
    dataset.file_meta.PrivateInformationCreatorUID = f"{ROOT}.77"
    dataset.file_meta.PrivateInformation = WORD.encode()
    dataset.preamble = (WORD * 30).encode()[:128]
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def read(cleaned):
    return pydicom.dcmread(io.BytesIO(cleaned.data))


def canary(tag, *, deep=True):
    """An attribute of the table with a value that must not come out."""
    vr = get_entry(tag)[0].split(" or ")[0]
    if vr == "SQ":
        item = Dataset()
        item.PatientName, item.AccessionNumber, item.StudyDescription = WORD, WORD, WORD
        item.add_new(0x00091001, "LO", WORD)
        return DataElement(tag, vr, Sequence([item] if deep else []))
    values = {
        "AE": WORD, "AS": "077Y", "CS": WORD, "DA": "19770123", "DS": "765.4321", "DT": "19770123112358.000000",
        "IS": "7654321", "LO": WORD, "LT": WORD, "PN": WORD, "SH": WORD, "ST": WORD, "TM": "112358", "UC": WORD,
        "UI": f"{ROOT}.{tag}", "UR": f"urn:{WORD}", "UT": WORD,
        "FD": struct.unpack("<d", b"\xca\xfe\xba\xbe" * 2)[0], "OB": b"\xca\xfe\xba\xbe" * 2,
        "UN": WORD.encode(), "US": 0xCAFE, "UL": 0xCAFEBABE, "FL": 7654.321,
    }  # fmt: skip
    return DataElement(tag, vr, values[vr])


def plant(dataset, tags=TAGS, *, skip=()):
    for tag in tags:
        known = tag in pydicom.datadict.DicomDictionary
        if tag >> 16 in (0, 2, 4) or tag in skip or tag == 0xFFFCFFFC:
            continue
        dataset[tag] = canary(tag) if known else DataElement(tag, "LO", WORD)
    dataset.add_new(0x00090010, "LO", WORD)
    dataset.add_new(0x00091001, "LO", WORD)
    dataset.add_new(0x50000005, "US", 3)
    dataset.add_new(0x50003000, "OW", WORD.encode())
    dataset.add_new(0x60023000, "OW", WORD.encode())
    dataset.add_new(0x60024000, "LT", WORD)
    dataset.add_new(0x00185555, "LO", WORD)  # no such attribute
    dataset.add_new(0x0040A160, "UT", WORD)  # text that the table does not list
    return dataset


def planted():
    """Canaries in every attribute of the table, at the top and three sequences deep, and in what is not listed."""
    dataset = plant(image(), skip=(0x00080018,))
    inner = plant(Dataset())
    for sequence in ("ReferencedImageSequence", "PurposeOfReferenceCodeSequence", "SharedFunctionalGroupsSequence"):
        outer = Dataset()
        setattr(outer, sequence, [inner])
        inner = plant(outer, [0x00100010, 0x00100020, 0x00080050])
    dataset.SharedFunctionalGroupsSequence = [inner]
    return dataset


@pytest.fixture(autouse=True)
def no_validation(monkeypatch):
    """Canaries are not always valid values."""
    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_no_canary_is_in_any_byte_of_the_output(syntax, capfd):
    source = planted()
    data = stored(source, syntax)
    plain = data if syntax != DeflatedExplicitVRLittleEndian else zlib.decompress(data[deflated_at(data) :], -15)
    assert plain.count(WORD.encode()) > 500
    cleaned = Deidentifier(key=KEY).clean(data)
    out = cleaned.data
    if syntax == DeflatedExplicitVRLittleEndian:
        out += zlib.decompress(out[deflated_at(out) :], -15)
    assert needles(out + cleaned.name.encode()) == []
    assert out[:128] == bytes(128)
    assert read(cleaned).PixelData == source.PixelData
    assert read(cleaned).file_meta.TransferSyntaxUID == syntax
    assert capfd.readouterr() == ("", "")


def deflated_at(data):
    return 132 + 12 + struct.unpack_from("<I", data, 140)[0]


def test_each_attribute_of_the_table_loses_its_value():
    places = [tag for tag in TAGS if tag >> 16 not in (0, 2, 4, 0xFFFC)]  # messages, headers and the end of a file
    assert [f"{tag:08X}" for tag in places if not loses_its_value(tag)] == []


def loses_its_value(tag):
    dataset = image(PatientID="", PatientName="")
    known = tag in pydicom.datadict.DicomDictionary
    if tag != 0x00080018:
        dataset[tag] = canary(tag) if known else DataElement(tag, "LO", WORD)
    cleaned = Deidentifier(key=KEY).clean(stored(dataset))
    out, action = read(cleaned), profile_actions()[f"{tag:08X}"]
    if needles(cleaned.data):
        return False
    if known and get_entry(tag)[0] in ("DA", "TM", "DT"):
        return tag not in out or out[tag].value in ("", None, "19000101", "000000", "19000101000000")
    if action == "X":
        return tag not in out
    if action in ("Z", "X/Z"):
        return not out[tag].value
    return bool(out[tag].value)


def test_the_table_is_whole_and_the_actions_are_of_the_standard():
    table = profile_actions()
    assert len(table) == 655
    assert set(table.values()) == {"D", "Z", "X", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"}
    known = {
        "00100010": "Z", "00100020": "Z/D", "00100030": "Z", "00100040": "Z", "00080050": "Z", "00080020": "Z",
        "00080080": "X/Z/D", "0008103E": "X", "00080018": "U", "0020000D": "U", "00200052": "U", "00101010": "X",
        "00081140": "X/Z/U*", "00080021": "X/D", "00080022": "X/Z", "60XX3000": "X", "50XXXXXX": "X", "0040A730": "D",
        "0040B020": "X/D", "300A0054": "U", "00700006": "D", "00181010": "X",  # of editions after 2024b
    }  # fmt: skip
    assert {tag: table[tag] for tag in known} == known


def test_the_picture_stays_as_it_was_and_the_file_says_what_was_done():
    source = image()
    out = read(Deidentifier().clean(stored(source)))
    for name in ("Rows", "Columns", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "Modality", "ImageType",
                 "PhotometricInterpretation", "Manufacturer", "SOPClassUID", "BitsAllocated", "PixelData"):  # fmt: skip
        assert out[name].value == source[name].value
    np.testing.assert_array_equal(out.pixel_array, np.arange(24).reshape(4, 6))
    assert out.PatientIdentityRemoved == "YES"
    assert out.LongitudinalTemporalInformationModified == "REMOVED"
    assert "Medloom" in out.DeidentificationMethod
    code = out.DeidentificationMethodCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")
    assert out.file_meta.MediaStorageSOPInstanceUID == out.SOPInstanceUID
    assert "SourceApplicationEntityTitle" not in out.file_meta


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_what_comes_out_decodes_to_the_same_picture(syntax):
    data = stored(image(), syntax)
    before, after = decode(data), decode(Deidentifier().clean(data).data)
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert after.spacing_mm == before.spacing_mm == (0.5, 0.75)


def test_encapsulated_pixels_keep_every_byte():
    frames = encapsulate([b"\xff\xd8" + bytes(range(200)) + b"\xff\xd9"] * 3)
    source = image(PixelData=frames, BitsAllocated=8, BitsStored=8, HighBit=7, NumberOfFrames="3")
    source["PixelData"].VR = "OB"
    source["PixelData"].is_undefined_length = True
    data = stored(source, JPEGBaseline8Bit)
    cleaned = Deidentifier().clean(data)
    assert read(cleaned).PixelData == frames
    assert frames in cleaned.data


def test_uids_and_patients_are_the_same_in_one_call_and_others_in_the_next():
    first, second = image(), image(SOPInstanceUID=f"{ROOT}.9")
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, first.SOPInstanceUID
    second.ReferencedImageSequence = [item]
    second.FrameOfReferenceUID = "1.2.840.10008.1.4.1.1"  # of the standard itself
    cleaner = Deidentifier()
    one, two = read(cleaner.clean(stored(first))), read(cleaner.clean(stored(second)))
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != first.SeriesInstanceUID
    assert two.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID != two.SOPInstanceUID
    assert two.ReferencedImageSequence[0].ReferencedSOPClassUID == CTImageStorage
    assert two.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    assert one.PatientID == two.PatientID != ""
    assert one.SOPInstanceUID.startswith("2.25.")
    assert one.SOPInstanceUID.is_valid
    other = read(Deidentifier().clean(stored(first)))
    assert other.SOPInstanceUID != one.SOPInstanceUID
    assert other.PatientID != one.PatientID


@pytest.mark.parametrize(
    "attributes",
    [{"BurnedInAnnotation": "YES"}, {"Modality": "US"}, {"Modality": "OT"}, {"Modality": "XC"}, {"Modality": "ES"},
     {"Modality": "SC"}, {"Modality": ""}, {"SOPClassUID": SecondaryCaptureImageStorage},
     {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, {"Modality": "US", "BurnedInAnnotation": ""},
     {"SOPClassUID": SecondaryCaptureImageStorage, "BurnedInAnnotation": "YES"}],
)  # fmt: skip
def test_text_that_may_be_burned_in_is_not_exported_unless_allowed(attributes):
    data = stored(image(**attributes))
    with pytest.raises(UserError, match="burned in"):
        Deidentifier().clean(data)
    assert read(Deidentifier(allow_burned_in=True).clean(data)).PatientIdentityRemoved == "YES"


def test_ultrasound_that_says_no_is_exported():
    assert Deidentifier().clean(stored(image(Modality="US", BurnedInAnnotation="NO")))


def test_text_in_attributes_of_another_type_does_not_come_out():
    dataset = image(PatientName="")
    dataset[0x00181110] = DataElement(0x00181110, "LO", WORD)  # a distance
    dataset[0x00180015] = DataElement(0x00180015, "LT", WORD)  # a body part
    dataset.KVP = "123456"
    dataset[0x00081140] = DataElement(0x00081140, "LT", WORD)  # a sequence
    dataset[0x00080008] = DataElement(0x00080008, "CS", f"ORIGINAL\\{WORD.lower()}")
    out = Deidentifier().clean(stored(dataset).replace(b"123456", WORD.encode())).data
    assert WORD.encode() not in out
    assert WORD.lower().encode() not in out


def coded_tags():
    """Attributes of coded strings that the profile does not list, and that do not say how the file is read."""
    pixels = (0x00280004, 0x00280301)
    listed = {int(tag, 16) for tag in profile_actions() if "X" not in tag}
    return [
        tag for tag, (vr, *_) in DicomDictionary.items()
        if vr == "CS" and tag not in listed and tag not in pixels and tag >> 16 not in (0x0002, 0x0004, 0x0000)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["DOE JOHN 1947", "SMITH", "JOHN_DOE"])
@pytest.mark.parametrize("values", ["{}", "YES\\{}\\NO"])
def test_names_in_coded_strings_do_not_come_out(name, values):
    dataset = image()
    for tag in coded_tags():
        dataset.add(DataElement(tag, "CS", values.format(name), validation_mode=pydicom.config.IGNORE))
    with quiet_pydicom():
        data = stored(dataset)
    cleaned = Deidentifier(allow_burned_in=True).clean(data)
    assert name.encode() in data
    assert name.encode() not in cleaned.data
    assert read(cleaned).get("BodyPartExamined") == (None if values == "{}" else ["YES", "NO"])


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("SpecificCharacterSet", "ISO_IR 192"), ("SpecificCharacterSet", ["", "ISO 2022 IR 87"]), ("Modality", "MG"),
     ("BodyPartExamined", "CHEST"), ("ViewPosition", "MLO"), ("ImageLaterality", "L"), ("PatientPosition", "HFS"),
     ("ImageType", ["DERIVED", "PRIMARY", "AXIAL"]), ("PresentationIntentType", "FOR PROCESSING"),
     ("ScanningSequence", ["SE", "IR"]), ("PatientOrientation", ["L", "F"]), ("VOILUTFunction", "SIGMOID"),
     ("LossyImageCompression", "01"), ("LossyImageCompressionMethod", "ISO_10918_1"), ("Units", "BQML")],
)  # fmt: skip
def test_defined_terms_stay(keyword, value):
    found = read(Deidentifier(allow_burned_in=True).clean(stored(image(**{keyword: value}))))[keyword].value
    assert (found if isinstance(value, str) else list(found)) == value


def deep(levels):
    item = Dataset()
    for _ in range(levels):
        outer = Dataset()
        outer.SharedFunctionalGroupsSequence = [item]
        item = outer
    return item


@pytest.mark.parametrize(
    ("make", "code"),
    [(lambda: b"", "empty"), (lambda: b"\0" * 500, "unsupported"), (lambda: b"\0" * 128 + b"DICM", "corrupt"),
     (lambda: stored(image())[:300], None), (lambda: stored(image())[:-5], "truncated"),
     (lambda: stored(image(PixelData=bytes(48) + WORD.encode())), "corrupt"),
     (lambda: stored(image(SOPClassUID=f"{ROOT}.5")), "unsupported"),
     (lambda: stored(image()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"), "unsupported"),
     (lambda: stored(without("PixelData")), "unsupported"), (lambda: stored(without("Rows")), "corrupt"),
     (lambda: stored(image(SharedFunctionalGroupsSequence=[deep(40)])), "unsupported")],
)  # fmt: skip
def test_what_is_no_sound_image_is_refused_without_quoting_it(make, code):
    with pytest.raises(DecodeError) as caught:
        Deidentifier().clean(make())
    assert code is None or caught.value.code == code
    assert WORD not in str(caught.value)
    assert ROOT not in str(caught.value)


def without(name):
    dataset = image()
    delattr(dataset, name)
    return dataset


def test_a_deflated_bomb_is_refused_before_it_is_inflated():
    data = stored(image(), DeflatedExplicitVRLittleEndian)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = data[: deflated_at(data)] + packer.compress(bytes(2**27)) + packer.flush()
    with pytest.raises(DecodeError) as caught:
        Deidentifier(budget=Budget(max_decoded_bytes=2**24)).clean(bomb)
    assert caught.value.code == "too_large"


def test_mutants_end_in_a_file_without_canaries_or_a_refusal(capfd):
    data, rng, kept = stored(planted()), np.random.default_rng(2), 0
    for _ in range(60):
        hostile = bytearray(data)
        for position in rng.integers(len(data), size=3):
            hostile[position] = int(rng.integers(256))
        try:
            out = Deidentifier().clean(bytes(hostile)).data
        except UserError:
            continue
        kept += 1
        assert WORD.encode() not in out
    assert kept > 5
    assert capfd.readouterr() == ("", "")


def test_a_folder_goes_on_after_bad_files_and_names_are_pseudonyms(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    (source / f"{WORD}-A").mkdir(parents=True)
    (source / f"{WORD}-A" / f"{WORD}1.dcm").write_bytes(stored(image()))
    (source / f"{WORD}-A" / f"{WORD}2.dcm").write_bytes(stored(image(SOPInstanceUID=f"{ROOT}.9")))
    (source / f"{WORD}-A" / f"{WORD}3.dcm").write_bytes(stored(image()))  # the same again
    (source / "broken.dcm").write_bytes(b"no image")
    (source / "us.dcm").write_bytes(stored(image(Modality="US")))
    outcomes = deidentify_files(source, target)
    assert [bool(outcome.output) for outcome in outcomes] == [True, True, False, False, False]
    assert "same instance UID" in outcomes[2].reason
    written = sorted(path for path in target.rglob("*") if path.is_file())
    assert sorted(outcome.output for outcome in outcomes if outcome.output) == [
        path.relative_to(target).as_posix() for path in written
    ]
    assert len({path.parent for path in written}) == 1
    for path in written:
        assert WORD not in str(path.relative_to(target))
        assert path.stem == pydicom.dcmread(path).SOPInstanceUID
    assert WORD not in str(outcomes)


def test_folders_that_would_be_mixed_are_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(stored(image()))
    for target in (tmp_path, tmp_path / "out"):
        with pytest.raises(DataError):
            deidentify_files(tmp_path, target)
    with pytest.raises(DataError):
        deidentify_files(tmp_path / "nowhere", tmp_path / "out")
    assert deidentify_files(tmp_path / "a.dcm", tmp_path / "out")[0].output
