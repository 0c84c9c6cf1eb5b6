"""One network learns the answers of the folds' ensemble and is packaged in its place."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import medloom
from medloom import pipeline
from medloom.cli.texts import closing
from medloom.data import read_catalogue
from medloom.data.splits.given import HELD_OUT
from medloom.errors import RecipeError, UserError
from medloom.events import EpochEnded, Noted, StageBegun, Stop
from medloom.files import read_json
from medloom.packaging.bundle import read_bundle
from medloom.packaging.card import CARD
from medloom.pipeline import Run
from medloom.recipe import load_recipe
from medloom.training import load_best

FOLDS = 2
SPLIT = {"folds": FOLDS, "hold_out": 0.3}
CLASSES = {"kind": "binary", "classes": ["0", "1"]}
SMALLER = {"model": {"table_width": 4}, "epochs": 3, "temperature": 3.0}


class StopsStudent:
    """Asks for an end in the first epoch of the one network."""

    def __init__(self) -> None:
        self.trains = ""
        self.said: list[str] = []

    def __call__(self, event):
        if isinstance(event, StageBegun) and event.stage == "train":
            self.trains = event.folder.name
        if isinstance(event, Noted):
            self.said.append(event.text)
        return Stop("enough for now") if isinstance(event, EpochEnded) and self.trains == "distilled" else None


@pytest.fixture(scope="module")
def recipe(make_recipe):
    return make_recipe(CLASSES, split=SPLIT, package={"serve": "distilled"}, distil=SMALLER)


@pytest.fixture(scope="module")
def result(recipe, pictures, place):
    """A run that was stopped while its one network learned, and went on."""
    listener = StopsStudent()
    first = medloom.run(recipe, data=pictures, run=place / "one", workers=1, on_event=listener)
    assert first.stopped == "enough for now"
    assert not (place / "one/model.tar.gz").exists()
    folds = {path: path.read_bytes() for path in (place / "one").glob("fold-*/checkpoints/*")}
    second = medloom.run(recipe, data=pictures, run=place / "one", workers=1)
    assert {path: path.read_bytes() for path in folds if path.exists()} == {
        path: content for path, content in folds.items() if path.exists()
    }
    return second


def test_the_bundle_holds_one_network_of_the_named_size_with_the_weights_that_were_learned(result, pictures):
    with read_bundle(result.bundle) as bundle:
        assert bundle.manifest.model.table_features == (0,)
        assert bundle.manifest.model.options["table_width"] == 4
    student = Run.open(result.folder / "distilled")
    network = load_best(student.folder, student.recipe)
    predictor = medloom.load(result.bundle)
    picture = sorted((pictures / "pictures").glob("*.png"))[0]
    shown = torch.from_numpy(predictor.prepare(picture.read_bytes()).network_input)[None]
    with torch.no_grad():
        expected = float(network(shown).sigmoid())
    assert predictor.predict(picture).plain()["probabilities"]["1"] == pytest.approx(expected, abs=1e-5)


def test_its_loss_against_the_ensemble_on_all_held_out_patients_is_in_every_place(result):
    rows = read_catalogue(result.folder / "catalogue.csv")
    rows = rows[rows["split"] == HELD_OUT]
    facts = result.summary["served"]
    cases = f"{len(rows)} images of {rows['patient_id'].nunique()} patients"
    assert (facts["what"], facts["judging"]["cases_text"]) == ("distilled", cases)
    table = pd.read_csv(result.folder / "evaluation/held-out/cases.csv", dtype=str)
    assert sorted(table["sample_id"]) == sorted(rows["sample_id"])
    judging = facts["judging"]
    apart = judging["other"]["roc_auc"]["value"] - judging["ensemble"]["roc_auc"]["value"]
    assert judging["difference"]["roc_auc"]["value"] == pytest.approx(apart)
    assert judging["difference"]["roc_auc"]["low"] is not None
    with read_bundle(result.bundle) as bundle:
        card, manifest = (bundle.folder / CARD).read_text(), bundle.manifest
    assert manifest.instead_of_ensemble.difference == judging["difference"]
    assert manifest.metrics["test"]["roc_auc"] == result.summary["held_out"]["metrics"]["roc_auc"]
    assert "It stands for an ensemble of 2 networks (trained on their probabilities)" in card
    assert facts["text"] in manifest.measured.note
    assert facts["text"] in closing(result)
    page = (result.folder / "report.html").read_text()
    assert "One network in the place of the ensemble" in page
    assert "<td>Distilled</td>" in page
    assert page.count(">Distilled</th>") == 2  # beside the ensemble, and how it was trained


def test_it_learns_from_all_folds_and_from_nobody_who_was_held_out(result):
    rows, first = (read_catalogue(result.folder / name / "catalogue.csv") for name in ("distilled", "fold-0"))
    assert rows.drop(columns="split").equals(first.drop(columns="split"))
    assert set(rows.loc[rows["split"] == "train", "sample_id"]) == set(
        first.loc[first["split"].isin(["train", "test"]), "sample_id"]
    )
    for part in ("validation", HELD_OUT):
        assert rows[rows["split"] == part].equals(first[first["split"] == part])
    assert read_json(result.folder / "distilled/training.json")["epochs"] == 3


@pytest.mark.slow
def test_other_pictures_of_held_out_patients_leave_its_weights_as_they_are(result, recipe, pictures, place):
    rows = read_catalogue(result.folder / "catalogue.csv")
    shutil.copytree(pictures, place / "others")
    for name in rows.loc[rows["split"] == HELD_OUT, "image"]:
        pixels = np.asarray(Image.open(place / "others" / name))
        Image.fromarray(255 - pixels).save(place / "others" / name)
    other = medloom.run(recipe, data=place / "others", run=place / "two", workers=1)
    again = read_catalogue(other.folder / "catalogue.csv")
    assert again["split"].tolist() == rows["split"].tolist()
    assert again["sha256"].tolist() != rows["sha256"].tolist()
    for name in ("fold-0", "fold-1", "distilled"):
        one, two = (Run.open(folder / name) for folder in (result.folder, other.folder))
        states = [load_best(run.folder, run.recipe).state_dict() for run in (one, two)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_more_epochs_extend_it_and_another_temperature_begins_anew(result, recipe, pictures):
    def again(**distil):
        listener = StopsStudent()
        changed = recipe.model_copy(update={"distil": recipe.distil.model_copy(update=distil)})
        medloom.run(changed, data=pictures, run=result.folder, workers=1, on_event=listener)
        lines = (result.folder / "distilled/metrics.jsonl").read_text().splitlines()
        return len(lines), any("begins anew" in text for text in listener.said)

    assert again(epochs=5) == (4, False)
    assert again(epochs=5, temperature=1.0) == (1, True)


@pytest.mark.parametrize(
    ("distil", "says"),
    [
        ({"model": {"name": "nonesuch"}}, r"distil\.model: .*nonesuch"),
        ({"model": {"nam": "perceptron"}}, r"distil\.model: .*nam"),
    ],
)
def test_a_network_that_is_none_is_refused_before_anything_is_done(make_recipe, pictures, place, distil, says):
    recipe = make_recipe(CLASSES, split=SPLIT, package={"serve": "distilled"}, distil=distil)
    with pytest.raises(RecipeError, match=says):
        medloom.run(recipe, data=pictures, run=place / "none", workers=1)
    assert not list((place / "none").glob("fold-*"))


def test_a_budget_is_refused_beside_it(recipe, pictures, place):
    with pytest.raises(UserError, match="--budget: with package"):
        medloom.run(recipe, data=pictures, run=place / "budget", workers=1, budget_s=600.0)


@pytest.mark.slow
@pytest.mark.parametrize("serve", ["soup", "distilled"])
def test_masks_are_packaged_as_one_network_too(place, serve):
    settings = [
        "split.folds=2",
        "split.hold_out=0.4",
        f"package.serve={serve}",
        "data.phantom.patients=28",
        "data.phantom.size=48",
        "data.phantom.slices=[4, 4]",
        "preprocess.size=[48, 48]",
        "model.args={channels: [4, 8], num_res_units: 1}",
        "train.epochs=2",
        "train.device=cpu",
        "evaluate.bootstrap=50",
    ]
    recipe = load_recipe("brain-mri-small", settings)
    made = medloom.run(recipe, run=place / serve, workers=1)
    facts = made.summary["served"]
    names = {"dice_foreground", "false_positive_rate", "patient_dice_foreground", "region_sensitivity"}
    assert set(facts["judging"]["difference"]) == names
    with read_bundle(made.bundle) as bundle:
        assert len(bundle.manifest.model.table_features) == (2 if facts["what"] == "ensemble" else 1)
    assert (facts["what"] == "distilled") == (serve == "distilled")
    rows = read_catalogue(made.folder / "catalogue.csv")
    source = pipeline.find_images(Run.open(made.folder))
    image = source / rows.loc[rows["split"] == HELD_OUT, "image"].iloc[0]
    assert medloom.load(made.bundle).predict(image).mask.shape == (48, 48)


@pytest.mark.slow
def test_a_distilled_network_takes_metadata_as_numbers_of_its_own(place):
    settings = [
        "split.folds=2",
        "split.hold_out=0.3",
        "package.serve=distilled",
        "data.phantom.patients=14",
        "data.phantom.size=32",
        "data.phantom.slices=[3, 4]",
        "data.phantom.prevalence=0.4",
        "preprocess.size=[32, 32]",
        "preprocess.crop=null",
        "model.name=perceptron",
        "train.epochs=2",
        "train.device=cpu",
        "evaluate.bootstrap=20",
    ]
    made = medloom.run(load_recipe("melanoma", settings), run=place / "metadata", workers=1)
    with read_bundle(made.bundle) as bundle:
        manifest = bundle.manifest
    own = read_json(made.folder / "distilled/table.json")
    assert list(manifest.tables) == [own]
    assert own != read_json(made.folder / "fold-0/table.json")
    rows = read_catalogue(made.folder / "catalogue.csv")
    image = pipeline.find_images(Run.open(made.folder)) / rows["image"].iloc[0]
    answers = [medloom.load(made.bundle).predict(image, metadata=one).scores for one in ({}, {"age_approx": 85})]
    assert answers[0] != answers[1]
