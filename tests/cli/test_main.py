from __future__ import annotations

import contextlib
import importlib
import json
import os
import pty
import subprocess
import sys

import pytest

from medloom.cli import display
from medloom.cli.display import Display, epoch_line, progress
from medloom.cli.main import COMMANDS, main
from medloom.cli.output import ExitCode, fail, table
from medloom.errors import DataError, MedloomError, TrainingError, UserError
from medloom.events import BatchEnded, EpochEnded, Events, Noted, StageBegun, Warned
from medloom.pipeline.notices import SetAside


def test_help_names_every_command_and_the_exit_codes(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name.split()[0] in shown for name in COMMANDS)
    assert "Exit codes" in shown
    assert "..." not in shown.replace("[ARGS]...", "")


def test_it_is_a_module_of_python_too():
    done = subprocess.run([sys.executable, "-m", "medloom", "recpes"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Did you mean 'recipes'" in done.stderr


def test_commands_that_are_only_started_as_jobs_are_not_listed(capsys):
    assert main(["--help"]) == 0
    assert "\n  fold " not in capsys.readouterr().out
    assert main(["fold", "nothing"]) == 2
    assert "nothing is not a run" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    assert f"Usage: medloom {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_with_a_command(name):
    module = importlib.import_module(f"medloom.cli.{name.replace(' ', '_').replace('-', '_')}")
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
        (
            ["prepare", "brain-mri", "--run", "two words"],
            "--run 'two words': a name has letters, digits, dots, hyphens",
        ),
        (["run", "brain-mri", "--run", "-", "--dry-run"], "a path has a slash, such as ./brain-2"),
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
        (OSError(28, "No space left on device", "runs/x"), 74, "No space left on device: 'runs/x'"),
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
    now = iter([1.0, 2.0, 11.5, 12.0, 13.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(now))
    with progress("read") as update:
        for done in (0, 1, 2, 3, 4):
            update(done, 4)
    assert capsys.readouterr().err.splitlines() == ["read: 2 of 4", "read: 4 of 4"]


def test_a_table_lines_up():
    assert table([("a", "one"), ("bcd", "two")]) == "  a    one\n  bcd  two"
    assert table([]) == ""


def test_events_are_said_on_stderr_and_an_epoch_has_one_line(capsys, tmp_path):
    metrics = {"epoch": 1, "lr": 0.1, "train_loss": 0.5, "dice_all": 0.1, "val_loss": None, "auc": 0.75, "seconds": 2.0}
    with Display() as shown:
        events = Events([shown])
        events.emit(StageBegun("train", tmp_path))
        events.emit(BatchEnded(1, 2, 1, 3))
        events.emit(EpochEnded(1, 2, metrics, best=True))
        events.emit(Noted("as a note"))
        events.emit(Warned("as a warning"))
        events.emit(SetAside("a.tif: truncated"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "epoch 1/2  train_loss 0.5000  auc 0.7500  2.0 s  best",
        "as a note",
        "warning: as a warning",
        "warning: set aside: a.tif: truncated",
    ]


def test_a_metric_of_any_kind_is_shown():
    assert (
        epoch_line(EpochEnded(2, 2, {"epoch": 2, "circular_error": 3.25})) == "epoch 2/2  circular_error 3.2500  0.0 s"
    )


def test_an_epoch_says_how_much_patience_is_left_where_the_training_may_stop_early():
    metrics = {"epoch": 5, "auc": 0.75, "f1": 0.5, "accuracy": 0.625, "seconds": 1.0}
    assert epoch_line(EpochEnded(5, 9, metrics, patience=10, patience_left=3)) == (
        "epoch 5/9  auc 0.7500  f1 0.5000  accuracy 0.6250  1.0 s  patience 3 of 10"
    )


def test_on_a_terminal_there_is_one_bar_at_a_time_and_what_is_said_stands_above_it(tmp_path):
    script = (
        "from pathlib import Path\n"
        "from medloom.cli.display import Display\n"
        "from medloom.events import *\n"
        "with Display() as shown:\n"
        "    events = Events([shown])\n"
        "    events.progress('prepare')(3, 4)\n"
        "    events.emit(StageBegun('train', Path('x')))\n"
        "    events.emit(BatchEnded(2, 4, 1, 10))\n"
        "    events.emit(EpochEnded(2, 4, {'auc': 0.5}))\n"
        "    events.progress('evaluate')(1, 9)\n"
    )
    controller, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", script], stderr=terminal, env=environment)
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):
        while part := os.read(controller, 4096):
            said += part
    os.close(controller)
    assert process.wait() == 0
    text = said.decode()
    for words in ("3/4", "epoch 2/4", "11/40", "epoch 2/4  auc 0.5000", "1/9"):
        assert words in text
