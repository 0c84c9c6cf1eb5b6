"""Cross-validation: a run directory for each fold, metrics over all of them, and their ensemble as one bundle.

Every patient is tested once, by a network that never saw that patient. The thresholds of each fold come from its own
validation patients. What is packaged is the mean of the folds' networks, or one network in its place (``served``). It
is measured on what was held out of all folds (``split.hold_out``, or the published test part); where nothing was, no
patient is left to measure it on, so the bundle carries the out-of-fold metrics and says so.
"""

from __future__ import annotations

import shutil
from typing import Any

from medloom import evaluation
from medloom.data.opening import Images
from medloom.evaluation.appearance import APPEARANCE
from medloom.evaluation.fingerprint import FINGERPRINT
from medloom.evaluation.parts import Part, evaluation_folder
from medloom.events import Events, Noted
from medloom.files import read_json, write_json, write_text
from medloom.locks import sole
from medloom.pipeline.distilled import distil
from medloom.pipeline.identity import check_trained
from medloom.pipeline.measuring import openings_of
from medloom.pipeline.names import DISTILLED
from medloom.pipeline.places import find_images, remember_images
from medloom.pipeline.runs import Run
from medloom.pipeline.served import serve
from medloom.pipeline.stages.evaluate import evaluate
from medloom.pipeline.stages.package import package_network
from medloom.pipeline.stages.train import train
from medloom.recipe import Recipe
from medloom.reports.openings import TEST_OPENINGS
from medloom.training import TrainResult

__all__ = ["finish_folds", "fold_runs", "is_measured", "mark_measured", "measure_fold", "teach_one"]

_MEASURED = "measured.json"
"""The recipe that a fold was measured with, beside what was measured."""


def fold_runs(run: Run) -> list[Run]:
    """Return the run of each fold, without making it; empty if the recipe asks for one split.

    Args:
        run: The run of the whole.
    """
    split = run.recipe.split
    if split.folds is None or split.fold is not None:
        return []
    recipes = (_of_fold(run.recipe, number) for number in range(split.folds))
    return [Run.planned(recipe, run.folder / f"fold-{number}") for number, recipe in enumerate(recipes)]


def is_measured(fold: Run, part: Part = "test") -> bool:
    """Return whether a fold was measured with the recipe that it has now, so that nothing of it is left to do.

    Args:
        fold: The run of the fold, or of another member of a run.
        part: On whom.
    """
    path = evaluation_folder(fold.folder, part) / _MEASURED
    return path.is_file() and bool(read_json(path) == fold.plain_result())


def mark_measured(fold: Run, part: Part = "test") -> None:
    """Remember that a fold was measured with its recipe."""
    write_json(evaluation_folder(fold.folder, part) / _MEASURED, fold.plain_result())


def measure_fold(fold: Run, *, part: Part = "test", events: Events | None = None) -> TrainResult:
    """Train and measure a prepared fold; alone, should a process of an earlier command still be at work on it.

    Args:
        fold: The run of the fold, or of another member of a run, such as a seed.
        part: On whom it is measured; ``validation`` leaves the test patients alone.
        events: Told what happens; who listens may ask the training for an end.

    Returns:
        What the training gave. If it was asked to stop, nothing is measured.
    """
    events = events or Events()
    waiting = Noted("waiting: another process is at work on this training")
    with sole(fold.folder, lambda: events.emit(waiting)):
        trained = train(fold, baselines=part, events=events)
        if trained.finished:
            evaluate(fold, part=part, events=events)
            mark_measured(fold, part)
    return trained


def teach_one(
    run: Run, folds: list[Run], *, images: str | Images | None = None, events: Events | None = None
) -> TrainResult | None:
    """Train the one network that is to stand for the folds' ensemble; None where the recipe does not ask for one.

    Args:
        run: The run of the whole.
        folds: Their runs, each trained and measured.
        images: Folder or zip with the images; by default where they are known to be.
        events: Told what happens; who listens may ask the training for an end.
    """
    if run.recipe.package.serve != DISTILLED:
        return None
    folds = [Run.open(fold.folder) for fold in folds]
    return distil(Run(run.folder, _of_whole(run, folds[0])), folds, images=images, events=events)


