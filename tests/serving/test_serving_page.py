"""What docs/serving.md tells the writers of clients to do, done."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from pydicom import dcmread

from medloom.serving import Model, Models, Service, create_app
from medloom.serving.models import Opening
from medloom.serving.repository import Repository
from support.served import served_at

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
ASKING = PAGE.read_text("utf-8").partition("## Asking for predictions")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", ASKING, re.DOTALL)
EXAMPLES = [(language, text) for language, text in BLOCKS if "127.0.0.1:8080" in text]


def _png(path, pixels):
    PillowImage.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_dicom):
    """The files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    colour = np.full((48, 40, 3), 20, np.uint8)
    colour[10:20, 10:25, 2] = 250
    grey = np.tile(np.arange(0, 200, 5, dtype=np.uint8), (48, 1))
    _png(folder / "image.png", colour)
    _png(folder / "scan.png", grey)
    _png(folder / "other.png", grey[:, ::-1].copy())
    with zipfile.ZipFile(folder / "series.zip", "w") as packed:
        for number in range(3):
            packed.writestr(f"{number}.dcm", _slice(make_dicom(grey), number))
    (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    return folder


def _slice(data, number):
    """The same image as one slice of a series."""
    slice_ = dcmread(io.BytesIO(data))
    slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
    slice_.SeriesInstanceUID, slice_.StudyInstanceUID, slice_.FrameOfReferenceUID = "1.2.3", "1.2", "1.2.9"
    slice_.ImagePositionPatient, slice_.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
    slice_.PixelSpacing, slice_.InstanceNumber = [1, 1], number + 1
    buffer = io.BytesIO()
    slice_.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def address(tmp_path_factory, bundle_path, served, served_labels):
    bundles = tmp_path_factory.mktemp("bundles")
    shutil.copy(bundle_path, bundles / "second.tar.gz")
    models = Models([Model("brain", *served), Model("chest", *served_labels)])
    with served_at(create_app(Service(models), repository=Repository(bundles, Opening(threads=1)))) as address:
        yield address


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_does_what_the_page_says(number, address, folder):
    language, text = EXAMPLES[number]
    if language == "bash" and shutil.which("curl") is None:
        pytest.skip("needs curl: apt-get install curl")
    program = ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-c"]
    environment = {**os.environ, "CURL_HOME": str(folder), "no_proxy": "*"}
    done = subprocess.run(
        [*program, text.replace("127.0.0.1:8080", address)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"error"' not in done.stdout
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            assert json.JSONDecoder().raw_decode(line)


def test_the_page_has_an_example_of_each_way_to_ask():
    asked = "".join(text for _, text in EXAMPLES)
    ways = ("/invocations", "-F ", "application/json", "application/zip", "/v2/models", "/execution-parameters")
    assert [way for way in ways if way not in asked] == []
