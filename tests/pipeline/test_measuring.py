"""The test set is opened when asked and counted each time, and metrics stand beside the model that they are of."""

from __future__ import annotations

import json
import shutil
import tarfile

import pandas as pd
import pytest

import medloom
from medloom import pipeline
from medloom.cli.main import main
from medloom.errors import UserError
from medloom.evaluation.parts import HELD_BACK, ON_VALIDATION
from medloom.evaluation.tables import read_cases
from medloom.files import read_json, write_json
from medloom.packaging import export
from medloom.pipeline.measuring import BEST_WEIGHTS, newest_measured
from medloom.reports.openings import openings_sentence
from medloom.training.checkpoint import BEST

SAME = "always by the same model with the same settings, so nothing was chosen by its metrics."
CHOSEN = "different models or settings: if one of them was chosen by its test metrics, these are a little too good."


def manifest_of(bundle) -> dict:
    with tarfile.open(bundle) as archive:
        return json.load(archive.extractfile("bundle.json"))


def content(folder, without="validation"):
    """What each file of an evaluation holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if without not in path.relative_to(folder).parts}


@pytest.fixture(scope="module")
def runs(pictures, make_recipe, place):
    """A run whose test set was held back, and the same after it was opened."""
    held = medloom.run(make_recipe(), data=pictures, run=place / "held", workers=1, hold_back_test=True).folder
    opened = shutil.copytree(held, place / "opened")
    shutil.rmtree(opened / "evaluation")
    pipeline.evaluate(pipeline.Run.open(opened))
    pipeline.package(pipeline.Run.open(opened))
    return {"held": held, "opened": opened}


@pytest.fixture
def run(runs, tmp_path, monkeypatch):
    """A copy of one of these runs by its name; its graph is not exported again, for the weights do not change."""
    monkeypatch.setattr(export, "export_onnx", lambda network, path, **settings: path)
    return lambda name: shutil.copytree(runs[name], tmp_path / name)


def again(folder, *settings, **more):
    return pipeline.evaluate(pipeline.open_run(folder, overrides=settings), **more)


def test_a_test_set_that_is_held_back_is_not_measured_and_the_bundle_and_the_page_say_so(run):
    folder = run("held")
    assert [path.name for path in (folder / "evaluation").iterdir()] == ["validation"]
    assert set(read_cases(folder / "evaluation" / "validation" / "cases.csv")["split"]) == {"validation"}
    summary = read_json(folder / "evaluation" / "validation" / "summary.json")
    assert "test" not in summary
    bundle = manifest_of(folder / "model.tar.gz")
    assert list(bundle["metrics"]) == ["validation"]
    assert bundle["measured"] == {"part": "validation", "runtime": "onnx", "precision": "fp32", "note": HELD_BACK}
    assert main(["verify", str(folder / "model.tar.gz")]) == 0
    page = (folder / "report.html").read_text()
    assert "The test set was held back." in page
    assert "The test set was opened" not in page
    assert "Few validation patients" in page
    assert "Validation cases, the worst first." in page
    assert "training never saw" not in page
    assert not openings_sentence(folder)


def test_the_test_set_is_opened_later_and_each_time_is_counted(run):
    folder = run("held")
    assert set(again(folder)) >= {"test", "validation"}
    assert openings_sentence(folder) == "The test set was opened once."
    again(folder)
    assert openings_sentence(folder) == f"The test set was opened twice, {SAME}"
    again(folder, "evaluate.bootstrap=5")  # changes the intervals only
    assert openings_sentence(folder) == f"The test set was opened 3 times, {SAME}"
    again(folder, "evaluate.views=2")
    assert openings_sentence(folder) == f"The test set was opened 4 times, by 2 {CHOSEN}"
    again(folder, part="validation")
    entries = read_json(folder / "test_openings.json")["openings"]
    assert len(entries) == 4
    assert len({entry["checkpoint"] for entry in entries}) == 1
    assert len({entry["recipe"] for entry in entries}) == 3
    pipeline.report(pipeline.Run.open(folder))
    assert f"opened 4 times, by 2 {CHOSEN}" in (folder / "report.html").read_text()


def test_measuring_on_validation_lies_beside_and_leaves_the_metrics_on_test_as_they_are(run):
    folder = run("opened")
    before = content(folder / "evaluation")
    summary = again(folder, part="validation")
    assert content(folder / "evaluation") == before
    assert summary["validation"] == read_json(folder / "evaluation" / "summary.json")["validation"]
    assert read_json(folder / "evaluation" / "validation" / "gallery.json")["note"].startswith("Validation cases")
    pages = {page.name: page.read_text() for page in pipeline.report(pipeline.Run.open(folder))}
    assert ON_VALIDATION in pages["validation_report.html"]
    assert "was held back" not in "".join(pages.values())
    assert ON_VALIDATION not in pages["report.html"]
    assert list(manifest_of(pipeline.package(pipeline.Run.open(folder)))["metrics"]) == ["validation", "test"]


def test_metrics_of_another_model_or_other_settings_are_not_packaged_and_marked_in_the_report(run):
    folder = run("opened")
    changed = pipeline.open_run(folder, overrides=["evaluate.views=2"])
    with pytest.raises(UserError, match=r"evaluate\.views changed since; run `medloom evaluate` again"):
        pipeline.package(changed)
    again(folder, part="validation")
    shown = newest_measured(changed)
    assert (shown.part, shown.changed) == ("validation", ())
    bundle = manifest_of(pipeline.package(changed))
    assert list(bundle["metrics"]) == ["validation"]
    assert bundle["measured"]["note"] == ON_VALIDATION
    summary = read_json(folder / "evaluation" / "validation" / "summary.json")
    summary["measured_with"]["checkpoint"] = "0" * 64
    write_json(folder / "evaluation" / "validation" / "summary.json", summary)
    pipeline.report(changed)
    page = (folder / "report.html").read_text()
    assert "These metrics are not of the model as it is: evaluate.views changed since they were taken" in page


def test_a_run_that_was_not_measured_is_not_packaged(run):
    folder = run("opened")
    (folder / "evaluation" / "summary.json").unlink()
    with pytest.raises(UserError, match="was not measured yet"):
        pipeline.package(pipeline.Run.open(folder))


def test_a_run_that_was_measured_before_openings_were_counted_counts_as_opened_once(run):
    folder = run("opened")
    (folder / "test_openings.json").unlink()
    again(folder)
    assert openings_sentence(folder).startswith("The test set was opened twice, by 2 different")


def test_cheap_models_leave_a_test_set_that_is_held_back_alone_too(runs):
    parts = {name: set(pd.read_csv(runs[name] / "baselines.csv", dtype=str)["sample_id"]) for name in runs}
    catalogue = pd.read_csv(runs["held"] / "catalogue.csv", dtype=str)
    tested = set(catalogue.loc[catalogue["split"] == "test", "sample_id"])
    assert tested
    assert not tested & parts["held"]
    assert tested <= parts["opened"]


def test_the_test_set_cannot_be_held_back_where_every_patient_is_tested_by_a_fold(make_recipe, pictures, tmp_path):
    with pytest.raises(UserError, match="no test set to hold back"):
        medloom.run(make_recipe(split={"folds": 3}), data=pictures, run=tmp_path / "run", hold_back_test=True)


def test_the_command_measures_validation_and_says_how_often_test_was_opened(run, capsys):
    folder = run("held")
    assert main(["evaluate", str(folder), "--part", "validation"]) == 0
    shown = capsys.readouterr()
    assert "Metrics on validation:" in shown.out
    assert "opened" not in shown.err
    assert main(["evaluate", str(folder), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["part"] == "test"
    assert "The test set was opened once." in shown.err


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ("a a a", "opened once."),
        ("aa aa", f"opened twice, {SAME}"),
        ("aa a", f"opened up to twice, {SAME}"),
        ("ab a aaa", f"opened up to 3 times, by 2 {CHOSEN}"),
    ],
)
def test_the_openings_of_folds_are_said_together(tmp_path, folds, said):
    openings = [[{"checkpoint": model} for model in fold] for fold in folds.split()]
    write_json(tmp_path / "test_openings.json", {"folds": openings})
    assert openings_sentence(tmp_path) == f"The test part of each fold was {said}"


def test_the_weights_that_were_measured_are_those_that_training_calls_best():
    assert BEST_WEIGHTS == BEST
