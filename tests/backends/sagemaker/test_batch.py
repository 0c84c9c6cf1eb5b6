"""``medloom batch`` there: its folder comes back as it would have been written here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.imaging import encode_png
from support.aws import IMAGE
from support.bundles import write_tiny_bundle
from support.sagemaker_container import Machine


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A bundle, four pictures and a file that is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MEDLOOM_IMAGE", IMAGE)
    write_tiny_bundle(tmp_path / "brain" / "model.tar.gz")
    (tmp_path / "scans" / "inner").mkdir(parents=True)
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        (tmp_path / "scans" / "inner" / f"{number}.png").write_bytes(encode_png(pixels))
    (tmp_path / "scans" / "broken.png").write_bytes(b"no image")
    return tmp_path


BATCH = ("batch", "brain/model.tar.gz", "scans", "--parquet")
ELSEWHERE = ("--backend", "sagemaker", "--on", "yes")


@pytest.mark.slow
def test_what_comes_back_is_what_is_written_here(aws, here, capsys):
    machine = Machine(aws, here / "opt")
    aws.on_begin = machine.begin
    assert main([*BATCH, "-o", "there", *ELSEWHERE, "--json"]) == 3  # one has no prediction
    captured = capsys.readouterr()
    machine.join()
    assert main([*BATCH, "-o", "here", "--json"]) == 3
    found, own = json.loads(captured.out), json.loads(capsys.readouterr().out)
    for name in ("results", "failed", "codes", "phantom", "inputs"):
        assert found[name] == own[name]
    assert (here / "there/predictions.csv").read_bytes() == (here / "here/predictions.csv").read_bytes()
    masks = sorted(path.relative_to(here / "here") for path in (here / "here/masks").rglob("*.*"))
    assert len(masks) == 4
    for mask in masks:
        assert (here / "there" / mask).read_bytes() == (here / "here" / mask).read_bytes()
    assert (here / "there/predictions.parquet").is_file()
    assert "cost: ml.m5.xlarge: at most 1.03 USD" in captured.err
    assert len(aws.jobs) == 1


@pytest.fixture
def quick(aws, here, capsys):
    """A batch that has begun and goes on."""
    aws.on_begin = lambda name: aws.goes_on(name)
    return aws


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_batch_that_is_under_way_is_followed_and_not_begun_again(quick, capsys, monkeypatch):
    monkeypatch.setattr("medloom.cli.sagemaker_following.followed", interrupted)
    assert main([*BATCH, "-o", "there", *ELSEWHERE]) == 130
    assert (
        "goes on there and costs money; to stop it: medloom sagemaker status there/ --stop" in capsys.readouterr().err
    )
    assert main([*BATCH, "-o", "there", *ELSEWHERE]) == 130
    assert "is under way there already; this follows it" in capsys.readouterr().err
    assert len(quick.jobs) == 1
    assert main(["sagemaker", "status", "there/", "--stop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--labels", "truth.csv"), "--labels: medloom sagemaker batch, which --backend sagemaker stands for"),
        (("--on", "instanse=ml.m5.large"), "did you mean 'instance'"),
    ],
)
def test_what_has_no_meaning_there_is_said_before_anything_is_sent(aws, here, capsys, arguments, said):
    assert main([*BATCH, "-o", "there", *ELSEWHERE, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert aws.objects() == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--batch-size", "many"), "Invalid value for '--batch-size'"),
        (("--labels", "truth.csv"), "--labels: not of a batch there; behind -- it takes --skip"),
        (("another",), "several PATHs: not of a batch there"),
    ],
)
def test_options_behind_the_dashes_are_looked_at_here(aws, here, capsys, more, said):
    assert main(["sagemaker", "batch", "brain/model.tar.gz", "scans", "-o", "there", "--yes", "--", *more]) == 2
    assert said in capsys.readouterr().err
    assert aws.objects() == {}


def test_a_folder_with_something_else_in_it_is_left_alone(aws, here, capsys):
    (here / "there").mkdir()
    (here / "there" / "mine.txt").write_text("mine")
    assert main([*BATCH, "-o", "there", *ELSEWHERE]) == 2
    assert "-o there holds something else" in capsys.readouterr().err
    assert aws.jobs == []


def test_a_batch_that_fails_there_says_why(aws, here, capsys):
    aws.on_begin = lambda name: aws.ends(name, "Failed", "AlgorithmError: no such runtime, exit code: 2")
    assert main([*BATCH, "-o", "there", *ELSEWHERE]) == 1
    assert "failed there: AlgorithmError: no such runtime" in capsys.readouterr().err
