"""Images in the place of a recipe: ``medloom run PATH``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medloom.cli import found
from medloom.cli.main import main
from medloom.imaging import encode_png
from medloom.pipeline.names import FOUND
from medloom.recipe import load_recipe

TINY = ("preprocess.size=[32,32]", "train.epochs=1", "evaluate.bootstrap=10", "train.device=cpu", "train.compile=false")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def images(folder, masks=("masks",), count=12):
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 90, (40, 40), np.uint8)
        truth = np.zeros((40, 40), np.uint8)
        if number % 2:
            pixels[8:20, 10:24], truth[8:20, 10:24] = 200, 255
        for name, content in (("images", pixels), *((name, truth) for name in masks)):
            path = folder / name / f"case{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(content))
    return folder


def settings(*values):
    return [word for value in values for word in ("--set", value)]


def test_run_takes_a_folder_for_a_recipe(folder, capsys):
    images(folder / "polyps")
    assert main(["run", "polyps", "--dry-run", *settings("train.epochs=7")]) == 0
    (request,) = json.loads(capsys.readouterr().out)
    assert {"polyps", "train.epochs=7"} <= set(request["command"])
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_run_keeps_the_recipe_that_it_worked_out_beside_the_one_that_ran(folder, capsys):
    images(folder / "polyps")
    tiny = settings(*TINY, "model.args={channels: [4, 8]}")
    assert main(["run", "polyps", "--json", *tiny]) == 0
    result = json.loads(capsys.readouterr().out)
    run = folder / "runs" / "polyps"
    kept, ran = load_recipe(run / FOUND), load_recipe(run / "recipe.yaml")
    assert (kept.data.image, kept.train.epochs) == (ran.data.image, ran.train.epochs) == ("images/{sample}.png", 1)
    assert (run / "model.tar.gz").is_file()
    assert str(folder) not in (run / FOUND).read_text()
    assert result
    assert main(["run", "polyps", *tiny]) == 0
    assert "nothing" in capsys.readouterr().err


def test_prepare_takes_a_folder_for_a_recipe(folder, capsys):
    images(folder / "polyps")
    assert main(["prepare", "polyps", "--set", "preprocess.size=[32,32]", "--workers", "1"]) == 0
    assert "12" in capsys.readouterr().out
    assert load_recipe(folder / "runs" / "polyps" / FOUND).data.mask == "masks/{sample}.png"
    assert load_recipe(folder / "runs" / "polyps" / "recipe.yaml").preprocess.size == (32, 32)


def test_images_are_named_once(folder, capsys):
    images(folder / "polyps")
    assert main(["run", "polyps", "--data", "elsewhere"]) == 2
    assert "leave --data out" in capsys.readouterr().err


def test_a_built_in_recipe_comes_before_a_folder_of_its_name(folder):
    images(folder / "image-mask")
    assert not found.is_images("image-mask")
    assert found.is_images("./image-mask")


def test_on_a_terminal_it_asks_and_goes_on_with_the_answer(folder, monkeypatch, capsys):
    images(folder / "both", ("lung masks", "edema masks"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    asked = []

    def prompt(question, **_):
        asked.append(question)
        return 1

    monkeypatch.setattr("typer.prompt", prompt)
    assert main(["init", "both"]) == 0
    assert len(asked) == 1
    said = capsys.readouterr().err
    first = said.partition("--set 'data.mask=")[2].partition("'")[0]
    assert load_recipe(folder / "both.yaml").data.mask == first
