"""Measuring labels of whole images: scores of validation and test, thresholds from validation, figures, gallery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data import Source, labels_of, meta_of
from medloom.evaluation.classification import (
    GROUP_PREFIX,
    TargetInfo,
    ThresholdChoice,
    choose_thresholds,
    classification_summary,
    decide,
)
from medloom.evaluation.figures import write_table
from medloom.evaluation.label_gallery import Heatmap, choose_errors, choose_mistakes, write_label_gallery
from medloom.evaluation.label_reading import Floats, read_inputs
from medloom.files import write_json
from medloom.inference import LabelPredictor
from medloom.recipe import EvaluateConfig, Recipe

__all__ = ["evaluate_labels", "measure_labels", "target_of"]

Progress = Callable[[int, int], None]

_SPLITS = ("validation", "test")


def evaluate_labels(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    source: Source,
    predictor: LabelPredictor,
    run_dir: Path,
    *,
    heatmap: Heatmap | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a predictor on the validation and the test patients.

    Writes into ``run_dir/evaluation``: ``cases.csv`` (a row for each image; every figure comes from it),
    ``operating_point.json``, ``summary.json``, ``gallery.json`` and ``gallery/*.png``. The thresholds are chosen on
    validation alone, so the test figures are honest.

    Args:
        recipe: Says how to read the files and to choose the thresholds.
        catalogue: The catalogue with its splits.
        source: Where the files are.
        predictor: What is measured; its own thresholds are not used.
        run_dir: The run directory.
        heatmap: Shows where a network looked; None for no heat maps.
        progress: Called with images done and images in all.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        DataError: If a file cannot be read any more.
    """
    rows = catalogue[catalogue["split"].isin(_SPLITS)]
    scored = _scored(recipe, rows, source, predictor, progress)
    target = target_of(recipe)
    table, summary = measure_labels(scored, target, recipe.evaluate, run_dir / "evaluation")
    test = table[table["split"] == "test"]
    if target.kind == "real":
        chosen = choose_errors(test, target, labels_of(catalogue))
    else:
        chosen = choose_mistakes(test, target)
    write_label_gallery(run_dir / "evaluation", chosen, rows, source, predictor, recipe, heatmap)
    return summary


def measure_labels(
    scored: pd.DataFrame, target: TargetInfo, config: EvaluateConfig, folder: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Choose the thresholds on the validation rows, decide, and write the table and the figures.

    Args:
        scored: The per-case table without decisions; its column ``fold``, if it has one, gives each fold its own
            validation cases and thresholds.
        target: What is predicted.
        config: The recipe's ``evaluate``.
        folder: Where ``cases.csv``, ``operating_point.json`` and ``summary.json`` go.

    Returns:
        The table with decisions, and the summary.
    """
    choice = choose_thresholds(scored[scored["split"] == "validation"], target, config)
    table = decide(scored, target, choice.thresholds)
    summary = write_measured(table, target, choice, config, folder)
    return table, summary


def write_measured(
    table: pd.DataFrame, target: TargetInfo, choice: ThresholdChoice, config: EvaluateConfig, folder: Path
) -> dict[str, Any]:
    """Write ``cases.csv``, ``operating_point.json`` and ``summary.json`` of a table with decisions."""
    summary = classification_summary(table, target, choice, config.bootstrap)
    write_table(folder / "cases.csv", table)
    write_json(folder / "operating_point.json", choice.plain())
    write_json(folder / "summary.json", summary)
    return summary


def target_of(recipe: Recipe) -> TargetInfo:
    """Return what a recipe predicts."""
    labels = recipe.data.labels
    if labels.kind == "binary":
        return TargetInfo("binary", labels.classes)
    if labels.kind == "multi-class":
        return TargetInfo("multi-class", labels.classes)
    return TargetInfo("real" if labels.kind == "real" else "multi-label", labels.targets)


def _scored(
    recipe: Recipe, rows: pd.DataFrame, source: Source, predictor: LabelPredictor, progress: Progress | None
) -> pd.DataFrame:
    """The per-case table without decisions."""
    target = target_of(recipe)
    scores: list[Floats] = []
    for images, encoded in read_inputs(rows, source, predictor, recipe.data, recipe.evaluate.batch_size):
        scores.extend(predictor.run(images, encoded))
        if progress:
            progress(len(scores), len(rows))
    table = rows[["sample_id", "patient_id", "split"]].reset_index(drop=True)
    truth = labels_of(rows)
    whole = target.kind != "real"
    for index, name in enumerate(target.truth_columns):
        table[name] = truth[:, index].astype(int) if whole else truth[:, index]
    for index, name in enumerate(target.score_columns):
        table[name] = [float(score[index]) for score in scores]
    meta = meta_of(rows)
    for group in recipe.data.labels.groups:
        table[f"{GROUP_PREFIX}{group}"] = [row.get(group, "") for row in meta]
    return table
