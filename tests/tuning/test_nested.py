"""Nested cross-validation: what the outer fold's patients measure, they did not choose."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from medloom import data, pipeline
from medloom.cli.main import main
from medloom.data.sources import FolderSource
from medloom.errors import RecipeError
from medloom.events import EpochEnded, Events, Stop
from medloom.files import read_json
from medloom.pipeline.places import find_store
from medloom.tuning import Limits, Study, begun_study, tune_nested, work
from medloom.tuning.nested import outer_recipes
from medloom.tuning.storage import opened

RATE = {"train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}
OUTER = 2


@pytest.fixture
def nested(pictures, recipe_of, place):
    """A nested cross-validation that was stopped in its second fold, and then finished."""
    epochs = []

    def follow(event):
        if isinstance(event, EpochEnded):
            epochs.append(event.epoch)
            return Stop("enough") if len(epochs) == 7 else None
        return None

    options = {"outer": OUTER, "trials": 1, "folds": 2, "data": pictures, "on_event": follow}
    assert tune_nested(recipe_of(RATE), **options).stopped
    result = tune_nested(recipe_of(RATE), **options)
    assert len(epochs) == OUTER * (2 * 2 + 2)  # two epochs of two inner folds, and of the winner on the outer one
    return result


def scores(folder):
    return [(trial.params, trial.values) for trial in opened(Study.open(folder).resolved()).get_trials()]


def test_every_patient_is_tested_once_by_a_winner_that_the_patient_did_not_choose(nested, pictures, recipe_of, place):
    """Their pixels are replaced while the study of their fold goes on, which then does what it did before."""
    tables = [data.read_catalogue(nested.folder / f"outer-{number}" / "best" / "catalogue.csv") for number in (0, 1)]
    tested = [set(table.loc[table["split"] == "test", "patient_id"]) for table in tables]
    assert not tested[0] & tested[1]
    assert tested[0] | tested[1] == set(tables[0]["patient_id"])
    cases = pd.read_csv(nested.folder / "evaluation" / "cases.csv")
    assert sorted(cases["sample_id"]) == sorted(tables[0]["sample_id"])
    planted = tables[0][tables[0]["split"] == "test"]
    store = find_store(pipeline.Run.open(nested.folder / "outer-0" / "prepared"))
    pixels = np.load(store.path / "images.npy", mmap_mode="r+")
    rows = store.rows(planted["sample_id"].tolist())
    pixels[rows] = 255 - pixels[rows]
    pixels.flush()
    read, reading, patch = [], FolderSource.read, pytest.MonkeyPatch()
    patch.setattr(FolderSource, "read", lambda self, name: read.append(name) or reading(self, name))
    again, recipe = place / "studies" / "again" / "outer-0", outer_recipes(recipe_of(RATE), OUTER)[0]
    with patch.context(), begun_study(recipe, again, images=pictures, folds=2, events=Events()) as (study, images):
        work(study, images, Limits(1))
    patch.undo()
    assert scores(again) == scores(nested.folder / "outer-0")
    assert read
    assert set(planted["image"]).isdisjoint(read)


def test_the_figures_are_those_of_the_winners_on_the_outer_folds(nested):
    facts = read_json(nested.folder / "nested.json")
    assert facts == nested.facts
    for number, one in enumerate(facts["members"]):
        best = nested.folder / f"outer-{number}" / "best"
        assert one["inner"] == read_json(nested.folder / f"outer-{number}" / "tuning.json")["best"]["score"]
        own = pd.read_csv(best / "evaluation" / "cases.csv")
        own = own[own["split"] == "test"]
        chance = np.where(own["truth"] == 1, own["score"], 1 - own["score"])
        assert one["outer"] == pytest.approx(-np.log(chance).mean(), rel=1e-3)  # train.monitor is the loss
        assert len(read_json(best / "test_openings.json")["openings"]) == 1
    outer = [one["outer"] for one in facts["members"]]
    assert (facts["outer"]["mean"], facts["outer"]["deviation"]) == pytest.approx(
        (np.mean(outer), np.std(outer, ddof=1))
    )
    page = nested.page.read_text()
    assert "Outside: all folds together" in page
    assert "None measures" not in page
    assert f"{facts['outer']['mean']:.4f}" in page


def test_what_makes_no_outer_folds_is_refused(recipe_of, pictures, place, capsys):
    with pytest.raises(RecipeError, match=r"split\.folds: --outer divides all patients"):
        outer_recipes(recipe_of(split={"folds": 3, "train": 0.7, "validation": 0.15, "test": 0.15}), 3)
    (place / "mine.yaml").write_text(yaml.safe_dump(recipe_of(RATE).plain()))
    command = ["tune", "mine.yaml", "--data", str(pictures), "--outer", "2"]
    assert main([*command, "--confirm", "2"]) == 2
    assert "--confirm: with --outer" in capsys.readouterr().err
    assert not (place / "studies").exists()
    assert json.loads(json.dumps([one.split.fold for one in outer_recipes(recipe_of(RATE), 3)])) == [0, 1, 2]
