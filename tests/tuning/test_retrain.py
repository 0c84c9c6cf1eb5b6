"""The best settings trained once more on training and validation patients together."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pandas as pd
import pytest

import medloom
from medloom import data, pipeline
from medloom.cli.main import main
from medloom.errors import RecipeError, TrainingError
from medloom.events import EpochEnded, Stop
from medloom.files import read_json
from medloom.tuning import tune

RATE = {"train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}


def manifest_of(bundle):
    with tarfile.open(bundle) as archive:
        return json.load(archive.extractfile("bundle.json"))


def test_the_winner_learns_from_everybody_but_the_test_patients_and_says_what_it_keeps(
    pictures, recipe_of, place, capsys
):
    recipe = recipe_of(
        RATE, train={"epochs": 3, "early_stopping": {"patience": 2}}, evaluate={"calibration": "temperature"}
    )
    result = tune(recipe, trials=2, retrain=True, data=pictures)
    best, run = (pipeline.Run.open(result.folder / name) for name in ("best", "retrained"))
    epochs = best.facts("training.json", "train")["best_epoch"]
    trained = run.facts("training.json", "train")
    assert (trained["epochs"], trained["best_epoch"], trained["best_metric"]) == (epochs, epochs, None)
    before, after = (data.read_catalogue(one.folder / "catalogue.csv") for one in (best, run))
    joined = before["split"].isin(["train", "validation"])
    assert set(after.loc[after["split"] == "train", "sample_id"]) == set(before.loc[joined, "sample_id"])
    assert after.loc[after["split"] == "test", "sample_id"].equals(before.loc[before["split"] == "test", "sample_id"])
    ours, theirs = (manifest_of(one.bundle) for one in (run, best))
    assert ours["point"] == theirs["point"]
    assert ours["calibration"] == theirs["calibration"]
    assert ours["metrics"] == theirs["metrics"]
    assert ours["training_data"]["counts"]["train"]["samples"] == joined.sum()
    for text in (ours["measured"]["note"], result.facts["retrained"]["text"], (run.folder / "report.html").read_text()):
        assert "trained again on training and validation patients together" in text
        assert "operating point and calibration are those of that earlier network" in text
    assert result.retrained == run.bundle
    assert not (run.folder / "test_openings.json").exists()
    image = next((pictures / "pictures").glob("*.png"))
    answers = [medloom.load(one.bundle).predict(image).scores for one in (run, best)]
    assert not np.array_equal(*answers)
    assert main(["verify", str(run.bundle)]) == 0
    again = tune(recipe, trials=2, retrain=True, data=pictures)
    assert again.facts == result.facts
    # the test set is opened at the point that was kept, and packaged with that
    assert main(["evaluate", str(run.folder)]) == 0
    summary = read_json(run.folder / "evaluation" / "summary.json")
    assert summary["operating_point"] == theirs["point"]
    cases = pd.read_csv(run.folder / "evaluation" / "cases.csv")
    assert set(cases["split"]) == {"test"}
    assert main(["package", str(run.folder)]) == 0
    assert manifest_of(run.bundle)["measured"]["part"] == "test"
    assert "trained again" in manifest_of(run.bundle)["measured"]["note"]
    capsys.readouterr()
    assert main(["evaluate", str(run.folder), "--part", "validation"]) == 2
    assert "was trained on the validation patients, too" in capsys.readouterr().err


def test_it_goes_on_where_it_was_stopped(pictures, recipe_of, place):
    recipe, epochs = recipe_of(RATE, train={"epochs": 6, "optimizer": {"lr": 1e-5}}), []
    tune(recipe, trials=1, data=pictures)

    def stop_in_the_second(event):
        if isinstance(event, EpochEnded):
            epochs.append(event.epoch)
            return Stop("enough") if len(epochs) == 2 else None
        return None

    with pytest.raises(TrainingError, match="asked to stop; the same command goes on"):
        tune(recipe, trials=1, retrain=True, data=pictures, on_event=stop_in_the_second)
    result = tune(recipe, trials=1, retrain=True, data=pictures, on_event=stop_in_the_second)
    assert epochs == list(range(1, result.facts["retrained"]["epochs"] + 1))


def test_a_schedule_that_follows_validation_patients_is_refused(pictures, recipe_of, place):
    recipe = recipe_of(RATE, train={"schedule": {"name": "plateau"}})
    with pytest.raises(RecipeError, match=r"train\.schedule\.name=plateau follows the validation patients"):
        tune(recipe, trials=1, retrain=True, data=pictures)
    assert not (place / "studies").exists()
