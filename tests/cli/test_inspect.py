import json
import zipfile

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from medloom.cli.main import main
from medloom.imaging.registry import FORMATS

WORD, ROOT = "CANARY", "1.2.826.0.1.3680043.9.424242"
ARRAY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def save_slice(path, number=1, series=1, **attributes):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{ROOT}.{series}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.9", f"{ROOT}.{series}"
    dataset.PatientName = dataset.PatientID = dataset.AccessionNumber = dataset.StudyDescription = WORD
    dataset.PatientBirthDate, dataset.Modality, dataset.PixelSpacing = "19770123", "CT", [0.5, 0.75]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 6, 8, 1
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 7, 0, "MONOCHROME2"
    dataset.PixelData = ARRAY.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "scans"
    for number in (1, 2, 3):
        save_slice(place / WORD / f"{WORD}{number}.dcm", number)
    save_slice(place / f"{WORD}.dcm", 1, series=2)
    Image.fromarray(ARRAY).save(place / f"{WORD}.png")
    (place / f"{WORD}.txt").write_text(f"{WORD} was here")
    return place


def test_a_file_is_described_in_text_and_json(tmp_path, capsys):
    Image.fromarray(ARRAY).save(tmp_path / "scan.png")
    assert main(["inspect", str(tmp_path / "scan.png")]) == 0
    text = capsys.readouterr().out
    assert "scan.png: decodes" in text
    assert "6×8" in text
    assert "0 to 47" in text
    assert str(tmp_path) not in text
    assert main(["inspect", str(tmp_path / "scan.png"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["format"], facts["height"], facts["maximum"]) == ("scan.png", "png", 6, 47)


def test_a_file_that_would_be_refused_exits_3_and_says_why(tmp_path, capsys):
    (tmp_path / "scan.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert main(["inspect", str(tmp_path / "scan.png")]) == 3
    assert "refused" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_and_a_zip_are_summarised_without_names_or_identifiers(folder, packed, options, capsys):
    place = folder
    if packed:
        place = folder.parent / "scans.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for path in sorted(folder.rglob("*.*")):
                archive.write(path, path.relative_to(folder).as_posix())
    assert main(["inspect", str(place), *options]) == 3
    shown = capsys.readouterr()
    for secret in (WORD, ROOT, "19770123", str(folder.parent)):
        assert secret not in shown.out + shown.err
    if options:
        facts = json.loads(shown.out)
        assert facts["files"] == 6
        assert [item["code"] for item in facts["refused"]][-1:] == ["unsupported"]
        if "dicom" in FORMATS:
            assert [item["slices"] for item in facts["series"]] == [3, 1]
            assert (facts["kinds"][0]["count"], facts["kinds"][0]["facts"]["modality"]) == (4, "CT")


def test_a_series_with_a_gap_is_said_to_be_no_volume_before_it_is_refused_as_one(tmp_path, capsys):
    for series, places in enumerate([(0, 1, 2, 3), (0, 1, 3, 4, 5)], start=1):
        for place in places:
            position = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 2.5 * place]}
            save_slice(tmp_path / f"{series}-{9 - place}", place, series, **position)
    assert main(["inspect", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "between slices 1 and 2 there are 5.000 mm; elsewhere 2.500 mm" in shown
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["series"]
    assert [(item["slices"], bool(item["no_volume"])) for item in found] == [(5, True), (4, False)]


def test_a_folder_without_files_is_an_error(tmp_path, capsys):
    assert main(["inspect", str(tmp_path)]) == 2
    assert "no files" in capsys.readouterr().err


def test_an_unsafe_zip_is_refused_without_the_names_in_it(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.writestr(f"../{WORD}.png", b"x")
    assert main(["inspect", str(tmp_path / "scans.zip")]) == 2
    assert WORD not in "".join(capsys.readouterr())


def test_a_folder_is_deidentified_and_what_is_withheld_is_reported(folder, tmp_path, capsys):
    save_slice(folder / f"{WORD}-us.dcm", 5, Modality="US")
    out = tmp_path / "out"
    assert main(["deidentify", str(folder), "-o", str(out), "--json"]) == 3
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert (facts["files"], facts["exported"], facts["withheld"]) == (7, 4, 3)
    assert "burned in" in shown.err
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == 4
    for path in written:
        assert WORD.encode() not in path.read_bytes()
        assert ROOT.encode() not in path.read_bytes()
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, ARRAY)
    for secret in (WORD, ROOT, "19770123"):
        assert secret not in shown.out + shown.err + "".join(map(str, out.rglob("*")))


def test_burned_in_text_can_be_allowed_and_a_used_folder_cannot(tmp_path, capsys):
    save_slice(tmp_path / "in" / "us.dcm", Modality="US")
    call = ["deidentify", str(tmp_path / "in" / "us.dcm"), "-o", str(tmp_path / "out")]
    assert main(call) == 3
    assert main([*call, "--allow-burned-in"]) == 0
    assert "1 of 1 file exported" in capsys.readouterr().out
    assert main([*call, "--allow-burned-in"]) == 2
    assert main(["deidentify", str(tmp_path / "nothing"), "-o", str(tmp_path / "more")]) == 2
