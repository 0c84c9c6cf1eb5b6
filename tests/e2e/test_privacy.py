"""Words planted wherever a patient can be named are looked for in everything that is written or said."""

from __future__ import annotations

import base64
import csv
import io
import os
import re
import tarfile
from contextlib import ExitStack, redirect_stderr, redirect_stdout

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from medloom.cli.main import main

FILE, PERSON, NOTE, TAG = "CanaryFile", "CanaryPerson", "CanaryNote", "CanaryTag"
ALL = (FILE, PERSON, NOTE, TAG)
SIZE = 24

RECIPE = f"""
name: canaries
target: {{kind: auto, classes: ['0', '1']}}
data:
  layout: csv
  policy: quarantine
  quarantine_limit: 0.3
  labels:
    patient: person
    metadata: {{numeric: [age], categorical: [site]}}
    groups: [site]
preprocess: {{size: [{SIZE}, {SIZE}], colour: grey}}
model: {{name: perceptron, metadata: fused}}
loss: {{name: cross-entropy}}
train: {{epochs: 2, batch_size: 8, monitor: auc, device: cpu}}
evaluate: {{bootstrap: 20}}
"""


def picture(number: int) -> np.ndarray:
    pixels = np.random.default_rng(number).integers(0, 160, (SIZE, SIZE))
    pixels[6:14, 6:14] += 90 * (number % 2)
    return pixels.astype(np.uint8)


def png(number: int) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", f"{TAG} author")
    text.add_itxt("Comment", f"{TAG} comment", zip=True)
    stream = io.BytesIO()
    Image.fromarray(picture(number)).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


def jpeg(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = f"{TAG} description"
    stream = io.BytesIO()
    Image.fromarray(picture(number)).save(stream, "JPEG", exif=exif, comment=f"{TAG} comment".encode())
    return stream.getvalue()


def dicom(number: int, slope: str = "1.00000000000") -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    for name in ("PatientName", "PatientID", "AccessionNumber", "StudyDescription", "InstitutionName", "StudyID"):
        setattr(dataset, name, f"{TAG}{name}"[:16])
    dataset.add_new((0x0029, 0x0010), "LO", f"{TAG} private")
    dataset.Rows = dataset.Columns = SIZE
    dataset.SamplesPerPixel, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.RescaleSlope, dataset.RescaleIntercept = "1.00000000000", "0"
    dataset.PixelData = picture(number).tobytes()
    dataset["PixelData"].VR = "OB"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue().replace(b"1.00000000000", slope.encode())


WRITERS = ((png, "png"), (jpeg, "jpg"), (dicom, "dcm"))


def write_set(folder) -> None:
    """45 pictures of 15 people in three formats, and one of each thing that can be wrong with a file or a row."""
    rows = []
    for number in range(45):
        write, suffix = WRITERS[number % 3]
        name = f"{FILE}_{number:02d}.{suffix}"
        path = folder / f"{FILE}_ward" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write(number))
        rows.append(_row(name, number, number % 2))
    wrong = {"broken.png": png(1)[:90], "slope.dcm": dicom(1, f"{TAG}1234"), "text.jpg": f"{TAG} {TAG}".encode()}
    for name, data in {**wrong, "note.png": png(3)}.items():
        (folder / f"{FILE}_ward" / f"{FILE}_{name}").write_bytes(data)
        rows.append(_row(f"{FILE}_{name}", 0, 0))
    rows[-1]["age"] = f"{NOTE} old"
    (folder / f"{FILE}_ward" / f"{FILE}_without_row.png").write_bytes(png(2))
    rows += [_row(f"{FILE}_gone.png", 1, 1), {**_row(f"{FILE}_00.png", 3, 1), "person": f"{PERSON} other"}]
    _write_table(folder / f"{FILE}_labels.csv", rows)
    _write_table(folder.with_name(f"{FILE}_patients.csv"), rows[:45])


