"""Measuring the ensemble of the folds, on what was held out of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data import Source
from medloom.data.splits.given import HELD_OUT
from medloom.evaluation.driver import write_measured
from medloom.evaluation.family import Heatmap
from medloom.evaluation.gallery import write_gallery
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.parts import evaluation_folder
from medloom.evaluation.reading import Progress, Reading
from medloom.files import read_json
from medloom.inference import Predictor, point_from_plain
from medloom.recipe import Recipe

__all__ = ["measure_together"]


def measure_together(
    recipe: Recipe,
    folds: Sequence[Path],
    catalogue: pd.DataFrame,
    source: Source,
    predictor: Predictor,
    run_dir: Path,
    *,
    measured_with: Mapping[str, Any],
    heatmap: Heatmap | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the network of all folds at the operating point that it is packaged with; nothing is chosen.

    Writes into ``run_dir/evaluation/held-out``: ``cases.csv``, ``summary.json`` and the gallery.

    Args:
        recipe: The recipe of the whole.
        folds: The run directories of the folds, each measured.
        catalogue: That of any fold: all have the same part held out.
        source: Where the files are.
        predictor: The network of all folds, as the bundle will run it.
        run_dir: The run directory of the whole.
        measured_with: What the metrics are of; kept in the summary.
        heatmap: Shows where the networks looked; None for no heat maps.
        progress: Called with images done and images in all.

    Returns:
        The summary, as in ``summary.json``; empty where nothing was held out.

    Raises:
        DataError: If a file cannot be read any more.
    """
    rows = catalogue[catalogue["split"] == HELD_OUT].assign(split="test")
    if rows.empty:
        return {}
    target, folder = recipe.predicts(), evaluation_folder(run_dir) / HELD_OUT
    found = [read_json(evaluation_folder(fold) / "summary.json") for fold in folds]
    family = KINDS[target.kind](target)
    choice = family.combine(found)
    reading = Reading(recipe, source, predictor, progress, catalogue=catalogue)
    table = family.measure_at(recipe, reading, rows, choice)
    summary = family.summary(table, choice, recipe.evaluate.bootstrap, found[0]["interval"]["over"])
    summary["measured_with"] = dict(measured_with)
    write_measured(folder, family, table, summary)
    served = replace(predictor, calibration=choice.calibrated.calibration)
    seen = replace(reading, predictor=served.at(point_from_plain(choice.point, target)), progress=None)
    write_gallery(folder, family.gallery(recipe, seen, rows, table, heatmap))
    return summary
