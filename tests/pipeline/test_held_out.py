"""The ensemble of folds is measured as it is packaged, on people whom none of its members saw."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import medloom
from medloom.cli.texts import closing
from medloom.files import read_json
from medloom.packaging.bundle import read_bundle


@pytest.fixture(scope="module")
def result(pictures, make_recipe, place):
    """A run of three folds, with a quarter held out."""
    split = {"folds": 3, "hold_out": 0.25}
    recipe = make_recipe({"kind": "binary", "classes": ["0", "1"]}, split=split)
    return medloom.run(recipe, data=pictures, run=place / "held-out", workers=1)


@pytest.fixture(scope="module")
def held_out(result):
    """The rows of the catalogue that no fold saw."""
    rows = [pd.read_csv(result.folder / f"fold-{fold}/catalogue.csv", dtype=str) for fold in range(3)]
    found = [one[one["split"] == "held-out"] for one in rows]
    seen = {patient for one in rows for patient in one.loc[one["split"] != "held-out", "patient_id"]}
    assert found[0]["image"].tolist() == found[1]["image"].tolist() == found[2]["image"].tolist()
    assert not seen & set(found[0]["patient_id"])
    return found[0]


def test_its_metrics_are_those_of_the_answers_that_the_bundle_gives(result, held_out, pictures):
    predictor = medloom.load(result.bundle)
    truth = [int(text.strip("[]").split(".")[0]) for text in held_out["labels"]]
    scores = [predictor.predict(pictures / name).plain()["probabilities"]["1"] for name in held_out["image"]]
    metrics = result.summary["held_out"]["metrics"]
    assert metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    assert metrics["roc_auc"]["low"] is not None


def test_the_bundle_the_report_and_the_last_words_say_so(result, held_out):
    people = f"{len(held_out)} images of {held_out['patient_id'].nunique()} patients"
    manifest = read_bundle(result.bundle).manifest
    assert manifest.measured.part == "test"
    assert people in manifest.measured.note
    assert manifest.metrics["test"]["roc_auc"] == result.summary["held_out"]["metrics"]["roc_auc"]
    assert manifest.training_data.counts["train"]["samples"] == 42 - len(held_out)
    page = (result.folder / "report.html").read_text()
    assert people in page
    assert "Together" in page
    assert people in closing(result)


def test_the_files_are_those_of_any_evaluation(result, held_out):
    folder = result.folder / "evaluation/held-out"
    assert len(pd.read_csv(folder / "cases.csv")) == len(held_out)
    assert read_json(folder / "summary.json")["test"]["metrics"] == result.summary["held_out"]["metrics"]
