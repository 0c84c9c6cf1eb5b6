"""Several folds together: every case keeps the answer of its own fold, and the operating points become one."""

import shutil

import pandas as pd
import pytest

from medloom.data import open_source
from medloom.evaluation import combine, evaluate
from medloom.evaluation.folds import notes_of_folds, rule_of_folds
from medloom.evaluation.labels import Binary, MultiClass
from medloom.evaluation.masks import summarise
from medloom.files import read_json
from medloom.targets import Target


@pytest.fixture
def folds(recipe, predictor, data, tmp_path):
    """The run directories of two folds that swap validation and test, each with a threshold of its own."""
    folder, catalogue = data
    swapped = catalogue.assign(split=catalogue["split"].map({"validation": "test", "test": "validation"}))
    found = []
    for number, (rows, threshold) in enumerate(((catalogue, 0.4), (swapped, 0.6))):
        section = recipe.evaluate.model_copy(update={"threshold": threshold, "min_region_px": 10 * number})
        with open_source(folder) as source:
            run_dir = tmp_path / f"fold-{number}"
            evaluate(recipe.model_copy(update={"evaluate": section}), rows, source, predictor, run_dir)
        found.append(run_dir)
    return found


def test_the_metrics_are_those_of_the_test_cases_of_all_folds(recipe, folds, tmp_path):
    summary = combine(recipe, folds, tmp_path / "whole")
    own = [pd.read_csv(fold / "evaluation/cases.csv") for fold in folds]
    tested = pd.concat([cases[cases["split"] == "test"] for cases in own], ignore_index=True)
    assert summary["test"] == summarise(tested, 50)
    assert summary["test"]["counts"]["images"] == 24
    assert "validation" not in summary
    for number, fold in enumerate(folds):
        alone = read_json(fold / "evaluation/summary.json")
        expected = {key: value for key, value in alone.items() if key == "operating_point"}
        assert summary["folds"][number] == {"fold": number, "metrics": alone["test"]["metrics"], **expected}
    assert summary["operating_point"] == {"threshold": 0.6, "min_region_px": 10}
    assert summary["rule"].endswith("each fold has its own, the bundle the middle one")
    assert read_json(tmp_path / "whole/evaluation/summary.json") == summary
    assert read_json(tmp_path / "whole/evaluation/operating_point.json")["threshold"] == 0.6
    assert len(pd.read_csv(tmp_path / "whole/evaluation/patients.csv")) == 6


def test_the_gallery_has_the_first_of_all_folds_with_copies_of_their_pictures(recipe, folds, tmp_path):
    combine(recipe, folds, tmp_path / "whole")
    found = [read_json(fold / "evaluation/gallery.json")["groups"] for fold in folds]
    for fold in folds:
        shutil.rmtree(fold)
    for place, group in enumerate(read_json(tmp_path / "whole/evaluation/gallery.json")["groups"]):
        orders = sorted(item["order"] for one in found for item in one[place]["items"])
        assert [item["order"] for item in group["items"]] == orders[: group["most"]]
        assert all((tmp_path / "whole/evaluation" / item["file"]).is_file() for item in group["items"])


def fold_of(thresholds, notes=()):
    return {"operating_point": {"thresholds": list(thresholds)}, "rule": "the best", "notes": list(notes)}


def test_thresholds_of_labels_become_their_mean_and_notes_say_of_which_fold_they_are():
    labels = Binary(Target("binary", ("well", "ill")))
    choice = labels.combine([fold_of([0.2]), fold_of([0.5], ["few cases"]), fold_of([0.3], ["few cases"])])
    assert choice.point == {"thresholds": [0.333333]}
    assert choice.notes == ("Folds 2 and 3: few cases",)
    assert choice.text == "ill from probability 0.333 on: the best; each fold has its own, the bundle their mean."
    assert MultiClass(Target("multi-class", ("a", "b"))).combine([fold_of([]), fold_of([])]).rule == "the best"


def test_a_note_of_every_fold_is_said_once():
    assert notes_of_folds([["x"], ["x", "y"]]) == ("Every fold: x", "Fold 2: y")
    assert notes_of_folds([[], []]) == ()
    assert rule_of_folds([fold_of([0.1]), fold_of([0.1])], "their mean") == "the best"
