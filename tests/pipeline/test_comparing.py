"""Finished runs beside each other."""

from __future__ import annotations

import json
import shutil

import pytest

import medloom
from medloom import pipeline
from medloom.cli.main import main
from medloom.errors import DataError, UserError
from medloom.files import read_json


@pytest.fixture(scope="module")
def runs(place, pictures, make_recipe):
    """Two runs that differ in their learning rate, and one that was never measured."""
    recipe, folder = make_recipe({"kind": "auto"}), place / "runs"
    for name, rate in (("slow", 0.00001), ("quick", 0.01)):
        settings = [f"train.optimizer.lr={rate}", "train.epochs=2"]
        medloom.run(recipe, data=pictures, run=folder / name, settings=settings, workers=1)
    shutil.copytree(folder / "slow", folder / "bare", ignore=shutil.ignore_patterns("evaluation"))
    return folder


def test_two_runs_are_compared_on_their_test_patients(runs, tmp_path):
    made = pipeline.compare_runs(["slow", "quick"], tmp_path / "found", runs=runs, resamples=200)
    facts = read_json(tmp_path / "found" / "comparison.json")
    assert facts == made.facts
    test = read_json(runs / "quick" / "evaluation" / "summary.json")["test"]
    assert facts["counts"]["images"] == test["counts"]["images"]
    shown = [name for name in facts["headlines"] if test["metrics"][name]["value"] is not None]
    assert set(facts["headlines"]) - set(shown) <= set(facts["withheld"])
    for name in shown:
        assert facts["models"]["quick"]["metrics"][name]["value"] == pytest.approx(test["metrics"][name]["value"])
    assert facts["recipes"] == {"train.optimizer.lr": {"slow": 0.00001, "quick": 0.01}}
    assert list(facts["differences"]) == ["quick"]
    assert facts["phantom"] is False


def test_the_page_shows_both_and_says_what_it_is_to_choose_by_the_test_set(runs, tmp_path):
    page = pipeline.compare_runs(["slow", "quick"], tmp_path, runs=runs, resamples=50).page.read_text("utf-8")
    assert "train.optimizer.lr" in page
    assert "look at the test set once" in page
    assert "person" not in page  # patients
    assert str(runs) not in page


def test_validation_is_compared_where_it_was_measured_alone(runs, tmp_path):
    with pytest.raises(UserError, match=r"medloom evaluate slow --part validation"):
        pipeline.compare_runs(["slow", "quick"], tmp_path, runs=runs, part="validation", resamples=50)
    for name in ("slow", "quick"):
        pipeline.evaluate(pipeline.open_run(name, runs), part="validation")
    made = pipeline.compare_runs(["slow", "quick"], tmp_path, runs=runs, part="validation", resamples=50)
    assert made.facts["part"] == "validation"
    assert any("chose its best epoch" in note for note in made.facts["notes"])


def test_the_same_pseudonym_of_another_image_is_not_the_same_case(runs, tmp_path):
    """A run on more images calls them otherwise; what counts is the image."""
    shutil.copytree(runs / "quick", tmp_path / "renamed")
    for name in ("catalogue.csv", "evaluation/cases.csv"):
        path = tmp_path / "renamed" / name
        path.write_text(path.read_text("utf-8").replace("P00", "P10").replace("P01", "P11"), "utf-8")
    made = pipeline.compare_runs([runs / "quick", tmp_path / "renamed"], tmp_path / "out", resamples=50)
    assert made.facts["counts"]["left_out"] == {}
    assert all(one["value"] == 0.0 for one in made.facts["differences"]["renamed"].values())


def test_labels_that_were_corrected_in_between_are_refused(runs, tmp_path):
    shutil.copytree(runs / "quick", tmp_path / "corrected")
    path = tmp_path / "corrected" / "evaluation" / "cases.csv"
    lines = path.read_text("utf-8").splitlines()
    at, column = next(
        (number, lines[0].split(",").index("truth")) for number, line in enumerate(lines) if ",test," in line
    )
    cells = lines[at].split(",")
    cells[column] = str(1 - int(float(cells[column])))
    lines[at] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(DataError, match="not measured against the same truth"):
        pipeline.compare_runs([runs / "slow", tmp_path / "corrected"], tmp_path / "out", resamples=50)


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (["slow"], {}, "name two or more"),
        (["slow", "slow"], {}, "slow is there twice"),
        (["slow", "quick"], {"against": "other"}, "--against other"),
        (["slow", "bare"], {}, "was not measured on test"),
        (["slow", "nowhere"], {}, "there is no run 'nowhere'"),
    ],
)
def test_what_cannot_be_compared_is_said(runs, tmp_path, names, options, said):
    with pytest.raises(UserError, match=said):
        pipeline.compare_runs(names, tmp_path, runs=runs, resamples=10, **options)


def test_the_command_prints_differences_and_gives_json(runs, tmp_path, capsys):
    arguments = ["compare", "slow", "quick", "--runs", str(runs), "-o", str(tmp_path / "out"), "--against", "quick"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "difference from quick" in printed
    assert "ROC AUC" in printed
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["against"] == "quick"
    assert main(["compare", "slow", "--runs", str(runs)]) == 2
    assert "Traceback" not in capsys.readouterr().err
