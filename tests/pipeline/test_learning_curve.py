"""A learning curve from images to its page, and on from where it was interrupted."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import yaml

from medloom import pipeline
from medloom.cli.main import main
from medloom.data import read_catalogue
from medloom.errors import DataError, RecipeError, UserError
from medloom.events import EpochEnded, Stop
from medloom.files import read_json, sha256_file

SHARES = (0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def recipe(make_recipe):
    target = {"kind": "regression", "columns": ["level"]}
    return make_recipe(target, loss={"name": "mse"}, train={"monitor": "loss", "epochs": 1})


@pytest.fixture(scope="module")
def curve(place, pictures, recipe):
    """A curve that was stopped in its third training, and then finished."""
    epochs = []

    def stop_in_the_third(event):
        if isinstance(event, EpochEnded):
            epochs.append(event.epoch)
            return Stop("enough") if len(epochs) == 3 else None
        return None

    options = {"shares": SHARES, "data": pictures, "workers": 1, "jobs": 1, "settings": ["train.epochs=2"]}
    assert pipeline.learning_curve(recipe, **options, on_event=stop_in_the_third).stopped == "enough"
    first = place / "curves" / "pictures" / "share-0.25-0"
    kept = sha256_file(first / "checkpoints" / "best.safetensors")
    found = pipeline.learning_curve(recipe, **options, on_event=stop_in_the_third)
    assert len(epochs) == 2 * len(SHARES)
    assert kept == sha256_file(first / "checkpoints" / "best.safetensors")
    return found


def test_every_training_is_measured_on_the_same_patients_and_learned_from_more_of_the_same(curve):
    tables = [read_catalogue(curve.folder / f"share-{share:g}-0" / "catalogue.csv") for share in SHARES]
    learned = [set(table.loc[table["split"] == "train", "patient_id"]) for table in tables]
    assert learned[0] < learned[1] < learned[2] < learned[3]
    for part in ("validation", "test"):
        assert len({tuple(table.loc[table["split"] == part, "sample_id"]) for table in tables}) == 1
    assert [size["patients"] for size in curve.facts["sizes"]] == [len(one) for one in learned]


def test_the_facts_the_table_and_the_page_hold_what_was_measured(curve):
    facts = read_json(curve.folder / "learning_curve.json")
    assert facts == curve.facts
    own = [read_json(curve.folder / f"share-{share:g}-0" / "evaluation" / "summary.json") for share in SHARES]
    values = [one["test"]["metrics"]["mae"]["value"] for one in own]
    assert [one["value"] for one in facts["metrics"]["mae"]["points"]] == pytest.approx(values)
    table = pd.read_csv(curve.folder / "learning_curve.csv")
    assert table.loc[table["metric"] == "mae", "value"].tolist() == pytest.approx(values)
    assert set(table["seed"]) == {0}
    page = curve.page.read_text("utf-8")
    assert facts["metrics"]["mae"]["text"] in page.replace("&#39;", "'")
    assert "Each share was trained once" in page
    assert not re.search(r"""(src|href)=["'](?!data:|learning_curve\.)""", page)
    assert "person" not in page


def test_a_curve_goes_on_only_as_it_began(curve, recipe, pictures):
    options = {"data": pictures, "workers": 1, "settings": ["train.epochs=2"]}
    with pytest.raises(UserError, match="the curve began with other shares"):
        pipeline.learning_curve(recipe, shares=(0.5, 1.0), **options)
    more = {**options, "settings": ["train.epochs=2", "train.batch_size=4"]}
    with pytest.raises(RecipeError, match=r"train\.batch_size"):
        pipeline.learning_curve(recipe, shares=SHARES, **more)
    again = pipeline.learning_curve(recipe, shares=SHARES, **options)
    assert again.facts == curve.facts


def test_other_labels_are_not_taken_for_those_that_were_learned(curve, recipe, pictures, tmp_path):
    import shutil

    shutil.copytree(pictures, tmp_path / "changed")
    table = pd.read_csv(tmp_path / "changed" / "labels.csv")
    table.assign(level=1 - table["level"]).to_csv(tmp_path / "changed" / "labels.csv", index=False)
    with pytest.raises(DataError, match="not those that its network was trained on"):
        pipeline.learning_curve(
            recipe, shares=SHARES, data=tmp_path / "changed", workers=1, settings=["train.epochs=2"]
        )


def test_as_many_steps_and_several_trainings_of_each_share(place, recipe, pictures, capsys):
    (place / "mine.yaml").write_text(yaml.safe_dump(recipe.plain()))
    command = ["learning-curve", "mine.yaml", "--data", str(pictures), "--curve", "steps", "--jobs", "1"]
    words = ["--shares", "0.5", "1", "--same-steps", "--repeats", "2", "--hold-back-test", "--json"]
    assert main([*command, *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["repeats"], facts["part"]) == (2, "validation")
    folder = place / "curves" / "steps"
    runs = {
        share: [pipeline.Run.open(folder / f"share-{share}-{number}") for number in (0, 1)] for share in ("0.5", "1")
    }
    assert [run.recipe.train.seed for run in runs["1"]] == [0, 1]
    assert runs["0.5"][0].recipe.train.epochs == 2
    assert runs["1"][0].recipe.train.epochs == 1
    drawn = [set(read_catalogue(run.folder / "catalogue.csv")["sample_id"]) for run in runs["0.5"]]
    assert drawn[0] != drawn[1]
    assert not list(folder.rglob("test_openings.json"))
    assert facts["metrics"]["mae"]["points"][0]["spread"]["n"] == 2
    assert main([*command, *words[:-1]]) == 0
    assert "cannot be said" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--shares", "0.5", "1.5"], "--shares 1.5: expected shares"),
        (["--shares", "half"], "--shares half: expected numbers"),
        (["--shares", "1"], "a curve has at least two shares"),
        (["--curve", "a b"], "--curve 'a b': a name has letters"),
        (["--set", "split.folds=3"], "split.folds: a learning curve has one split"),
        (["--set", "train.seeds=3"], "train.seeds: a learning curve takes several seeds with --repeats"),
    ],
)
def test_what_makes_no_curve_is_said_before_anything_is_made(place, recipe, pictures, capsys, words, says):
    (place / "other.yaml").write_text(yaml.safe_dump({**recipe.plain(), "name": "other"}))
    assert main(["learning-curve", "other.yaml", "--data", str(pictures), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (place / "curves" / "other").exists()
