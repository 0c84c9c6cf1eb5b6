"""Nested cross-validation: an honest figure of a recipe that was tuned on the patients who also measure it.

The patients are divided into outer folds. For each of them a study of its own searches the settings on the other
patients alone; its winner is then measured on the fold. So no patient measures a network whose settings that patient
helped to choose, and all patients together say what tuning in this way gives.

Source: Varma and Simon, Bias in error estimation when using cross-validation for model selection, BMC Bioinformatics 7
(2006); Cawley and Talbot, On over-fitting in model selection, Journal of Machine Learning Research 11 (2010)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medloom import data, evaluation, pipeline
from medloom.data.opening import Images
from medloom.errors import RecipeError, UserError
from medloom.evaluation.comparison import drawn_metrics
from medloom.evaluation.parts import evaluation_folder, read_summary
from medloom.evaluation.tables import read_cases
from medloom.events import Events, FileMade, Listener, Noted
from medloom.files import read_json, write_json
from medloom.pipeline.folds import is_measured, mark_measured
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.result import PageResult
from medloom.recipe import Recipe, with_values
from medloom.recipe.sections.data import SplitConfig
from medloom.registry import METRICS
from medloom.reports import write_nested_report
from medloom.tuning.finish import BEST
from medloom.tuning.plan import STUDIES, study_folder
from medloom.tuning.study import begun_study, finished_study, loaded_recipe, work_on
from medloom.tuning.worker import Limits

__all__ = ["NESTED", "NestedResult", "outer_recipes", "tune_nested"]

NESTED = "nested.json"
"""What the outer folds gave."""

_ASKED = "outer.json"
_SCORE = "outer_score.json"


class NestedResult(PageResult):
    """What a nested cross-validation found; in its directory lies a study for each outer fold, and ``nested.json``."""

    folder_key = "study"


def outer_recipes(recipe: Recipe, outer: int) -> list[Recipe]:
    """Return the recipe of each outer fold: the fold tests, the others are divided into training and validation.

    Args:
        recipe: What is tuned, with one split.
        outer: How many folds.

    Raises:
        RecipeError: If the recipe has folds or a given split.
    """
    if recipe.split.folds is not None or recipe.split.file is not None:
        key = "split.folds" if recipe.split.folds is not None else "split.file"
        raise RecipeError(f"{key}: --outer divides all patients into folds of its own; leave it out")
    plain = SplitConfig()  # shares of training and test mean nothing beside folds
    shares = {"split.train": plain.train, "split.test": plain.test}
    return [with_values(recipe, {**shares, "split.folds": outer, "split.fold": fold}) for fold in range(outer)]


def tune_nested(
    recipe: str | Path | Recipe,
    *,
    outer: int,
    trials: int = 20,
    timeout_s: float | None = None,
    jobs: int | None = None,
    study: str | Path | None = None,
    folds: int | None = None,
    fast: bool = False,
    data: str | Path | None = None,
    settings: Sequence[str] = (),
    studies: Path = STUDIES,
    workers: int | None = None,
    on_event: Listener | Sequence[Listener] = (),
) -> NestedResult:
    """Tune a recipe on the patients outside of each of several folds, and measure each winner on its fold.

    Nothing is packaged: what is measured is the whole way of choosing. ``tune`` on the same recipe makes the model.
    Stopped at any moment, also by SIGKILL, the same call goes on.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe; its section ``tune`` says what is searched.
        outer: Into how many folds all patients are divided.
        trials: How many trials each study has.
        timeout_s: No trial begins after so many seconds.
        jobs: So many trials at a time; None: one after another in this process.
        study: Name, or a path with a slash; the recipe's name by default.
        folds: Score each setting by so many folds of the patients outside of the outer one.
        fast: Only to see that everything works: small images and two epochs.
        data: Folder or zip with the images.
        settings: Values of the recipe to override.
        studies: Folder that holds the studies.
        workers: Processes that read images; one a core by default.
        on_event: Who is told what happens.

    Returns:
        What was found.

    Raises:
        UserError: If what came in was wrong.
        MedloomError: If the work failed.
    """
    events = Events([on_event] if callable(on_event) else list(on_event))
    limits = Limits(trials, None if timeout_s is None else time.time() + timeout_s)
    loaded = loaded_recipe(recipe, settings, fast, events)
    folder, recipes = study_folder(study or loaded.name, studies), outer_recipes(loaded, outer)
    _refuse_other(folder, outer)
    for number, one in enumerate(recipes):
        events.emit(Noted(f"outer fold {number + 1} of {outer}"))
        place = folder / f"outer-{number}"
        with begun_study(one, place, images=data, folds=folds, fast=fast, workers=workers, events=events) as begun:
            write_json(folder / _ASKED, {"outer": outer})
            stopped = work_on(*begun, limits, jobs, events) or finished_study(*begun, events=events).stopped
            if stopped:
                return NestedResult(folder, stopped=stopped)
            _measure(place / BEST, begun[1], events)
    facts = _facts(folder, recipes[0], folds)
    write_json(folder / NESTED, facts)
    page = write_nested_report(folder)
    for path in (folder / NESTED, page):
        events.emit(FileMade(path))
    return NestedResult(folder, facts, page)


def _measure(best: Path, images: Images, events: Events) -> None:
    """Measure the winner of an outer fold on the patients of the fold, whom its study never saw."""
    run = pipeline.Run.open(best)
    if is_measured(run):
        return
    pipeline.evaluate(run, images=images, events=events)
    from medloom import training  # brings torch

    catalogue = data.read_catalogue(best / "catalogue.csv")
    store = pipeline.find_store(run, images, events=events)
    scores = training.score_part(run.recipe, catalogue, store, best, tables=read_encoding(run))
    monitor = run.recipe.train.monitor
    write_json(best / _SCORE, {"score": scores[METRICS[monitor].column or monitor]})
    mark_measured(run)


def _facts(folder: Path, recipe: Recipe, folds: int | None) -> dict[str, Any]:
    places = [folder / f"outer-{number}" for number in range(read_json(folder / _ASKED)["outer"])]
    bests, studies = [place / BEST for place in places], [read_json(place / "tuning.json") for place in places]
    known = pipeline.Run.open(bests[0]).recipe
    learned = [pipeline.Run.open(best).facts("prepare.json", "prepare")["counts"]["train"] for best in bests]
    counts = [{key: one[key] for key in ("patients", "samples")} for one in learned]
    summary = evaluation.combine(known, bests, folder, learned_from=counts)
    members = [_member(best, study) for best, study in zip(bests, studies, strict=True)]
    inner, outer = ([one[key] for one in members] for key in ("inner", "outer"))
    return {
        "name": folder.absolute().name,
        "recipe": recipe.name,
        "phantom": studies[0]["phantom"],
        "monitor": recipe.train.monitor,
        "meaning": METRICS[recipe.train.monitor].summary,
        "larger_is_better": METRICS[recipe.train.monitor].larger_is_better,
        "folds": folds,
        "fast": studies[0]["fast"],
        "trials": sum(len(study["trials"]) for study in studies),
        "seconds": round(sum(study["seconds"] for study in studies), 3),
        "members": members,
        "inner": evaluation.spread(inner),
        "outer": evaluation.spread(outer),
        "pooled": {name: summary["test"]["metrics"][name] for name in _shown(summary)},
        "chosen_on": _on_validation(known, bests, summary),
        "counts": summary["test"]["counts"],
        "interval": summary["interval"],
        "headlines": _shown(summary),
        "meanings": {name: summary["meanings"][name] for name in _shown(summary)},
    }


def _shown(summary: Mapping[str, Any]) -> list[str]:
    return [name for name in summary["headlines"] if name in summary["test"]["metrics"]]


def _member(best: Path, study: Mapping[str, Any]) -> dict[str, Any]:
    """What one outer fold gave: its winner, how good that looked inside, and how good it is outside."""
    summary = read_summary(best)
    return {
        "fold": pipeline.Run.open(best).recipe.split.fold,
        "settings": study["best"]["shown"],
        "inner": study["best"]["score"],
        "outer": read_json(best / _SCORE)["score"],
        "metrics": {name: summary["test"]["metrics"][name] for name in _shown(summary)},
        "counts": summary["test"]["counts"],
    }


def _on_validation(recipe: Recipe, bests: Sequence[Path], summary: Mapping[str, Any]) -> dict[str, Any]:
    """The same headlines on the patients by whom epoch and operating point, and in part the settings, were chosen."""
    family = evaluation.KINDS[recipe.target.kind](recipe.predicts())
    tables = [read_cases(evaluation_folder(best) / "cases.csv") for best in bests]
    cases = pd.concat([table[table["split"] == "validation"] for table in tables], ignore_index=True)
    drawn = drawn_metrics(family, cases, recipe.evaluate.bootstrap)
    return {name: drawn.estimate(name, len(cases)).plain() for name in _shown(summary) if name in drawn.point}


def _refuse_other(folder: Path, outer: int) -> None:
    """Refuse a folder that holds something else than this nested cross-validation."""
    if (folder / _ASKED).is_file():
        before = read_json(folder / _ASKED)["outer"]
        if before != outer:
            raise UserError(f"{folder}: it began with --outer {before}; take another name: --study NAME")
    elif folder.exists() and any(not path.name.startswith((".medloom-", "outer-")) for path in folder.iterdir()):
        raise UserError(f"--study {folder}: it is there, and it is no nested cross-validation; choose another")
