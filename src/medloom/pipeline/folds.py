"""Cross-validation: a run directory for each fold, figures over all of them, and their ensemble as one bundle.

Every patient is tested once, by a network that never saw that patient. The thresholds of each fold come from its own
validation patients. What is packaged is the mean of the folds' networks; no patient is left to measure it on, so the
bundle carries the out-of-fold figures and says so.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from medloom.files import read_json, write_json, write_text
from medloom.pipeline.runs import Run
from medloom.pipeline.stages import build_run_predictor, package_network, read_table
from medloom.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["finish_folds", "fold_runs", "is_measured", "mark_measured"]

_MEASURED = "evaluation/measured.json"
"""The recipe that a fold was measured with."""


def fold_runs(run: Run) -> list[Run]:
    """Return the run of each fold, made if it is not there; empty if the recipe asks for one split.

    Args:
        run: The run of the whole.
    """
    split = run.recipe.split
    if split.folds is None or split.fold is not None:
        return []
    recipes = (_of_fold(run.recipe, number) for number in range(split.folds))
    return [Run.start(recipe, run.folder / f"fold-{number}") for number, recipe in enumerate(recipes)]


def is_measured(fold: Run) -> bool:
    """Return whether a fold was measured with the recipe that it has now, so that nothing of it is left to do."""
    path = fold.folder / _MEASURED
    return path.is_file() and bool(read_json(path) == fold.recipe.plain())


def mark_measured(fold: Run) -> None:
    """Remember that a fold was measured with its recipe."""
    write_json(fold.folder / _MEASURED, fold.recipe.plain())


def finish_folds(run: Run, folds: list[Run]) -> dict[str, Any]:
    """Take the figures over all folds, and export and package their ensemble.

    Args:
        run: The run of the whole.
        folds: Their runs, each trained and measured.

    Returns:
        The summary, as in ``evaluation/summary.json``; ``folds`` holds the figures of each.
    """
    from medloom.models.ensemble import Ensemble
    from medloom.models.kinds import label_kind_of
    from medloom.training import load_best

    folds = [Run.open(fold.folder) for fold in folds]
    whole = Run(run.folder, _of_fold(folds[0].recipe, None)).save()
    summary = _measure(whole, folds)
    _gather_facts(whole, folds)
    tables = [read_table(fold) for fold in folds]
    widths = [0 if table is None else len(table.names) for table in tables]
    network = Ensemble([load_best(fold.folder, fold.recipe) for fold in folds], label_kind_of(whole.recipe), widths)
    build_run_predictor(whole, network, tables)
    package_network(whole, network, tables)
    return summary


def _of_fold(recipe: Recipe, number: int | None) -> Recipe:
    split = recipe.split.model_copy(update={"fold": number})
    return recipe.model_copy(update={"split": split})


def _measure(whole: Run, folds: list[Run]) -> dict[str, Any]:
    """Figures over the test cases of all folds."""
    import pandas as pd

    from medloom.pipeline.fold_gallery import gather_gallery

    tables = [_test_cases(fold).assign(fold=number) for number, fold in enumerate(folds)]
    table = pd.concat(tables, ignore_index=True)
    found = [read_json(fold.folder / "evaluation" / "summary.json") for fold in folds]
    measure = _measure_labels if whole.recipe.task == "classification" else _measure_masks
    summary = measure(whole, table, found)
    summary["folds"] = [
        {"fold": number, "figures": one["test"]["figures"], "operating_point": one["operating_point"]}
        for number, one in enumerate(found)
    ]
    write_json(whole.folder / "evaluation" / "summary.json", summary)
    gather_gallery(whole, folds)
    return summary


def _measure_labels(whole: Run, table: pd.DataFrame, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Summary and tables of labels, at the mean of the folds' thresholds."""
    from medloom.evaluation import target_of
    from medloom.evaluation.classification import ThresholdChoice
    from medloom.evaluation.label_run import write_measured

    points = [one["operating_point"] for one in found]
    choice = ThresholdChoice(
        _mean_thresholds([point["thresholds"] for point in points]),
        _rule(found, "their mean"),
        tuple(_of_folds([point.get("notes", []) for point in points])),
    )
    folder = whole.folder / "evaluation"
    return write_measured(table, target_of(whole.recipe), choice, whole.recipe.evaluate, folder)


