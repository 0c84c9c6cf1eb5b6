"""A study from a recipe to the bundle of its best trial, in this process."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from medloom import data, pipeline
from medloom.data.sources import FolderSource
from medloom.errors import RecipeError
from medloom.events import EpochEnded, Noted, Stop
from medloom.files import read_json
from medloom.packaging import load
from medloom.pipeline.measuring import openings_of
from medloom.pipeline.places import find_store
from medloom.training import sizing
from medloom.training.sizing import BatchSize
from medloom.tuning import Study, tune
from medloom.tuning.storage import opened

RATE = {"train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}


def known(folder):
    return opened(Study.open(folder).resolved()).get_trials()


def scores(folder):
    return [(trial.state.name, trial.params, trial.values) for trial in known(folder)]


def test_the_score_is_the_best_epochs_and_the_one_model_on_the_disk_is_that_of_the_best_trial(trials_of):
    folder = trials_of(count=4)
    trials = known(folder)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert trials[0].params == {"train.batch_size": 8, "train.optimizer.lr": 1e-3}  # the recipe as it is
    for trial in trials:
        lines = (folder / "trials" / f"{trial.number:04d}" / "metrics.jsonl").read_text().splitlines()
        assert trial.value == min(json.loads(line)["val_loss"] for line in lines)
    best = min(trials, key=lambda trial: trial.value)
    kept = [path.parts[-3] for path in folder.glob("trials/*/checkpoints/best.safetensors")]
    assert kept == [f"{best.number:04d}"]


def test_the_bundle_is_of_the_best_trial(pictures, recipe_of, place):
    said = []
    listener = [lambda event: said.append(event.text) if isinstance(event, Noted) else None]
    result = tune(recipe_of(RATE), trials=2, data=pictures, on_event=listener)
    (text,) = [text for text in said if text.startswith("forecast: ")]
    assert re.fullmatch(
        r"forecast: about .* for a trial with the recipe's own settings \(2 epochs of .*\), .* for 2 trials if none is "
        r"given up, [\d.]+ [MG]B of memory, \d+ MB of disk beside the pixel store of \d+ kB",
        text,
    )
    assert read_json(result.folder / "forecast.json")["trials"] == 2
    best = min(known(result.folder), key=lambda trial: trial.value)
    run = pipeline.Run.open(result.folder / "best")
    assert run.recipe.train.optimizer.lr == best.params["train.optimizer.lr"]
    assert run.facts("training.json", "train")["best_metric"] == best.value
    assert load(result.bundle).target.names == ("0", "1")
    assert openings_of(run) == []
    summary = pipeline.evaluate(run)  # opens the test set, and the cheap models beside the network say something of it
    assert len(openings_of(run)) == 1
    measured = summary["test"]["baselines"]["perceptron"]["metrics"].values()
    assert any(metric["value"] is not None for metric in measured)


@pytest.mark.slow
def test_the_size_of_a_step_that_is_left_open_is_found_once_for_all_trials(pictures, recipe_of, place, monkeypatch):
    found = [BatchSize(4, [(4, 10**9)], None, "cpu")]
    monkeypatch.setattr(sizing, "find_batch_size", lambda *args, **more: found.pop())
    recipe = recipe_of(RATE, train={"batch_size": "auto"})
    result = tune(recipe, trials=2, data=pictures)
    runs = [result.folder / "best", *sorted(result.folder.glob("trials/*"))]
    assert [pipeline.Run.open(folder).recipe.train.batch_size for folder in runs] == [4, 4, 4]
    assert not found
    assert len(tune(recipe, trials=3, data=pictures).facts["trials"]) == 3  # it goes on with the same recipe


def test_a_study_that_goes_on_does_what_one_does_that_was_never_stopped(trials_of):
    whole = trials_of(study="whole", count=4)
    trials_of(study="parts", count=1)
    trials_of(study="parts", count=3)
    parts = trials_of(study="parts", count=4)
    assert scores(parts) == scores(whole)
    trials_of(study="parts", count=4)  # there is nothing left to do
    assert scores(parts) == scores(whole)


def test_a_trial_that_is_stopped_goes_on_from_its_checkpoint(trials_of):
    whole, epochs = trials_of(study="whole"), []

    def follow(event):
        if isinstance(event, EpochEnded):
            epochs.append(event.epoch)
            return Stop("enough") if len(epochs) == 3 else None
        return None

    trials_of(study="parts", on_event=follow)
    assert epochs == [1, 2, 1]
    parts = trials_of(study="parts", on_event=follow)
    assert epochs == [1, 2, 1, 2, 1, 2]
    ended = [entry for entry in scores(parts) if entry[0] == "COMPLETE"]
    assert ended[:2] == scores(whole)[:2]
    assert len(ended) == 3


def test_a_study_refuses_to_go_on_with_what_makes_its_scores_others(trials_of, recipe_of):
    trials_of(count=1)
    with pytest.raises(RecipeError, match=r"train\.epochs changed"):
        trials_of(recipe_of(train={"epochs": 3}))
    with pytest.raises(RecipeError, match=r"tune\.space\.train\.batch_size\.choices"):
        trials_of(recipe_of({**RATE, "train.batch_size": {"choices": [8]}}))
    with pytest.raises(RecipeError, match="--folds changed"):
        trials_of(folds=2)
    with pytest.raises(RecipeError, match=r"split\.folds: a study has one split"):
        trials_of(recipe_of(split={"folds": 5, "train": 0.7, "validation": 0.15, "test": 0.15}))
    trials_of(recipe_of(evaluate={"bootstrap": 6}), count=1)


def test_a_network_that_cannot_be_built_is_found_before_anything_is_made(trials_of, recipe_of, place):
    with pytest.raises(RecipeError, match=r"model\.args: perceptron takes none"):
        trials_of(recipe_of({"model.args": {"choices": [{"width": 2}]}}))
    assert not (place / "studies").exists()


@pytest.mark.parametrize("folds", [None, 2])
def test_no_test_patient_is_looked_at(trials_of, recipe_of, monkeypatch, folds):
    """Their pixels in the store are replaced once it is prepared, and the files that are read are written down."""
    untouched = trials_of(recipe_of(RATE), study="untouched", count=2, folds=folds)
    catalogue = data.read_catalogue(untouched / "prepared" / "catalogue.csv")
    planted = catalogue[catalogue["split"] == "test"]
    assert len(planted) == 12
    store = find_store(pipeline.Run.open(untouched / "prepared"))
    pixels = np.load(store.path / "images.npy", mmap_mode="r+")
    rows = store.rows(planted["sample_id"].tolist())
    pixels[rows] = 255 - pixels[rows]
    pixels.flush()
    read, reading = [], FolderSource.read
    monkeypatch.setattr(FolderSource, "read", lambda self, name: read.append(name) or reading(self, name))
    again = trials_of(recipe_of(RATE), study="again", count=2, folds=folds)
    assert scores(again) == scores(untouched)
    assert read
    assert set(planted["image"]).isdisjoint(read)


def test_folds_score_a_setting_by_the_mean_over_patients_that_it_was_not_trained_on(trials_of, recipe_of):
    folder = trials_of(recipe_of(RATE), count=1, folds=3)
    whole = data.read_catalogue(folder / "prepared" / "catalogue.csv")
    parts = [data.read_catalogue(folder / "prepared" / f"fold-{number}" / "catalogue.csv") for number in range(3)]
    validated = [set(part.loc[part["split"] == "validation", "patient_id"]) for part in parts]
    assert set.union(*validated) == set(whole.loc[whole["split"] != "test", "patient_id"])
    assert sum(map(len, validated)) == len(set.union(*validated))
    for part, patients in zip(parts, validated, strict=True):
        assert patients.isdisjoint(part.loc[part["split"] == "train", "patient_id"])
        assert (part["split"] == "test").equals(whole["split"] == "test")
    lines = [(folder / "trials" / "0000" / f"fold-{number}" / "metrics.jsonl").read_text() for number in range(3)]
    best = [min(json.loads(line)["val_loss"] for line in text.splitlines()) for text in lines]
    assert known(folder)[0].value == pytest.approx(np.mean(best))
