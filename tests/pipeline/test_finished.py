"""A finished run has nothing left to do until something that it stands on, or has made, is changed."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import yaml

import medloom
from medloom.cli.main import main
from medloom.files import write_text
from medloom.pipeline import finished_result
from medloom.pipeline.starting import started_run

DONE = "finished; nothing to do"


@pytest.fixture(scope="module")
def made(place):
    """What the tests of this module share."""
    return {}


@pytest.fixture
def words(make_recipe, pictures, place, made, capsys):
    """The command of a run that is finished, on copies of its folder and its images."""
    path = place / "recipe.yaml"
    if not made:
        write_text(path, yaml.safe_dump(make_recipe().plain()))
        shutil.copytree(pictures, place / "images")
        made["words"] = ["run", str(path), "--data", "images", "--run", "./kept", "--workers", "1"]
        assert main(made["words"]) == 0
        made["shown"] = capsys.readouterr().out
    for name in ("run", "again-images"):
        shutil.rmtree(place / name, ignore_errors=True)
    shutil.copytree(place / "kept", place / "run")
    shutil.copytree(place / "images", place / "again-images")  # with their times
    return ["run", str(path), "--data", "again-images", "--run", "./run", "--workers", "1"]


def test_a_finished_run_says_so_and_prints_its_result_as_the_first_time(words, made, capsys):
    assert main(words) == 0
    shown = capsys.readouterr()
    assert DONE in shown.err
    assert "prepare" not in shown.err
    assert shown.out == made["shown"].replace("kept/", "run/").replace("in kept", "in run")
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["summary"]["test"]["metrics"]
    assert [path.rpartition("/")[2] for path in result["files"]] == [
        "data_report.html",
        "summary.json",
        "model.tar.gz",
        "report.html",
    ]


def test_nothing_heavy_is_imported_to_see_that_a_run_is_finished(words, modules_after):
    code = f"from medloom.cli.main import main\nassert main({words!r}) == 0"
    assert modules_after(code).isdisjoint({"torch", "lightning", "monai", "onnxruntime", "matplotlib", "sklearn"})


def touch(place):
    path = next((place / "again-images" / "pictures").iterdir())
    os.utime(path, ns=(0, 1))


def add(place):
    first = next((place / "again-images" / "pictures").iterdir())
    shutil.copy(first, first.with_name("another.png"))


CHANGES = {
    "an image was written again": touch,
    "an image came": add,
    "the bundle was changed": lambda place: (place / "run" / "model.tar.gz").write_bytes(b"other"),
    "the bundle is gone": lambda place: (place / "run" / "model.tar.gz").unlink(),
    "a page is gone": lambda place: (place / "run" / "report.html").unlink(),
    "the metrics were changed": lambda place: (place / "run" / "evaluation" / "summary.json").write_text("{}"),
    "the note is damaged": lambda place: (place / "run" / "finished.json").write_text("[1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_done_again(words, place, change):
    recipe = words[1]
    with started_run(recipe, place / "run", images=place / "again-images") as begun:
        assert finished_result(*begun) is not None
    change(place)
    with started_run(recipe, place / "run", images=place / "again-images") as begun:
        assert finished_result(*begun) is None


@pytest.mark.parametrize("setting", ["train.epochs=3", "evaluate.bootstrap=21", "description=other"])
def test_another_recipe_is_not_finished(words, place, setting):
    with started_run(words[1], place / "run", images=place / "again-images", settings=[setting]) as begun:
        assert finished_result(*begun) is None


def test_another_version_of_medloom_begins_again(words, place, monkeypatch):
    monkeypatch.setattr("medloom.pipeline.finished.__version__", "0.0.0")
    with started_run(words[1], place / "run", images=place / "again-images") as begun:
        assert finished_result(*begun) is None


def test_again_does_the_stages_and_a_run_in_python_is_returned(words, place, capsys):
    assert main([*words, "--again"]) == 0
    assert "evaluate: " in capsys.readouterr().err
    heard = []
    result = medloom.run(words[1], data=place / "again-images", run=place / "run", on_event=heard.append)
    assert result.bundle == place / "run" / "model.tar.gz"
    assert any(DONE in getattr(event, "text", "") for event in heard)


def test_a_finished_run_keeps_one_checkpoint_and_more_epochs_go_on_from_it(words, place):
    checkpoints = place / "run" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.safetensors", "last.safetensors"]
    assert main([*words, "--set", "train.epochs=3"]) == 0
    assert len((place / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    assert len(list(checkpoints.iterdir())) == 2


def test_what_is_noted_names_no_file_and_no_place(words, place):
    noted = json.loads((place / "run" / "finished.json").read_text())
    assert {len(value) for value in (noted["recipe"], noted["images"], *noted["outputs"].values())} == {64}
    assert "picture" not in json.dumps(noted)
    assert str(place) not in json.dumps(noted)


def test_a_whole_run_is_deleted_without_rest(words, place):
    assert main(["runs", "delete", "./run", "--yes"]) == 0
    assert not (place / "run").exists()
