"""Models are measured against the same masks that they learned from, however a publisher writes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from medloom.data import open_source, preparation, prepare
from medloom.evaluation import evaluate
from medloom.inference import Predictor, default_point
from medloom.recipe import parse_recipe
from medloom.targets import foreground_of
from medloom.transforms import Preprocess
from support.publishers import PUBLISHERS
from support.publishers.facts import SIZE


class Undecided:
    """The same for every pixel."""

    name = "undecided"

    def __init__(self, outputs: int) -> None:
        self._outputs = outputs

    def run(self, batch, table=None):
        return np.full((len(batch), self._outputs, SIZE, SIZE), 1 / (1 + self._outputs), np.float32)


@pytest.mark.parametrize("name", ["busi", "dicom-seg", "cvat", "kvasir-seg", "nnunet-raw"])
def test_the_truth_of_every_case_is_that_of_the_files(name, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})
    root = tmp_path / "set"
    root.mkdir()
    PUBLISHERS[name].write(root)
    plain = {
        "name": "test",
        "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
        "evaluate": {"threshold": 0.5, "min_region_px": 0, "bootstrap": 10},
        **PUBLISHERS[name].recipe,
    }
    recipe = parse_recipe(yaml.safe_dump(plain, sort_keys=False))
    work, target = Preprocess.of(recipe.preprocess), recipe.predicts()
    predictor = Predictor(Undecided(target.outputs), work, target, recipe.data.channels, point=default_point(target))
    with open_source(root) as source:
        made = prepare(recipe, source, tmp_path / "run", tmp_path / "cache", workers=1, preprocess=work)
        evaluate(recipe, made.catalogue, source, predictor, tmp_path / "run")
    cases = pd.read_csv(tmp_path / "run/evaluation/cases.csv")
    found = cases.groupby("sample_id")["truth_px"].sum()
    rows = made.store.rows(found.index.tolist())
    expected = [int(foreground_of(np.asarray(made.store.masks[row])).sum()) for row in rows]
    assert found.tolist() == expected
    assert sum(expected) > 0
