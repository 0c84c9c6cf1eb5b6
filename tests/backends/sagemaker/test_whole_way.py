"""From images on a laptop to a measured run on the laptop, trained by Medloom's container in between."""

from __future__ import annotations

import json

import pytest

from medloom.cli.main import main
from medloom.files import read_json
from support.aws import IMAGE
from support.sagemaker_container import Machine

SMALL = ("preprocess.size=[32,32]", "model.args={channels: [4, 8]}", "evaluate.bootstrap=5", "train.compile=false")
SETTINGS = [word for setting in (*SMALL, "train.epochs=3") for word in ("--set", setting)]
TRAIN = ("sagemaker", "train", "brain-mri-small", "--data", "images", "--run", "brain", "--image", IMAGE, "--yes")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    phantom = ("images", "--patients", "9", "--size", "48", "--set", "data.phantom.slices=[6,8]")
    assert main(["data", "phantom", *phantom]) == 0
    return tmp_path


@pytest.mark.slow
def test_a_run_that_was_stopped_there_goes_on_there_and_evaluates_here(aws, here, capsys, monkeypatch):
    monkeypatch.setattr("medloom.backends.sagemaker.jobs._POLL_S", 0.2)
    machine = Machine(aws, here / "opt", stop_at="epoch=1;")
    aws.on_begin = machine.begin
    capsys.readouterr()
    assert main([*TRAIN, *SETTINGS]) == 0
    said = capsys.readouterr()
    assert "was stopped there; the same command goes on" in said.out
    assert not (here / "runs/brain/model.tar.gz").exists()
    assert main([*TRAIN, *SETTINGS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    machine.join()
    assert found["state"] == "done"
    assert read_json(here / "runs/brain/training.json")["epochs"] == 3
    assert len((here / "runs/brain/metrics.jsonl").read_text().splitlines()) == 3
    assert len(aws.jobs) == 2
    assert main(["verify", "runs/brain/model.tar.gz"]) == 0
    assert main(["evaluate", "brain", "--data", "images"]) == 0
    assert (here / "runs/brain/report.html").is_file()


@pytest.mark.slow
def test_images_of_another_structure_are_said_by_the_container(aws, here, capsys):
    machine = Machine(aws, here / "opt")
    aws.on_begin = machine.begin
    (here / "other").mkdir()
    (here / "other" / "notes.txt").write_text("no image")
    arguments = ("--data", "other", "--run", "other", "--image", IMAGE, "--yes")
    assert main(["sagemaker", "train", "brain-mri-small", *arguments]) == 1
    machine.join()
    said = capsys.readouterr().err
    assert "failed there: AlgorithmError: " in said
    assert "data.layout" in said
    assert "Traceback" not in said
