"""The command withholds images with text in their pixels, and says which it could not look at."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit

from medloom.cli.main import main

NAME = "MUSTERMANN^ANNA"


def save_slice(path, number, text="", broken=False):
    picture = Image.fromarray(np.random.default_rng(number).integers(20, 60, (128, 192), dtype=np.uint8))
    ImageDraw.Draw(picture).text((6, 8), text, fill=255, font=ImageFont.load_default(size=16))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if broken else ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = CTImageStorage, f"1.2.3.{number}", "7"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY"]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 128, 192, 1
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 7, 0, "MONOCHROME2"
    dataset.PixelData = encapsulate([b"\xff\xd8" + bytes(200)]) if broken else picture.tobytes()
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = broken
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def call(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    save_slice(source / "a.dcm", 1)
    save_slice(source / "b.dcm", 2, NAME)
    save_slice(source / "c.dcm", 3, broken=True)
    return ["deidentify", str(source), "-o", str(tmp_path / "out")]


def test_text_in_pixels_is_withheld_with_exit_code_3_and_what_was_not_seen_is_said(call, tmp_path, capsys):
    assert main([*call, "--json"]) == 3
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert (facts["files"], facts["exported"], facts["withheld"], facts["unseen"]) == (3, 2, 1, 1)
    assert [result["unseen"] for result in facts["results"]] == [False, False, True]
    assert "file 2: text seems to be burned in" in shown.err
    assert "nothing looked for text in them: files 3" in shown.err
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


def test_allowing_it_exports_all_and_looks_at_none(call, capsys):
    assert main([*call, "--allow-burned-in"]) == 0
    shown = capsys.readouterr()
    assert "3 of 3 files exported" in shown.out
    assert "burned in" not in shown.err
    assert "nothing looked" not in shown.err
