"""A whole run from Python: three lines, with listeners."""

from __future__ import annotations

import numpy as np
import pytest

import medloom
from medloom.errors import UserError
from medloom.events import BatchEnded, EpochEnded, FileMade, Progressed, StageBegun, StageEnded, Stop, Warned
from medloom.files import read_json
from medloom.imaging import encode_png

STAGES = ["prepare", "train", "evaluate", "package", "report"]


@pytest.fixture
def heard():
    """What a listener was told."""
    return []


@pytest.fixture
def start(pictures, make_recipe, tmp_path, heard):
    """Run the recipe for pictures, with settings."""

    def run(*settings, on_event=None, **more):
        recipe = make_recipe({"kind": "auto"})
        return medloom.run(
            recipe,
            data=pictures,
            run=tmp_path / "run",
            settings=settings,
            on_event=on_event or heard.append,
            workers=1,
            **more,
        )

    return run


def test_a_run_gives_its_bundle_its_metrics_and_its_pages_and_tells_what_happens(start, heard, tmp_path):
    result = start()
    assert result.stopped is None
    assert result.folder == tmp_path / "run"
    assert result.bundle.is_file()
    assert [page.name for page in result.pages] == ["data_report.html", "report.html"]
    assert result.summary == read_json(result.folder / "evaluation" / "summary.json")
    assert result.training["best_epoch"] >= 1
    assert not result.phantom
    prediction = medloom.load(result.bundle).predict(encode_png(np.full((24, 24), 140, np.uint8)))
    assert prediction.decision[0] in ("0", "1")
    assert [event.stage for event in heard if isinstance(event, StageBegun)] == STAGES
    assert [event.stage for event in heard if isinstance(event, StageEnded)] == STAGES
    assert [event.epoch for event in heard if isinstance(event, EpochEnded)] == [1, 2]
    assert any(isinstance(event, BatchEnded) for event in heard)
    counted = {event.what for event in heard if isinstance(event, Progressed) and event.done == event.total}
    assert counted == {"prepare", "evaluate"}
    made = {event.path.name for event in heard if isinstance(event, FileMade)}
    assert made >= {"model.tar.gz", "report.html", "data_report.html"}
    before = (result.folder / "metrics.jsonl").read_text()
    assert start().stopped is None
    assert (result.folder / "metrics.jsonl").read_text() == before


def test_a_listener_that_asks_for_an_end_stops_the_training_and_its_reason_is_kept(start, heard):
    def listener(event):
        heard.append(event)
        return Stop("it has learned enough") if isinstance(event, EpochEnded) and event.epoch == 2 else None

    result = start("train.epochs=5", on_event=listener)
    assert result.stopped == "it has learned enough"
    assert result.bundle is None
    assert read_json(result.folder / "training.json")["stop_reason"] == "it has learned enough"
    assert [event.stage for event in heard if isinstance(event, StageBegun)] == ["prepare", "train"]
    finished = start("train.epochs=5")
    assert finished.stopped is None
    assert finished.training["epochs"] == 5


def test_a_listener_that_fails_is_said_once_and_harms_nothing(start, heard):
    def broken(event):
        raise RuntimeError("no disk for the dashboard")

    result = start(on_event=[broken, heard.append])
    assert result.bundle.is_file()
    said = [event.text for event in heard if isinstance(event, Warned) and "dashboard" in event.text]
    assert len(said) == 1


def test_what_came_in_wrong_is_an_error_and_no_exit(pictures, make_recipe, tmp_path):
    with pytest.raises(UserError, match="a name has letters"):
        medloom.run(make_recipe(), data=pictures, run="two words")
    with pytest.raises(UserError, match="there is no recipe"):
        medloom.run("brain-mir")
    with pytest.raises(UserError, match="no such folder or zip"):
        medloom.run(make_recipe(), data=tmp_path / "nowhere", run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
