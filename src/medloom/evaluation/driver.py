"""Measuring a run: choose the operating point on validation, then measure validation and test with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data import Source
from medloom.evaluation.appearance import write_appearance
from medloom.evaluation.baselines import read_baselines
from medloom.evaluation.family import Choice, Facts, Family, Heatmap
from medloom.evaluation.fingerprint import write_fingerprint
from medloom.evaluation.gallery import gather_gallery, write_gallery
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.parts import Part, evaluation_folder
from medloom.evaluation.reading import Progress, Reading
from medloom.evaluation.tables import read_cases, write_table
from medloom.files import read_json, write_json
from medloom.inference import Predictor, point_from_plain
from medloom.recipe import Recipe

__all__ = ["combine", "evaluate", "write_measured"]

_EARLIER = {"runtime": "onnx", "precision": "fp32"}
"""With what earlier versions of Medloom measured, which did not say so."""

_SPLITS: dict[Part, tuple[str, ...]] = {"test": ("validation", "test"), "validation": ("validation",)}
"""Which rows are read to measure a part: the operating point is always chosen on validation."""


def evaluate(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    source: Source,
    predictor: Predictor,
    run_dir: Path,
    *,
    part: Part = "test",
    over: str = "patients",
    measured_with: Mapping[str, Any] | None = None,
    heatmap: Heatmap | None = None,
    choice: Choice | None = None,
    beside: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a predictor on the validation and the test patients, or on the validation patients alone.

    Writes into ``run_dir/evaluation``, or ``run_dir/evaluation/validation``: ``cases.csv`` (a row for each
    case; every metric comes from it),
    ``operating_point.json``, ``summary.json``, ``gallery.json`` and ``gallery/*.png``; for masks also
    ``patients.csv``. The operating point is chosen on validation alone, so the test metrics are honest; the validation
    metrics are a little too good.

    Args:
        recipe: Says how to read the files and to choose the operating point.
        catalogue: The catalogue with its splits.
        source: Where the files are.
        predictor: What is measured; its own operating point and calibration are not used.
        run_dir: The run directory.
        part: ``validation`` leaves the test set closed: none of its files is read.
        over: What the intervals are over: ``patients``, or ``images`` where it is not known whose all of them are.
        measured_with: What the metrics are of, such as a hash of the weights; kept in the summary.
        heatmap: Shows where a network looked; None for no heat maps.
        choice: An operating point and a calibration that were chosen elsewhere; None chooses them on validation.
        beside: What else the summary says, such as what another precision cost.
        progress: Called with images done and images in all; validation may count twice.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        DataError: If a file cannot be read any more.
    """
    target, folder = recipe.predicts(), evaluation_folder(run_dir, part)
    family = KINDS[target.kind](target)
    predictor = replace(predictor, calibration=None)
    reading = Reading(recipe, source, predictor, progress, read_baselines(run_dir), catalogue)
    rows = catalogue[catalogue["split"].isin(_SPLITS[part])]
    if choice is None:
        table, choice = family.measure(recipe, reading, rows)
    else:
        table = family.measure_at(recipe, reading, rows, choice)
    summary = family.summary(table, choice, recipe.evaluate.bootstrap, over, part)
    summary |= {"measured_with": dict(measured_with or {}), **(beside or {})}
    write_json(folder / "operating_point.json", choice.plain())
    write_measured(folder, family, table, summary)
    write_appearance(run_dir, reading, catalogue)
    if recipe.package.fingerprint:
        write_fingerprint(run_dir, reading, catalogue)
    served = replace(predictor, calibration=choice.calibrated.calibration)
    reading = replace(reading, predictor=served.at(point_from_plain(choice.point, target)))
    write_gallery(folder, family.gallery(recipe, reading, catalogue, table, heatmap, part))
    return summary


def combine(
    recipe: Recipe, folds: Sequence[Path], run_dir: Path, *, learned_from: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Take the metrics over the test cases of all folds, and gather their galleries.

    Every case keeps the answer of its own fold, at that fold's operating point. ``run_dir/evaluation`` gets the same
    files as from ``evaluate``.

    Args:
        recipe: The recipe of the whole.
        folds: The run directories of the folds, each measured.
        run_dir: The run directory of the whole.
        learned_from: How many patients and samples the network of each fold learned from, where that is known.

    Returns:
        The summary, as in ``summary.json``; ``folds`` holds the metrics and the operating point of each.
    """
    target, folder = recipe.predicts(), evaluation_folder(run_dir)
    family, parts = KINDS[target.kind](target), [evaluation_folder(fold) for fold in folds]
    found = [read_json(part / "summary.json") for part in parts]
    table = pd.concat([_test_cases(part, number) for number, part in enumerate(parts)], ignore_index=True)
    choice = family.combine(found)
    summary = family.summary(table, choice, recipe.evaluate.bootstrap, found[0]["interval"]["over"])
    summary["folds"] = [
        {"fold": number, "metrics": one["test"]["metrics"], "operating_point": one["operating_point"]}
        for number, one in enumerate(found)
    ]
    for fold, counts in zip(summary["folds"], learned_from, strict=False):
        fold["learned_from"] = dict(counts)
    summary["measured_with"] = {**_EARLIER, **_how(found[0].get("measured_with", {}))}
    if losses := [one["precision"] for one in found if "precision" in one]:
        most = max(losses, key=lambda one: float(one["loss"]))
        summary["precision"] = {**most, "cases": f"{most['cases']} of the fold that lost most"}
    write_json(folder / "operating_point.json", choice.plain())
    write_measured(folder, family, table, summary)
    gather_gallery(folder, parts)
    return summary


def write_measured(folder: Path, family: Family, table: pd.DataFrame, summary: Facts) -> None:
    """Write the tables and ``summary.json``.

    Args:
        folder: Where to.
        family: Says which further tables there are.
        table: The per-case table.
        summary: Everything that was measured.
    """
    write_table(folder / "cases.csv", table)
    for name, further in family.tables(table).items():
        write_table(folder / name, further)
    write_json(folder / "summary.json", summary)


def _how(measured_with: Mapping[str, Any]) -> dict[str, Any]:
    return {key: measured_with[key] for key in _EARLIER if key in measured_with}


def _test_cases(folder: Path, fold: int) -> pd.DataFrame:
    cases = read_cases(folder / "cases.csv")
    return cases[cases["split"] == "test"].assign(fold=fold)
