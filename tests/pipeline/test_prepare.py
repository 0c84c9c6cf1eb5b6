"""What preparing writes down for the stages after it."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.data import read_catalogue
from medloom.data.catalogue import meta_of
from medloom.errors import RecipeError
from medloom.files import read_json
from medloom.pipeline import Run, prepare

TABLE = {"metadata": {"numeric": ["age"], "categorical": ["site"]}}


def test_the_encoding_of_metadata_is_fitted_on_training_rows_only(pictures, make_recipe, tmp_path):
    run = Run.start(make_recipe(labels=TABLE, model={"metadata": "fused"}), tmp_path / "run")
    prepare(run, pictures, workers=1)
    rows = read_catalogue(run.folder / "catalogue.csv")
    part = (rows["split"] == "train").to_numpy()
    meta = [row for row, trains in zip(meta_of(rows), part, strict=True) if trains]
    ages = [float(row["age"]) for row in meta if row["age"]]
    table = read_json(run.folder / "table.json")
    (numeric,) = table["numeric"]
    assert numeric["column"] == "age"
    assert [numeric["mean"], numeric["std"]] == pytest.approx([np.mean(ages), np.std(ages)])
    seen = {row["site"] for row in meta if row["site"]}
    assert set(table["categorical"][0]["categories"]) == seen
    assert seen < {row["site"] for row in meta_of(rows) if row["site"]}  # so the other rows were not looked at


def test_a_network_that_takes_no_metadata_has_no_encoding(pictures, make_recipe, tmp_path):
    for metadata, there in (("fused", True), ("none", False)):
        run = Run.start(make_recipe(labels=TABLE, model={"metadata": metadata}), tmp_path / "run")
        prepare(run, pictures, workers=1)
        assert (run.folder / "table.json").exists() is there


def test_what_was_found_out_about_the_labels_is_in_the_runs_recipe(pictures, make_recipe, tmp_path):
    run = Run.start(make_recipe(), tmp_path / "run")
    assert run.recipe.target.kind == "auto"
    prepare(run, pictures, workers=1)
    target = Run.open(run.folder).recipe.target
    assert (target.kind, target.classes) == ("binary", ("0", "1"))


def test_a_recipe_that_does_not_fit_the_labels_that_were_found_says_so(measured_pictures, make_recipe, tmp_path):
    run = Run.start(make_recipe(), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"labels are regression, and the recipe does not fit them: .*mse"):
        prepare(run, measured_pictures, workers=1)
    fitting = make_recipe(loss={"name": "mse"}, train={"monitor": "loss"})
    prepare(Run.start(fitting, tmp_path / "run"), measured_pictures, workers=1)
    assert Run.open(run.folder).recipe.target.kind == "regression"