def _write_table(path, rows) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _row(image: str, number: int, level: int) -> dict[str, str]:
    return {
        "image": image,
        "level": str(level),
        "person": f"{PERSON} {number // 3}",
        "age": str(30 + number),
        "site": ("arm", "leg", "")[number // 2 % 3],
        "comment": f"{NOTE} of {PERSON} {number}",
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("privacy")
    patch.setenv("MEDLOOM_CACHE", str(folder / "work" / "cache"))
    (folder / "work").mkdir()
    patch.chdir(folder / "work")
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def said(place):
    """Every command of a run and what it printed, as ``{command: (exit code, stdout, stderr)}``."""
    write_set(place / "set")
    (place / "recipe.yaml").write_text(RECIPE)
    recipe, table = str(place / "recipe.yaml"), str(place / "set" / f"{FILE}_labels.csv")
    predict = ["predict", "runs/canaries/model.tar.gz", str(place / "set" / f"{FILE}_ward"), "-o", "out", "--metadata"]
    commands = {
        "prepare": ["prepare", recipe, "--data", str(place / "set"), "--workers", "2", "--json"],
        "train": ["train", "canaries"],
        "evaluate": ["evaluate", "canaries", "--json"],
        "package": ["package", "canaries"],
        "report": ["report", "canaries"],
        "verify": ["verify", "runs/canaries/model.tar.gz"],
        "predict": [*predict, str(place / f"{FILE}_patients.csv")],
        "refused": [*predict, table],
    }
    return {name: _captured(command, place) for name, command in commands.items()}


def _captured(command, folder) -> tuple[int, str, str]:
    """Run a command; what libraries and other processes print counts too."""
    with ExitStack() as stack:
        texts = [stack.enter_context((folder / name).open("w+")) for name in ("out.txt", "err.txt")]
        for number, text in enumerate(texts, start=1):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(text.fileno(), number)
        with redirect_stdout(texts[0]), redirect_stderr(texts[1]):
            code = main(command)
        return code, *((folder / name).read_text() for name in ("out.txt", "err.txt"))


def test_every_command_did_its_work(said):
    codes = {name: code for name, (code, _, _) in said.items()}
    assert codes == {**dict.fromkeys(codes, 0), "prepare": 3, "predict": 3, "refused": 2}, said


def test_the_terminal_names_files_that_are_wrong_and_no_person(said):
    for command, (_, out, err) in said.items():
        for line in (out + err).splitlines():
            assert not _planted(line.encode(), (PERSON, NOTE, TAG)), (command, line)
            if FILE in line:
                assert command in ("prepare", "predict", "refused"), (command, line)
                assert re.search(r"broken|slope|text|note|without_row|gone|labels\.csv", line), (command, line)
    assert f"{FILE}_broken.png" in said["prepare"][2]
    assert FILE not in said["prepare"][1]


def test_what_was_written_names_files_in_the_columns_for_paths_and_nothing_anywhere_else(said, place):
    files = [path for path in (place / "work").rglob("*") if path.is_file()]
    assert {"catalogue.csv", "predictions.csv", "index.json", "report.html"} <= {path.name for path in files}
    found = {}
    for path in files:
        assert not _planted(path.relative_to(place).as_posix().encode()), path
        for name, data in _contents(path):
            if words := _planted(data):
                found[f"{path.relative_to(place / 'work').as_posix()}{name}"] = words
    assert set(found) <= {"runs/canaries/catalogue.csv", "out/predictions.csv"}, found
    assert _columns(place / "work/runs/canaries/catalogue.csv") == {"image": {FILE}}
    assert _columns(place / "work/out/predictions.csv") == {"file": {FILE}}


def test_a_canary_would_be_found(place):
    """The search itself: in plain bytes, in UTF-16, in a picture within a page, and in an archive."""
    assert _planted(b"x canaryTAG y") == {TAG}
    assert _planted(NOTE.encode("utf-16")) == {NOTE}
    page = place / "page.html"
    page.write_text(f'<img src="data:image/png;base64,{base64.b64encode(f"...{PERSON}".encode()).decode()}">')
    assert [_planted(data) for _, data in _contents(page)] == [set(), {PERSON}]
    with tarfile.open(place / "bundle.tar.gz", "w:gz") as archive:
        archive.add(page, f"{FILE}.html")
    assert {word for _, data in _contents(place / "bundle.tar.gz") for word in _planted(data)} == {FILE, PERSON}


def _contents(path) -> list[tuple[str, bytes]]:
    """The bytes of a file, of what is packed in it, and of the pictures within."""
    data = path.read_bytes()
    parts = [("", data)]
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            members = [member for member in archive if member.isfile()]
            parts += [(f":{member.name}", archive.extractfile(member).read()) for member in members]
            parts += [(f":{member.name}:name", member.name.encode()) for member in members]
    inside = [found for _, part in parts for found in re.findall(rb"base64,([A-Za-z0-9+/=]+)", part)]
    return parts + [(f":picture {number}", base64.b64decode(found)) for number, found in enumerate(inside)]


def _planted(data: bytes, words=ALL) -> set[str]:
    low = data.lower().replace(b"\0", b"")
    return {word for word in words if word.lower().encode() in low}


def _columns(path) -> dict[str, set[str]]:
    """Which planted words are in which column of a table."""
    found: dict[str, set[str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for column, cell in row.items():
                if words := _planted(f"{column} {cell}".encode()):
                    found.setdefault(column, set()).update(words)
    return found
