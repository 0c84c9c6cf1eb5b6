"""Whose an image is: what the recipe names, the PatientID of DICOM, or nobody known, and what is said of it."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pydicom
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medloom.data import open_source, preparation, prepare
from medloom.data.layouts import Item, Listing
from medloom.data.layouts.patients import alike, without_fractions
from medloom.data.patients import patients_of
from medloom.imaging import encode_png
from medloom.imaging.dicom_patient import patient_header
from medloom.recipe import parse_recipe
from medloom.transforms import Preprocess

SIZE = 16
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})


def dicom(number, patient_id="", *, study="", syntax=ExplicitVRLittleEndian, **attributes) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
    dataset.PatientID, dataset.PatientName = patient_id, attributes.pop("name", "Doe^Jane")
    dataset.StudyInstanceUID = study
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.Rows = dataset.Columns = SIZE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    pixels = np.random.default_rng(number).integers(0, 255, (SIZE, SIZE)).astype(np.uint8)
    dataset.PixelData = pixels.tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def run(dataset, folder, plain):
    recipe = parse_recipe(yaml.safe_dump({"name": "test", "preprocess": {"size": [SIZE, SIZE]}, **plain}))
    with open_source(dataset) as source:
        work = Preprocess.of(recipe.preprocess)
        return prepare(recipe, source, folder / "run", folder / "cache", workers=1, preprocess=work)


IDS = [f"id-{number // 3}" for number in range(24)]  # eight patients of three files


def by_layout(layout, ids):
    """Files of a set whose recipe names no patient, and the recipe."""
    if layout == "folder-classes":
        files = {f"{'ab'[n // 3 % 2]}/i{n}.dcm": dicom(n, one) for n, one in enumerate(ids)}
        return files, {"target": {"kind": "auto"}, "data": {"layout": layout}}
    files = {f"i/i{n}.dcm": dicom(n, one) for n, one in enumerate(ids)}
    if layout == "csv":
        rows = [f"i{n},{n // 3 % 2}" for n in range(len(ids))]
        files["labels.csv"] = "\n".join(["image,level", *rows]).encode()
        return files, {"target": {"kind": "auto"}, "data": {"layout": layout}}
    masks = {"target": {"mask_values": {"background": 0, "lesion": 1}}}
    if layout == "image-mask":
        mask = encode_png(np.eye(SIZE, dtype=np.uint8))
        files |= {f"m/i{n}.png": mask for n in range(len(ids))}
        return files, {**masks, "data": {"layout": layout, "image": "i/{sample}.dcm", "mask": "m/{sample}.png"}}
    for n in range(len(ids)):
        stream = io.BytesIO()
        np.save(stream, np.array([n // 3 % 2]))
        files[f"v/i{n}.npy"] = stream.getvalue()
    data = {"layout": layout, "image": "i/{sample}.dcm", "array": "v/{sample}.npy"}
    return files, {"target": {"kind": "auto"}, "data": data}


@pytest.mark.parametrize("layout", ["csv", "folder-classes", "image-mask", "array"])
def test_the_patient_of_dicom_decides_the_split_in_every_layout(tmp_path, layout):
    files, plain = by_layout(layout, IDS)
    prepared = run(write(tmp_path / "set", files), tmp_path, plain)
    rows = prepared.catalogue
    people = rows["image"].str.extract(r"i(\d+)\.dcm")[0].astype(int) // 3
    assert (rows.groupby(people)["split"].nunique() == 1).all()
    assert (rows.groupby(people)["patient_id"].nunique() == 1).all()
    assert rows["patient_id"].nunique() == 8
    source = prepared.facts["patient_source"]
    assert source == {
        "status": "known", "source": "PatientID of DICOM", "patients": 8, "samples_without": 0, "apart": True
    }  # fmt: skip
    assert sum(part["patients"] for part in prepared.facts["counts"].values()) == 8
    assert not any("atient is known" in text for text in prepared.facts["warnings"])
    written = (tmp_path / "run" / "prepare.json").read_text() + rows.drop(columns=["image", "mask"]).to_csv()
    assert "id-" not in written
    assert "Doe" not in written


def test_what_the_recipe_names_comes_before_the_patient_of_dicom(tmp_path):
    files, plain = by_layout("csv", IDS)
    rows = [f"i{n},{n // 3 % 2},p{n // 2}" for n in range(len(IDS))]
    files["labels.csv"] = "\n".join(["image,level,who", *rows]).encode()
    plain["data"]["labels"] = {"patient": "who"}
    prepared = run(write(tmp_path / "set", files), tmp_path, plain)
    assert prepared.catalogue["patient_id"].nunique() == 12
    assert prepared.facts["patient_source"]["source"] == "the column who"


@pytest.mark.parametrize("placeholder", ["", "  ", "ANON", "Anonymous", "0", "000", "N/A", "De-Identified"])
def test_a_placeholder_is_nobody(tmp_path, placeholder):
    files, plain = by_layout("folder-classes", [placeholder] * 12)
    prepared = run(write(tmp_path / "set", files), tmp_path, plain)
    assert prepared.facts["patient_source"]["status"] == "unknown"
    assert prepared.facts["patient_source"]["samples_without"] == 12
    assert [part["patients"] for part in prepared.facts["counts"].values()] == [None] * 3
    assert any(text.startswith("12 of 12 DICOM files have no PatientID") for text in prepared.facts["warnings"])
    assert any(text.startswith("No patient is known") for text in prepared.facts["warnings"])


def test_some_with_and_some_without_are_counted_apart(tmp_path):
    ids = ["", "ANON", *IDS[:18]]
    files, plain = by_layout("folder-classes", ids)
    prepared = run(write(tmp_path / "set", files), tmp_path, plain)
    source = prepared.facts["patient_source"]
    assert (source["status"], source["patients"], source["samples_without"]) == ("partly", 6, 2)
    assert not source["apart"]
    assert sum(part["patients"] for part in prepared.facts["counts"].values()) == 6
    assert sum(part["without_patient"] for part in prepared.facts["counts"].values()) == 2
    assert any("The patient of 2 of 20 images is not known" in text for text in prepared.facts["warnings"])


def test_one_id_for_everyone_is_a_placeholder_unless_it_is_one_study(tmp_path):
    def usable(**attributes):
        heads = {f"i{n}.dcm": dicom(n, "SAME", **{k: v(n) for k, v in attributes.items()}) for n in range(6)}
        items = tuple(Item(name, name, (name,), "", known=False) for name in heads)
        with open_source(write(tmp_path / "-".join(["set", *attributes]), heads)) as source:
            return patients_of(Listing(items), source)

    found, patients = usable(study=lambda n: f"1.2.{n}")
    assert not any(item.known for item in found.items)
    assert any("taken for a placeholder" in text for text in patients.warnings)
    found, _ = usable(study=lambda _: "1.2.3", name=lambda n: f"Person^{n}")
    assert not any(item.known for item in found.items)
    found, _ = usable(study=lambda _: "1.2.3")
    assert {item.patient for item in found.items} == {"SAME"}
    assert all(item.known for item in found.items)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_header_is_read_alike_in_every_syntax_and_from_its_beginning_alone(syntax):
    whole = dicom(3, "Ä-17 ", syntax=syntax, SpecificCharacterSet="ISO_IR 192", study="1.2.3.4")
    expected = pydicom.dcmread(io.BytesIO(whole))
    for part in (whole, whole[:-40]):
        found = patient_header(part)
        assert (found.patient_id, found.study) == (expected.PatientID.strip(), expected.StudyInstanceUID)
    assert patient_header(encode_png(np.zeros((4, 4), np.uint8))) is None


def test_a_long_sequence_before_the_patient_is_stepped_over(tmp_path):
    item = pydicom.Dataset()
    item.PatientID, item.StudyDescription = "WRONG", "x" * 60
    data = dicom(0, "RIGHT", ReferencedStudySequence=[item] * 400)
    write(tmp_path / "set", {"a.dcm": data})
    assert data.index(b"RIGHT") > 2**12
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", data)
    for place in ("set", "set.zip"):
        with open_source(tmp_path / place) as source:
            found, _ = patients_of(Listing((Item("a", "a", ("a.dcm",), "", known=False),)), source)
        assert found.items[0].patient == "RIGHT"


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 600), at=st.integers(0, 600), value=st.integers(0, 255))
def test_a_damaged_file_is_nobodys_and_no_error(cut, at, value, tmp_path_factory):
    data = bytearray(dicom(0, "SECRET"))
    data[at] = value
    folder = write(tmp_path_factory.mktemp("set"), {"a.dcm": bytes(data[:cut])})
    with open_source(folder) as source:
        found, _ = patients_of(Listing((Item("a", "a", ("a.dcm",), "", known=False),)), source)
    assert found.items[0].known or found.items[0].patient in ("a", "a.dcm")


def test_no_pixel_is_read_to_find_the_patient(tmp_path, monkeypatch):
    files, _ = by_layout("csv", IDS)
    folder = write(tmp_path / "set", {"a.dcm": files["i/i0.dcm"] + bytes(10**6)})
    with open_source(folder) as source:
        asked = []
        real = source.head
        monkeypatch.setattr(source, "head", lambda name, most: asked.append(most) or real(name, most))
        monkeypatch.setattr(source, "read", None)
        patients_of(Listing((Item("a", "a", ("a.dcm",), "", known=False),)), source)
    assert asked == [2**12]


def test_numbers_that_a_spreadsheet_wrote_with_a_fraction_are_one_patient(tmp_path):
    names = ["3", "3.0", "7.0", "7", "12", "12", "5", "5", "6", "6", "8", "8"]
    rows = [f"i{n},{n // 2 % 2},{name}" for n, name in enumerate(names)]
    files = {f"i{n}.png": encode_png(np.full((SIZE, SIZE), n, np.uint8)) for n in range(len(names))}
    files["labels.csv"] = "\n".join(["image,level,who", *rows]).encode()
    plain = {"target": {"kind": "auto"}, "data": {"layout": "csv", "labels": {"patient": "who"}}}
    prepared = run(write(tmp_path / "set", files), tmp_path, plain)
    assert prepared.catalogue["patient_id"].nunique() == 6
    assert without_fractions(["3.0", "7.0"]) == {}


def test_names_that_may_be_one_person_are_counted_in_a_warning_that_names_none(tmp_path):
    names = ["1", "001", "A7", "a7", "2", "3", "4", "5"]
    rows = [f"i{n},{n % 2},{name}" for n, name in enumerate(names)]
    files = {f"i{n}.png": encode_png(np.full((SIZE, SIZE), n, np.uint8)) for n in range(len(names))}
    files["labels.csv"] = "\n".join(["image,level,who", *rows]).encode()
    plain = {"target": {"kind": "auto"}, "data": {"layout": "csv", "labels": {"patient": "who"}}}
    warnings = run(write(tmp_path / "set", files), tmp_path, plain).facts["warnings"]
    (text,) = [text for text in warnings if "leading zeros" in text]
    assert text.startswith("2 patients are named as another one")
    assert "A7" not in text
    assert alike(["10", "100", "1000", "p1", "p10"]) == 0