def finish_folds(
    run: Run, folds: list[Run], *, images: str | Images | None = None, events: Events | None = None
) -> dict[str, Any]:
    """Take the metrics over all folds, and export and package their ensemble, or one network in its place.

    Args:
        run: The run of the whole.
        folds: Their runs, each trained and measured.
        images: Folder or zip with the images; by default where they are known to be.
        events: Told what happens.

    Returns:
        The summary, as in ``evaluation/summary.json``; ``folds`` holds the metrics of each.
    """
    events = events or Events()
    check_trained(run)
    events.emit(Noted(f"metrics over all {len(folds)} folds, and one bundle of their networks"))
    folds = [Run.open(fold.folder) for fold in folds]
    whole = Run(run.folder, _of_whole(run, folds[0])).save()
    counts = [fold.facts("prepare.json", "prepare")["counts"]["train"] for fold in folds]
    learned = [{key: one[key] for key in ("patients", "samples")} for one in counts]
    summary = evaluation.combine(whole.recipe, [fold.folder for fold in folds], whole.folder, learned_from=learned)
    _gather_facts(whole, folds)
    remember_images(whole, find_images(folds[0], images, events=events))
    served = serve(whole, folds, events=events)
    summary |= served.summary
    path = evaluation_folder(whole.folder) / "summary.json"
    write_json(path, {**read_json(path), **served.summary})
    package_network(served.run, served.network, served.tables, summary, trained=served.trained, events=events)
    return summary


def _of_fold(recipe: Recipe, number: int) -> Recipe:
    """The recipe of a fold, which packages nothing but itself."""
    split = recipe.split.model_copy(update={"fold": number})
    package = recipe.package.model_copy(update={"serve": "ensemble"})
    return recipe.model_copy(update={"split": split, "package": package, "distil": type(recipe.distil)()})


def _of_whole(run: Run, fold: Run) -> Recipe:
    """The recipe of the whole, with what the folds have found out of their target and how they were trained."""
    split = fold.recipe.split.model_copy(update={"fold": None})
    distil = type(fold.recipe.distil).model_validate(run.recipe.distil.model_dump(exclude_defaults=True))
    return fold.recipe.model_copy(update={"split": split, "package": run.recipe.package, "distil": distil})


def _gather_facts(whole: Run, folds: list[Run]) -> None:
    """What the bundle and the report of the whole say about its making: the first fold's, with all patients."""
    catalogue = (folds[0].folder / "catalogue.csv").read_text("utf-8")
    write_text(whole.folder / "catalogue.csv", catalogue)
    write_json(whole.folder / "prepare.json", folds[0].facts("prepare.json", "prepare"))
    shutil.copytree(folds[0].folder / "data_report", whole.folder / "data_report", dirs_exist_ok=True)
    for name in (APPEARANCE, FINGERPRINT):
        if (folds[0].folder / name).is_file():
            shutil.copyfile(folds[0].folder / name, whole.folder / name)
    write_json(whole.folder / TEST_OPENINGS, {"folds": [openings_of(fold) for fold in folds]})
    trained = [fold.facts("training.json", "train") for fold in folds]
    seconds, student = sum(one["seconds"] for one in trained), _student_facts(whole)
    facts = {**trained[0], "seconds": seconds + student.get("seconds", 0.0), "folds": trained}
    write_json(whole.folder / "training.json", {**facts, "distilled": student} if student else facts)


def _student_facts(whole: Run) -> dict[str, Any]:
    """How the one network was trained that is packaged; nothing where the folds' networks are."""
    if whole.recipe.package.serve != DISTILLED:
        return {}
    return Run(whole.folder / DISTILLED, whole.recipe).facts("training.json", "run")
