from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from medloom.cli import output
from medloom.cli.main import COMMANDS, main
from medloom.cli.output import ExitCode, fail, progress, table
from medloom.errors import DataError, MedloomError, TrainingError, UserError


def test_help_names_every_command_and_the_exit_codes(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name.split()[0] in shown for name in COMMANDS)
    assert "Exit codes" in shown
    assert "..." not in shown.replace("[ARGS]...", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    assert f"Usage: medloom {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_with_a_command(name):
    module = importlib.import_module(f"medloom.cli.{name.replace(' ', '_')}")
    assert callable(module.command)
    assert module.command.__doc__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recpes"], "Did you mean 'recipes'"),
        (["run"], "RECIPE"),
        (["run", "brain-mri", "--sett", "x=1"], "--set"),
        (["data", "got"], "Did you mean 'get'"),
        (["run", "brain-mir"], "did you mean 'brain-mri'"),
        (["prepare", "brain-mri", "--set", "train.epocs=3"], "train.epocs: unknown key, did you mean 'epochs'?"),
        (["prepare", "brain-mri", "--set", "train.epochs"], "expected key=value, such as train.epochs=5"),
        (["prepare", "brain-mri", "--set", "train.compile=junk"], "train.compile: expected auto, true, false, yes, no"),
        (["prepare", "brain-mri", "--run", "../out"], "--run '../out'"),
        (["prepare", "brain-mri", "--data", "nowhere"], "nowhere"),
        (["train", "nothing"], "there is no run 'nothing'"),
        (["evaluate", "nothing"], "there is no run 'nothing'"),
        (["report", "nothing"], "there is no run 'nothing'"),
        (["init", "brain"], "did you mean 'brain-mri'"),
    ],
)
def test_wrong_input_exits_2_with_a_message_on_stderr_and_nothing_on_stdout(
    arguments, said, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_a_recipe_that_is_wrong_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "brain-mri", "--set", "train.epochs=0"]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["recipes"], ["recipes", "--json"]])
def test_recipes_lists_the_built_in_ones_on_stdout(arguments, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "brain-mri" in shown.out
    assert shown.err == ""


def test_json_results_can_be_read_by_programs(capsys):
    assert main(["recipes", "--json"]) == 0
    assert "brain-mri" in json.loads(capsys.readouterr().out)


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("medloom ")


def test_the_program_exits_with_the_code():
    command = [sys.executable, "-m", "medloom.cli.main", "nothing-of-this-name"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("wrong"), 2, "error: wrong"),
        (DataError("2 files do not fit", ["a.tif: x", "b.tif: y"]), 2, "error: 2 files do not fit\n  - a.tif: x"),
        (TrainingError("stopped"), 1, "error: stopped"),
        (MedloomError("failed"), 1, "error: failed"),
        (OSError(28, "No space left on device", "runs/x"), 1, "No space left on device: 'runs/x'"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_an_error_becomes_a_message_without_a_traceback(error, code, said, capsys, monkeypatch):
    def command():
        raise error

    module = type("Module", (), {"command": staticmethod(command)})
    monkeypatch.setattr(importlib, "import_module", lambda name: module)
    assert main(["doctor"]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def command():
        raise ZeroDivisionError

    module = type("Module", (), {"command": staticmethod(command)})
    monkeypatch.setattr(importlib, "import_module", lambda name: module)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_the_traceback_can_be_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("MEDLOOM_TRACEBACK", "1")
    assert fail(UserError("wrong")) == ExitCode.WRONG_INPUT
    assert "UserError: wrong" in capsys.readouterr().err


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    now = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(now))
    with progress("read") as update:
        for done in (1, 2, 3, 4):
            update(done, 4)
    assert capsys.readouterr().err.splitlines() == ["read: 2 of 4", "read: 4 of 4"]


def test_a_table_lines_up():
    assert table([("a", "one"), ("bcd", "two")]) == "  a    one\n  bcd  two"
    assert table([]) == ""
