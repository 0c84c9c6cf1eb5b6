"""Several seeds from images to one bundle, and on from where they were interrupted."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pandas as pd
import pytest

import medloom
from medloom import pipeline
from medloom.cli.main import main
from medloom.errors import RecipeError
from medloom.events import EpochEnded, Noted, Stop
from medloom.files import read_json, sha256_file
from medloom.pipeline import Run, folds
from medloom.recipe import parse_recipe

SEEDS = 3


@pytest.fixture(scope="module")
def seeded(place, pictures, make_recipe):
    """A run of several seeds that was stopped in the second, and then finished."""
    recipe, epochs, measured = make_recipe(train={"seeds": SEEDS}), [], []
    evaluate = folds.evaluate

    def stop_in_the_second(event):
        if isinstance(event, EpochEnded):
            epochs.append(event.epoch)
            return Stop("enough") if len(epochs) == 3 else None
        return None

    patch = pytest.MonkeyPatch()
    patch.setattr(
        folds, "evaluate", lambda run, **options: measured.append(run.folder.name) or evaluate(run, **options)
    )
    options = {"data": pictures, "run": place / "runs" / "seeded", "workers": 1, "on_event": stop_in_the_second}
    with patch.context():
        assert medloom.run(recipe, **options).stopped == "enough"
        kept = sha256_file(place / "runs" / "seeded" / "seed-0" / "checkpoints" / "best.safetensors")
        result = medloom.run(recipe, **options)
    patch.undo()
    assert epochs == [1, 2, 1, 2, 1, 2]  # the second went on, the first was left alone
    assert measured == ["seed-0", "seed-1", "seed-2"]
    assert kept == sha256_file(result.folder / "seed-0" / "checkpoints" / "best.safetensors")
    return result


def member(seeded, seed):
    return Run.open(seeded.folder / f"seed-{seed}")


def test_the_seeds_differ_in_nothing_but_their_seed(seeded):
    plains = [member(seeded, seed).plain() for seed in range(SEEDS)]
    assert [plain["train"].pop("seed") for plain in plains] == list(range(SEEDS))
    assert plains[0] == plains[1] == plains[2]
    splits = {(seeded.folder / f"seed-{seed}" / "trained_on.csv").read_text() for seed in range(SEEDS)}
    assert len(splits) == 1
    weights = {sha256_file(seeded.folder / f"seed-{seed}" / "checkpoints/best.safetensors") for seed in range(SEEDS)}
    assert len(weights) == SEEDS


def test_the_spread_is_that_of_the_test_metrics_of_all_seeds(seeded):
    own = [read_json(member(seeded, seed).folder / "evaluation" / "summary.json") for seed in range(SEEDS)]
    facts = read_json(seeded.folder / "evaluation" / "summary.json")["seeds"]
    name = next(iter(facts["spread"]))
    values = [one["test"]["metrics"][name]["value"] for one in own]
    found = facts["spread"][name]
    assert (found["mean"], found["deviation"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert [one["metrics"][name]["value"] for one in facts["members"]] == values
    best = [member(seeded, seed).facts("training.json", "train")["best_metric"] for seed in range(SEEDS)]
    assert facts["chosen"] == int(np.argmax(best))
    page = (seeded.folder / "report.html").read_text()
    for text in ("<h2>Seeds</h2>", "Standard deviation", "Two things that must not be mixed", "No metric on test took"):
        assert text in page
    assert f"The test set was opened once by each of {SEEDS} seeds" in page


def test_the_bundle_is_of_the_seed_that_is_best_on_validation_and_says_so(seeded, pictures):
    chosen = seeded.summary["seeds"]["chosen"]
    theirs = medloom.load(pipeline.package(member(seeded, chosen)))
    image = next((pictures / "pictures").glob("*.png"))
    np.testing.assert_array_equal(medloom.load(seeded.bundle).predict(image).scores, theirs.predict(image).scores)
    with tarfile.open(seeded.bundle) as archive:
        manifest = json.load(archive.extractfile("bundle.json"))
    assert f"seed {chosen} is packaged" in manifest["measured"]["note"]
    cases = pd.read_csv(seeded.folder / "evaluation" / "cases.csv")
    assert cases.equals(pd.read_csv(member(seeded, chosen).folder / "evaluation" / "cases.csv"))
    assert manifest["metrics"]["test"] == seeded.summary["test"]["metrics"]
    assert main(["verify", str(seeded.bundle)]) == 0


def test_a_finished_run_of_seeds_has_nothing_to_do_and_can_be_given_more(seeded, pictures, make_recipe, capsys):
    recipe, said = make_recipe(train={"seeds": SEEDS}), []
    options = {"data": pictures, "run": seeded.folder, "workers": 1, "on_event": said.append}
    again = medloom.run(recipe, **options)
    assert again.summary == seeded.summary
    assert any("nothing to do" in event.text for event in said if isinstance(event, Noted))
    planned = pipeline.seed_runs(Run.planned(make_recipe(train={"seeds": SEEDS + 1}), seeded.folder))
    assert [pipeline.is_measured(one) for one in planned] == [True] * SEEDS + [False]
    with pytest.raises(RecipeError, match=r"train\.seeds: is 1, was 3"):
        medloom.run(make_recipe(), **options)
    for command in ("train", "evaluate"):
        assert main([command, str(seeded.folder)]) == 2
        assert "`medloom run` trains with every seed" in capsys.readouterr().err
    assert main(["runs", "show", str(seeded.folder)]) == 0


def test_a_run_of_one_training_does_not_become_one_of_seeds(place, pictures, make_recipe):
    run = place / "runs" / "alone"
    medloom.run(make_recipe(), data=pictures, run=run, workers=1)
    with pytest.raises(RecipeError, match=r"train\.seeds: is 2, was 1"):
        medloom.run(make_recipe(train={"seeds": 2}), data=pictures, run=run, workers=1)


def test_the_test_set_can_be_held_back(place, pictures, make_recipe):
    recipe = make_recipe(train={"seeds": 2, "epochs": 1})
    result = medloom.run(recipe, data=pictures, run=place / "runs" / "closed", workers=1, hold_back_test=True)
    assert result.summary["part"] == "validation"
    assert {one["n"] for one in result.summary["seeds"]["spread"].values()} == {2}
    assert not list(result.folder.rglob("test_openings.json"))
    with tarfile.open(result.bundle) as archive:
        measured = json.load(archive.extractfile("bundle.json"))["measured"]
    assert measured["part"] == "validation"
    assert "seed" in measured["note"]


def test_seeds_and_folds_do_not_go_together(make_recipe):
    with pytest.raises(RecipeError, match=r"train\.seeds: it acts only with split\.folds=null"):
        make_recipe(train={"seeds": 2}, split={"folds": 3})


def test_the_option_is_the_key_of_the_recipe(place, pictures, make_recipe, capsys):
    import yaml

    (place / "mine.yaml").write_text(yaml.safe_dump(make_recipe().plain()))
    assert (
        main(["run", "mine.yaml", "--data", str(pictures), "--seeds", "2", "--dry-run", "--set", "train.device=cpu"])
        == 0
    )
    requests = json.loads(capsys.readouterr().out)
    assert [request["name"] for request in requests] == ["seed 1/2", "seed 2/2"]
    assert parse_recipe((place / "mine.yaml").read_text(), ["train.seeds=2"]).train.seeds == 2
