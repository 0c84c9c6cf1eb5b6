"""A run that is tracked: whatever the tracker does the result is the same, and what it missed is sent later."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest
import yaml

from medloom import pipeline
from medloom.cli.main import main
from medloom.errors import UserError
from medloom.events import EpochEnded, Stop, Warned
from medloom.files import write_text
from medloom.registry import TRACKERS, Entry
from support.tracked import Down, copy_store, write_run


@pytest.fixture
def down(monkeypatch):
    """A tracker ``down`` that a recipe may name."""
    entry = Entry("cannot be reached", "support.tracked:Down", traits={"extra": "dev", "module": "json"})
    monkeypatch.setitem(TRACKERS, "down", entry)


@pytest.fixture
def runs(tmp_path, mlflow_template, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy_store(mlflow_template, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def recipe_with(make_recipe):
    """A recipe with these trackers."""

    def make(*trackers, **train):
        settings = {"epochs": 2, "compile": False, **train}
        return make_recipe(tracking={"trackers": list(trackers)}, train=settings)

    return make


@pytest.fixture
def tracked_runs(runs):
    """What MLflow has in the store beside the runs."""

    def find():
        from mlflow.tracking import MlflowClient

        client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
        return client, client.search_runs([client.get_experiment_by_name("medloom").experiment_id])

    return find


def test_a_tracker_that_is_down_changes_nothing_but_a_warning_and_gets_everything_later(
    recipe_with, pictures, runs, down, tracked_runs
):
    heard = []
    recipe = recipe_with("down")
    result = pipeline.run(recipe, data=pictures, run=runs / "one", workers=1, on_event=heard.append)
    assert result.bundle.is_file()
    assert result.stopped is None
    (warned,) = [event.text for event in heard if isinstance(event, Warned) and "down" in event.text]
    assert f"medloom track {runs / 'one'}" in warned
    assert "secret" not in warned

    for _ in range(2):
        assert main(["track", str(runs / "one"), "--tracker", "mlflow"]) == 0
    client, (run,) = tracked_runs()
    lines = (runs / "one" / "metrics.jsonl").read_text().splitlines()
    history = client.get_metric_history(run.info.run_id, "auc")
    assert [(one.step, one.value) for one in history] == [
        (line["epoch"], line["auc"]) for line in map(yaml.safe_load, lines)
    ]
    measured = result.summary["test"]["metrics"].items()
    expected = {f"test/{name}": one["value"] for name, one in measured if one["value"] is not None}
    assert len(expected) > 3
    assert expected.items() <= run.data.metrics.items()
    assert run.info.status == "FINISHED"
    assert len(client.search_model_versions("name = 'pictures'")) == 1
    assert not any(str(runs) in value for value in {**run.data.params, **run.data.tags}.values())


def test_a_run_that_is_stopped_is_gone_on_with_as_the_same_run(recipe_with, pictures, runs, tracked_runs):
    def stop(event):
        return Stop("enough for today") if isinstance(event, EpochEnded) and event.epoch == 1 else None

    recipe = recipe_with("mlflow")
    pipeline.run(recipe, data=pictures, run=runs / "one", workers=1, on_event=stop)
    _, (before,) = tracked_runs()
    assert before.info.status == "KILLED"
    pipeline.run(recipe, data=pictures, run=runs / "one", workers=1)
    client, (run,) = tracked_runs()
    assert (run.info.run_id, run.info.status) == (before.info.run_id, "FINISHED")
    assert [one.step for one in client.get_metric_history(run.info.run_id, "train_loss")] == [1, 2]
    assert run.data.metrics["system/process_memory_usage_megabytes"] > 10
    result = pipeline.run(recipe, data=pictures, run=runs / "one", on_event=(heard := []).append)
    assert result.bundle.is_file()
    assert any("nothing to do" in getattr(event, "text", "") for event in heard)


@pytest.mark.slow
def test_a_run_that_was_killed_is_sent_from_its_files(recipe_with, pictures, runs, tracked_runs, tmp_path):
    plain = recipe_with("mlflow", epochs=400).plain()
    write_text(tmp_path / "recipe.yaml", yaml.safe_dump(plain))
    words = [
        "run",
        str(tmp_path / "recipe.yaml"),
        "--data",
        str(pictures),
        "--run",
        str(runs / "one"),
        "--workers",
        "1",
    ]
    program = [sys.executable, "-m", "medloom.cli.main", *words]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for said in process.stderr:
        if said.startswith("epoch 5/"):
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.communicate()
    for _ in range(2):
        assert main(["track", str(runs / "one")]) == 0
    client, (run,) = tracked_runs()
    assert run.info.status == "KILLED"
    steps = [one.step for one in client.get_metric_history(run.info.run_id, "train_loss")]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 5


def test_a_tracker_whose_library_is_missing_is_refused_before_anything_is_done(
    recipe_with, pictures, runs, monkeypatch
):
    monkeypatch.setitem(TRACKERS, "gone", Entry("not here", "", traits={"extra": "gone", "module": "medloom_gone"}))
    recipe = recipe_with("gone")
    with pytest.raises(UserError, match=r"pip install 'medloom\[gone\]'"):
        pipeline.run(recipe, data=pictures, run=runs / "one", workers=1)
    assert not (runs / "one").exists()


def test_a_run_that_has_not_begun_to_train_and_an_unknown_tracker_are_refused(tmp_path, capsys):
    folder = write_run(tmp_path / "one", finished=False)
    assert main(["track", str(folder), "--tracker", "mlfow"]) == 2
    assert "did you mean 'mlflow'" in capsys.readouterr().err
    (folder / "metrics.jsonl").unlink()
    assert main(["track", str(folder)]) == 2
    assert "medloom train" in capsys.readouterr().err
    with contextlib.suppress(FileNotFoundError):
        assert not (folder / "tracking.json").exists()


def test_a_tracker_that_is_down_is_an_error_of_the_command_that_sends(tmp_path, down, capsys):
    folder = write_run(tmp_path / "one", finished=False)
    assert Down.up is False
    assert main(["track", str(folder), "--tracker", "down"]) == 1
    said = capsys.readouterr().err
    assert "down: ConnectionError" in said
    assert "secret" not in said


def test_the_pages_of_mlflow_say_what_to_install_where_they_are_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("medloom.cli.ui.version_of", {"mlflow-skinny": "3.17.2"}.get)
    assert main(["ui", "--runs", str(tmp_path)]) == 2
    assert "pip install 'mlflow==" in capsys.readouterr().err
    monkeypatch.setattr("medloom.cli.ui.version_of", lambda name: "3.17.2")
    assert main(["ui", "--runs", str(tmp_path)]) == 2
    assert "medloom track RUN" in capsys.readouterr().err
    (tmp_path / "mlflow.db").touch()
    started = []
    monkeypatch.setattr(
        "subprocess.run", lambda program, check, env: started.append(program) or subprocess.CompletedProcess([], 0)
    )
    assert main(["ui", "--runs", str(tmp_path), "--port", "5001"]) == 0
    (program,) = started
    assert [f"sqlite:///{tmp_path / 'mlflow.db'}", "127.0.0.1", "5001"] == [
        program[program.index(flag) + 1] for flag in ("--backend-store-uri", "--host", "--port")
    ]
