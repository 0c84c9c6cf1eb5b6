"""Cheap models that are trained beside the network, and what they say of every case: ``baselines.csv`` of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import PixelStore, TableEncoding, labels_of, meta_of
from medloom.errors import DataError
from medloom.evaluation.labels import KINDS, Measured
from medloom.evaluation.labels.cheap import Features, table_features, thumbnail_features
from medloom.evaluation.tables import BASELINE_PREFIX, read_cases, write_table
from medloom.recipe import LabelsRecipe, Recipe

__all__ = ["read_baselines", "write_baselines"]

Floats64 = NDArray[np.float64]

_FILE = "baselines.csv"
_SPLITS = ("validation", "test")


def write_baselines(recipe: Recipe, catalogue: pd.DataFrame, store: PixelStore, run_dir: Path) -> None:
    """Train the cheap models of a run and write their scores of the validation and test samples.

    The truth of the test samples is not looked at. Masks have no such models.

    Args:
        recipe: Says what is predicted.
        catalogue: The catalogue with its splits.
        store: Its pixels.
        run_dir: The run directory.
    """
    target = recipe.predicts()
    (run_dir / _FILE).unlink(missing_ok=True)
    measured = KINDS.get(target.kind)
    if measured is None:
        return
    labels, truth = measured(target), labels_of(catalogue)
    seen = {"perceptron": thumbnail_features(catalogue, store)}
    encoding = _encoding(recipe, catalogue)
    if encoding is not None:
        seen["table"] = table_features(catalogue, encoding, meta_of(catalogue))
    table = catalogue[["sample_id", "patient_id"]].reset_index(drop=True)
    for name, features in seen.items():
        table = table.assign(**_columns(labels, name, features, truth))
    write_table(run_dir / _FILE, table[catalogue["split"].isin(_SPLITS).to_numpy()])


def read_baselines(run_dir: Path) -> pd.DataFrame | None:
    """Return what the cheap models of a run say, by ``sample_id``; None where there are none."""
    path = run_dir / _FILE
    return read_cases(path).drop(columns="patient_id") if path.is_file() else None


def _encoding(recipe: Recipe, catalogue: pd.DataFrame) -> TableEncoding | None:
    """How the metadata columns become numbers, also where the network takes none of them."""
    columns = LabelsRecipe.of(recipe).data.labels.metadata
    if not columns.numeric and not columns.categorical:
        return None
    rows = meta_of(catalogue[catalogue["split"] == "train"])
    try:
        return TableEncoding.fit(rows, columns.numeric, columns.categorical)
    except DataError:  # the network does not need them, so nobody was told that they are no numbers
        return None


def _columns(labels: Measured, name: str, features: Features, truth: Floats64) -> dict[str, Floats64]:
    scores = labels.cheap(features, truth)
    if scores is None:
        return {}
    named = zip(labels.score_columns, scores.T, strict=True)
    return {f"{BASELINE_PREFIX}{name}_{column}": np.round(values, 6) for column, values in named}