def _measure_masks(whole: Run, table: pd.DataFrame, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Summary and tables of masks, each made at its own fold's operating point."""
    from medloom.evaluation import FIGURES, patient_table, summarise
    from medloom.evaluation.figures import meanings, write_table

    folder = whole.folder / "evaluation"
    write_table(folder / "cases.csv", table)
    write_table(folder / "patients.csv", patient_table(table))
    summary = {
        **found[0],
        "operating_point": _mean_point([one["operating_point"] for one in found]),
        "rule": _rule(found, "the middle one"),
        "within_limit": all(one["within_limit"] for one in found),
        "notes": _of_folds([one.get("notes", []) for one in found]),
        "test": summarise(table, whole.recipe.evaluate.bootstrap),
        "meanings": meanings(FIGURES),
    }
    summary.pop("validation", None)
    return summary


def _test_cases(fold: Run) -> pd.DataFrame:
    import pandas as pd

    from medloom.evaluation.classification import GROUP_PREFIX

    path: Path = fold.folder / "evaluation" / "cases.csv"
    words = ["sample_id", "patient_id", *(f"{GROUP_PREFIX}{name}" for name in fold.recipe.data.labels.groups)]
    # a group may be called 1 or NA, and is called so over the folds too
    cases = pd.read_csv(path, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=[""])
    return cases[cases["split"] == "test"]


def _rule(found: list[dict[str, Any]], bundled: str) -> str:
    """The rule of every fold, and where their points differ, what the bundle has."""
    rule, points = found[0]["rule"], [{**one["operating_point"], "notes": None} for one in found]
    differ = any(point != points[0] for point in points)
    return f"{rule}; each fold has its own, the bundle {bundled}" if differ else str(rule)


def _of_folds(notes: list[list[str]]) -> list[str]:
    """The notes of all folds, each once, with the folds that it is of."""
    where: dict[str, list[str]] = {}
    for number, found in enumerate(notes, start=1):
        for note in found:
            where.setdefault(note, []).append(str(number))
    return [f"{_named(numbers, len(notes))}: {note}" for note, numbers in where.items()]


def _named(numbers: list[str], count: int) -> str:
    if len(numbers) == count:
        return "Every fold"
    return f"Fold {numbers[0]}" if len(numbers) == 1 else f"Folds {', '.join(numbers[:-1])} and {numbers[-1]}"


def _mean_thresholds(found: list[list[float]]) -> tuple[float, ...]:
    return tuple(round(sum(values) / len(values), 6) for values in zip(*found, strict=True))


def _mean_point(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The middle threshold and the middle smallest lesion."""
    middle = len(found) // 2
    return {key: sorted(one[key] for one in found)[middle] for key in ("threshold", "min_lesion_px")}


def _gather_facts(whole: Run, folds: list[Run]) -> None:
    """What the bundle and the report of the whole say about its making: the first fold's, with all patients."""
    facts = folds[0].facts("prepare.json", "prepare")
    catalogue = (folds[0].folder / "catalogue.csv").read_text("utf-8")
    write_text(whole.folder / "catalogue.csv", catalogue)
    write_json(whole.folder / "prepare.json", facts)
    shutil.copytree(folds[0].folder / "data_report", whole.folder / "data_report", dirs_exist_ok=True)
    write_json(whole.folder / "run.json", folds[0].facts("run.json", "prepare"))
    training = [fold.facts("training.json", "train") for fold in folds]
    write_json(
        whole.folder / "training.json",
        {**training[0], "seconds": sum(one["seconds"] for one in training), "folds": training},
    )
