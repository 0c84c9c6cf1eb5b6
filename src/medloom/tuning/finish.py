"""What becomes of the best trial: a run with its operating point, its metrics on validation, its pages, its bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from medloom import pipeline
from medloom.data.opening import Images
from medloom.errors import TrainingError
from medloom.events import Events
from medloom.files import TemporaryFolder, read_json, write_json
from medloom.pipeline.places import remember_images
from medloom.recipe import Recipe
from medloom.tuning.plan import Study
from medloom.tuning.shared import data_folder, trial_run
from medloom.tuning.storage import HELD

__all__ = ["BEST", "package_best", "settings_of"]

BEST = "best"
"""The run of the best trial."""

_OF = "of_trial.json"


def package_best(study: Study, number: int, images: Images, *, events: Events) -> pipeline.Run:
    """Make the run of the best trial whole: measured on validation, packaged and reported. The test set stays closed.

    Where settings were scored by folds, it is trained once more by the recipe's own split.

    Args:
        study: The study.
        number: Of the trial.
        images: Folder or zip with the images.
        events: Told what happens.

    Raises:
        TrainingError: If its training was asked to stop.
    """
    folder = study.folder / BEST
    if _is_of(folder, number) and pipeline.Run.open(folder).bundle.is_file():
        return pipeline.Run.open(folder)
    run = _begun(study, folder, number, images, events)
    trained = pipeline.train(run, images=images, baselines="validation", events=events)
    if not trained.finished:
        raise TrainingError("the training of the best settings was asked to stop; the same command goes on")
    pipeline.evaluate(run, part="validation", images=images, events=events)
    pipeline.package(run, events=events)
    pipeline.report(run, events=events)
    return run


def settings_of(study: Study, number: int) -> Recipe:
    """Return the recipe of a trial."""
    folder = study.trial(number)
    return pipeline.Run.open(folder if study.folds is None else folder / "fold-0").recipe


def _is_of(folder: Path, number: int) -> bool:
    return (folder / _OF).is_file() and bool(read_json(folder / _OF) == {"trial": number})


def _begun(study: Study, folder: Path, number: int, images: Images, events: Events) -> pipeline.Run:
    """The run of the best trial: its own files; where it has none with weights, new ones."""
    if _is_of(folder, number):
        return pipeline.Run.open(folder)
    recipe = settings_of(study, number)
    beside = TemporaryFolder(".medloom-best-", study.folder)
    try:
        if study.folds is None:
            shutil.copytree(study.trial(number), beside.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(HELD))
        else:
            trial_run(study, recipe, beside.path, None, images, events)
        shutil.copytree(data_folder(study, recipe) / "data_report", beside.path / "data_report", dirs_exist_ok=True)
        write_json(beside.path / _OF, {"trial": number})
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(beside.path, folder)
    finally:
        beside.remove()
    run = pipeline.Run.open(folder)
    remember_images(run, images)
    return run
