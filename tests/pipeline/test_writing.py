"""One command at a time writes into a run, and one that fails leaves the run as it was."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import sys

import pytest
import yaml

from medloom.cli.main import main
from medloom.errors import RecipeError, UserError
from medloom.files import write_text
from medloom.pipeline import Run, prepare, writing
from pipeline.conftest import write_set

FOUND = {"kind": "binary", "classes": ["0", "1"]}

HOLD = """
import sys; from pathlib import Path; from medloom.pipeline import writing
with writing(Path(sys.argv[1]), "train"):
    print("ready", flush=True); sys.stdin.read()
"""
COMMANDS = ["run", "prepare", "train", "evaluate", "package", "report", "fold"]


def hashes(folder):
    """What every file of a folder holds, and when it was written."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def hold():
    """Start a process that writes into a run directory until it is killed."""
    started = []

    def start(folder):
        command = [sys.executable, "-c", HOLD, str(folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started.append(process)
        return process, process.stdout.readline()

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def words(make_recipe, tmp_path):
    """The words of each command on a run."""
    path = tmp_path / "recipe.yaml"
    write_text(path, yaml.safe_dump(make_recipe().plain()))

    def of(command, folder, data):
        if command in ("run", "prepare"):
            return [command, str(path), "--run", str(folder), "--data", str(data), "--workers", "1"]
        return [command, str(folder)]

    return of


@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_command_is_told_who_writes_and_changes_nothing(
    command, words, hold, make_recipe, pictures, tmp_path, capsys
):
    run = Run.start(make_recipe(FOUND), tmp_path / "run")
    process, _ = hold(run.folder)
    before = hashes(run.folder)
    assert main(words(command, run.folder, pictures)) == 2
    said = capsys.readouterr().err
    who = rf"`medloom train`, process {process.pid} on {re.escape(socket.gethostname())}, since \d{{4}}-\d\d-\d\d \d\d:"
    assert re.search(rf"error: .*run is being written by {who}.*; nothing was changed", said)
    assert hashes(run.folder) == before


def test_a_run_that_is_only_begun_is_said_to_be_written_too(words, hold, pictures, tmp_path, capsys):
    hold(tmp_path / "run")
    assert main(words("run", tmp_path / "run", pictures)) == 2
    assert "is being written by `medloom train`" in capsys.readouterr().err


def test_what_a_killed_command_held_is_taken_over_and_given_back(hold, make_recipe, tmp_path):
    run = Run.start(make_recipe(FOUND), tmp_path / "run")
    process, _ = hold(run.folder)
    process.kill()
    process.wait()
    with writing(run.folder, "report"):
        assert hold(run.folder)[1] != b"ready\n"
    assert [path.name for path in run.folder.iterdir()] == ["recipe.yaml"]


def test_a_fold_works_under_the_command_that_has_started_it_and_under_no_other(hold, make_recipe, tmp_path):
    whole = Run.start(make_recipe(split={"folds": 3}), tmp_path / "run")
    fold = Run.start(make_recipe(FOUND, split={"folds": 3, "fold": 0}), whole.folder / "fold-0")
    with writing(whole.folder, "run"):
        assert hold(fold.folder)[1] == b"ready\n"
    hold(whole.folder)
    with pytest.raises(UserError, match="run is being written by"), writing(fold.folder, "train"):
        pass


def test_folds_are_not_run_while_one_of_them_is_written_by_another_command(hold, make_recipe, tmp_path):
    whole = Run.start(make_recipe(split={"folds": 3}), tmp_path / "run")
    hold(whole.folder / "fold-1")
    with pytest.raises(UserError, match="fold-1 is being written by"), writing(whole.folder, "run"):
        pass


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with pytest.raises(ValueError, match="nothing"), writing(tmp_path / "runs" / "one", "run"):
        raise ValueError("nothing")
    assert list(tmp_path.iterdir()) == []


def test_preparing_that_fails_leaves_a_prepared_run_as_it_was(pictures, measured_pictures, make_recipe, tmp_path):
    run = Run.start(make_recipe(), tmp_path / "run")
    prepare(run, pictures, workers=1)
    before = hashes(run.folder)
    with pytest.raises(RecipeError, match="does not fit"):
        prepare(run, measured_pictures, workers=1)
    assert hashes(run.folder) == before


@pytest.fixture(scope="module")
def other_pictures(place):
    """Sound pictures, but not those of the run."""
    write_set(place / "other-set", [(number // 3 + 1) % 2 for number in range(42)])
    return place / "other-set"


WRONG = {
    "no images": ["run", "--data", "empty"],
    "nowhere": ["run", "--data", "nowhere"],
    "numbers": ["run", "--data", "numbers-set"],
    "other images": ["run", "--data", "other-set"],
    "prepared from numbers": ["prepare", "--data", "numbers-set"],
    "another network": ["run", "--set", "model.args={width: 7}"],
    "fp16 on a CPU": ["run", "--set", "train.epochs=9", "--set", "train.precision=fp16"],
    "no such device": ["run", "--set", "train.epochs=9", "--set", "train.device=cuda"],
    "trained elsewhere": ["train", "--set", "train.epochs=9", "--set", "train.device=cuda"],
    "no number": ["train", "--set", "train.epochs=many"],
    "measured on others": ["evaluate", "--set", "evaluate.bootstrap=33", "--data", "other-set"],
}


@pytest.fixture
def finished(words, pictures, place):
    """A finished run, made once."""
    folder = place / "finished"
    if not folder.exists():
        assert main(words("run", folder, pictures)) == 0
    return folder


def test_a_command_that_fails_leaves_a_finished_run_as_it_was(
    finished, words, pictures, measured_pictures, other_pictures, place, monkeypatch, capsys
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (place / "empty").mkdir()
    before = hashes(finished)
    for name, (command, *more) in WRONG.items():
        assert main([*words(command, finished, pictures), *more]) == 2, name
        (finished / "problems.txt").unlink(missing_ok=True)  # all that was wrong with the files
        assert hashes(finished) == before, name
    assert main(["evaluate", str(finished)]) == 0
    assert main(["report", str(finished)]) == 0
    assert "epochs: 2" in (finished / "recipe.yaml").read_text()
