"""A hundred images of which three are bad, through the real container in a job as SageMaker runs it."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.imaging import encode_png
from support.aws import BUCKET, IMAGE
from support.bundles import write_tiny_bundle, write_tiny_label_bundle
from support.transform_job import TransformMachine

COMMON = ("--image", IMAGE, "--yes", "--json")


@pytest.fixture
def machine(aws, tmp_path):
    """What runs the transform jobs of the account."""
    found = TransformMachine(aws, tmp_path / "machine")
    aws.on_transform = found.begin
    yield found
    found.join()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of the user's with a bundle and a hundred images, three of which are none."""
    folder = tmp_path / "here"
    rng = np.random.default_rng(0)
    (folder / "images" / "deep").mkdir(parents=True)
    for number in range(97):
        pixels = rng.integers(0, 256, (24 + number % 3, 20, 3), np.uint8)
        place = "deep/" if number % 10 == 0 else ""
        (folder / "images" / f"{place}{number:02d}.png").write_bytes(encode_png(pixels))
    whole = encode_png(rng.integers(0, 256, (24, 20, 3), np.uint8))
    for name, content in (("cut.png", whole[:-60]), ("note.png", b"no image"), ("one.png", _grey())):
        (folder / "images" / name).write_bytes(content)
    monkeypatch.chdir(folder)
    return folder


def _grey():
    return encode_png(np.zeros((24, 20), np.uint8))


BAD = {"cut.png": "truncated", "note.png": "unsupported", "one.png": "wrong_input"}


def transformed(capsys, *arguments, code=3):
    assert main(["sagemaker", "transform", *arguments, *COMMON]) == code, capsys.readouterr().err
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def rows(folder):
    with (Path(folder) / "predictions.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_the_job_goes_on_and_writes_what_a_batch_here_writes(aws, here, machine, capsys):
    write_tiny_bundle(here / "brain" / "model.tar.gz")
    found, text = transformed(capsys, "brain/model.tar.gz", "images", "-o", "there")
    assert set(machine.statuses.values()) == {200}
    assert len(machine.statuses) == 100
    assert (found["inputs"], found["answered"], found["failed"]) == (100, 97, 3)
    assert found["set_aside"] == BAD
    assert found["codes"] == {"truncated": 1, "unsupported": 1, "wrong_input": 1}
    assert "3 have no prediction: 1 truncated, 1 unsupported, 1 wrong_input" in text
    assert main(["batch", "brain/model.tar.gz", "images", "-o", "local"]) == 3
    there, local = rows("there"), rows("local")
    assert list(there) == list(local)
    assert {name: row["code"] for name, row in there.items() if row["code"]} == BAD
    for name, row in local.items():
        if name not in BAD:
            assert there[name] == row
    masks = sorted(path.relative_to("local") for path in Path("local/masks").rglob("*.png"))
    assert len(masks) == 97
    for path in masks:
        assert ("there" / path).read_bytes() == ("local" / path).read_bytes()
    manifest = json.loads(Path("there/batch.json").read_text())
    assert manifest["finished"]
    assert manifest["result"]["codes"] == found["codes"]
    assert not Path("there/.answers").exists()


@pytest.mark.slow
def test_images_of_the_bucket_are_predicted_where_they_lie(aws, here, machine, capsys):
    write_tiny_label_bundle(here / "lesions" / "model.tar.gz")
    aws.writes(f"s3://{BUCKET}/study", here / "images")
    machine.batch = "True"
    uri = f"s3://{BUCKET}/study/"
    arguments = ("lesions/model.tar.gz", uri, "-o", "there", "--parquet")
    found, _ = transformed(capsys, *arguments)
    assert found["inputs"] == 100
    assert {"cut.png", "note.png"} <= set(found["set_aside"])
    assert {name for name in aws.objects() if "/inputs/" in name} == set()
    assert Path("there/predictions.parquet").is_file()
    assert main(["batch", "lesions/model.tar.gz", uri, "-o", "local"]) == 3
    there, local = rows("there"), rows("local")
    assert list(there) == list(local)
    for name, row in local.items():
        if not row["code"]:
            assert {**there[name]} == row
    assert main(["sagemaker", "transform", "lesions/model.tar.gz", uri, "-o", "x", "--skip", "*_mask.*", *COMMON]) == 2
    assert "--skip: SageMaker takes all that lies below" in capsys.readouterr().err


@pytest.mark.slow
def test_answers_may_be_kept_as_they_come(aws, here, machine, capsys):
    write_tiny_bundle(here / "brain" / "model.tar.gz")
    found, _ = transformed(capsys, "brain/model.tar.gz", "images", "-o", "raw", "--accept", "image/png")
    assert (found["answered"], found["set_aside"]) == (97, BAD)
    assert Path("raw/deep/00.png.out").read_bytes().startswith(b"\x89PNG")
    refused = json.loads(Path("raw/cut.png.out").read_bytes())
    assert (refused["refused"], refused["code"]) == (True, "truncated")


@pytest.mark.slow
def test_a_job_whose_setting_is_wrong_fails_and_says_so(aws, here, machine, capsys):
    write_tiny_bundle(here / "brain" / "model.tar.gz")
    arguments = ("brain/model.tar.gz", "images", "-o", "raw", "--accept", "text/html")
    assert main(["sagemaker", "transform", *arguments, *COMMON]) == 1
    assert "failed there: ClientError" in capsys.readouterr().err
    assert 406 in machine.statuses.values()


@pytest.mark.slow
def test_where_all_are_refused_there_is_no_table(aws, here, machine, capsys):
    write_tiny_bundle(here / "brain" / "model.tar.gz")
    (here / "bad").mkdir()
    (here / "bad" / "a.png").write_bytes(b"no image")
    found, _ = transformed(capsys, "brain/model.tar.gz", "bad", "-o", "there")
    assert (found["answered"], found["set_aside"]) == (0, {"a.png": "unsupported"})
    assert not Path("there/predictions.csv").exists()


def test_a_folder_of_something_else_is_refused_before_anything_is_sent(aws, here, capsys):
    write_tiny_bundle(here / "brain" / "model.tar.gz")
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("all of it")
    began = threading.Event()
    aws.on_transform = lambda name: began.set()
    assert main(["sagemaker", "transform", "brain/model.tar.gz", "images", "-o", "mine", *COMMON]) == 2
    assert "is not empty and is no output of medloom batch" in capsys.readouterr().err
    assert not began.is_set()
    assert aws.objects() == {}
