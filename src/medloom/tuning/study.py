"""A study from a recipe to the bundle of its best trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medloom import pipeline
from medloom.data.opening import Images
from medloom.errors import RecipeError, TrainingError
from medloom.events import Events, FileMade, Listener
from medloom.extras import require
from medloom.pipeline.places import in_use
from medloom.recipe import Recipe
from medloom.recipe.settings import Settings, setting_texts
from medloom.reports import write_tuning_report
from medloom.tuning.confirm import confirm as confirm_best
from medloom.tuning.facts import FACTS, write_facts
from medloom.tuning.finish import package_best
from medloom.tuning.foreseen import foresee
from medloom.tuning.jobs import work_side_by_side
from medloom.tuning.keeping import best_trial
from medloom.tuning.plan import PREPARED, STUDIES, Study, study_folder
from medloom.tuning.retrain import check_can_retrain, retrain_best, retrained_facts
from medloom.tuning.shared import prepare_study
from medloom.tuning.storage import lay_down, opened
from medloom.tuning.worker import Limits, work

__all__ = ["Elsewhere", "StudyResult", "begun_study", "finished_study", "loaded_recipe", "tune", "work_on"]

_FAST = ("train.epochs=2",)
"""Beside the preset ``quick``."""

_MOST_NETWORKS = 24
"""So many networks of a space are built before it is searched."""


Elsewhere = Callable[[Study, Images, Limits, Events], str | None]
"""Does the trials of a study."""


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Args:
        folder: Its directory.
        facts: As in ``tuning.json``; empty if it was stopped before.
        bundle: The bundle of the best trial; None if there is none.
        retrained: That of its settings trained on training and validation patients together, where that was asked for.
        stopped: Why it was stopped before its end; the same call goes on.
    """

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    bundle: Path | None = None
    retrained: Path | None = None
    stopped: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        bundles = {"bundle": self.bundle, "retrained_bundle": self.retrained}
        made = {name: None if path is None else str(path) for name, path in bundles.items()}
        return {"study": str(self.folder), **made, **self.facts}


def tune(
    recipe: str | Path | Recipe,
    *,
    trials: int = 20,
    timeout_s: float | None = None,
    jobs: int | None = None,
    study: str | Path | None = None,
    folds: int | None = None,
    confirm: int = 0,
    retrain: bool = False,
    fast: bool = False,
    data: str | Path | None = None,
    settings: Settings = (),
    studies: Path = STUDIES,
    workers: int | None = None,
    elsewhere: Elsewhere | None = None,
    on_event: Listener | Sequence[Listener] = (),
) -> StudyResult:
    """Search the settings of a recipe and package the best model.

    The score of a trial is the metric of its best epoch on the validation patients, never of its last. The test
    patients are not looked at. Stopped at any moment, also by SIGKILL, the same call goes on.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe; its section ``tune`` says what is searched.
        trials: How many come to an end, those of earlier calls included.
        timeout_s: No trial begins after so many seconds.
        jobs: So many trials at a time, each in a process of its own, which may be killed for want of memory without
            harm to the study; None: one after another in this process.
        study: Name of the study, or a path with a slash; the recipe's name by default.
        folds: Score each setting by so many folds of the training and validation patients.
        confirm: Train the best settings once more with so many other seeds, which shows how much of its score is luck.
        retrain: Train the best settings once more on training and validation patients together, and package that, too.
        fast: Only to see that everything works: small images and two epochs.
        data: Folder or zip with the images.
        settings: Values of the recipe to override: texts such as ``train.epochs=5``, or ``{"train.epochs": 5}``.
        studies: Folder that holds the studies.
        workers: Processes that read images; one a core by default.
        elsewhere: Does the trials on another machine, given the study, its images, the limits and who is told; returns
            why it stopped before there were enough. Here by default.
        on_event: Who is told what happens.

    Returns:
        The study directory, what was found, and the bundle.

    Raises:
        UserError: If what came in was wrong, such as a space that holds values which make no recipe.
        MedloomError: If the work failed.

    Example:
        >>> from medloom.tuning import tune
        >>> tune("chest-xray", trials=20).facts["best"]["values"]  # doctest: +SKIP
        {'train.optimizer.lr': 0.0011, 'train.batch_size': 32}
    """
    events = Events([on_event] if callable(on_event) else list(on_event))
    limits = Limits(trials, None if timeout_s is None else time.time() + timeout_s)
    loaded = loaded_recipe(recipe, setting_texts(settings), fast, events)
    folder = study_folder(study or loaded.name, studies)
    if retrain:
        check_can_retrain(loaded)
    with begun_study(
        loaded, folder, images=data, folds=folds, fast=fast, workers=workers, events=events
    ) as (begun, images):  # fmt: skip
        if elsewhere is None:
            foresee(begun, images, limits, jobs, events=events)
        stopped = (elsewhere or _here(jobs))(begun, images, limits, events)
        if stopped:
            return StudyResult(folder, stopped=stopped)
        return finished_study(begun, images, seeds=confirm, retrain=retrain, events=events)


@contextmanager
def begun_study(
    recipe: Recipe,
    folder: Path,
    *,
    images: str | Images | None = None,
    folds: int | None = None,
    fast: bool = False,
    workers: int | None = None,
    events: Events,
) -> Iterator[tuple[Study, Images]]:
    """Begin a study, or take up the one that is there, as the only command that does; prepare what its trials share.

    Args:
        recipe: The recipe.
        folder: The study directory.
        images: Folder or zip with the images.
        folds: Folds by which each setting is scored.
        fast: Whether it only shows that everything works.
        workers: Processes that read images.
        events: Told what happens.

    Yields:
        The study and the place of its images.

    Raises:
        UserError: If the space, the recipe or the images are wrong, or another command is at work there.
    """
    require("optuna", "tune")
    _refuse_several(recipe)
    study = Study.begun(folder, recipe, folds=folds, fast=fast)
    _checked(study, events)
    with pipeline.writing(folder, "tune"):
        where = pipeline.resolve_images(recipe, images, events=events)
        with in_use(where):
            study.save()
            prepare_study(study, where, workers=workers, events=events)
            known = study.resolved()
            if "train.batch_size" not in known.space.parameters:  # else each trial finds out for itself, if it must
                pipeline.sized(pipeline.Run(folder / PREPARED, known.recipe), images=where, events=events)
                known = study.resolved()
            lay_down(known, opened(known))
            yield known, where


def finished_study(
    study: Study, images: Images, *, seeds: int = 0, retrain: bool = False, events: Events
) -> StudyResult:
    """Package the best trial of a study, train its settings with other seeds, and write the facts and the report.

    Args:
        study: The study.
        images: Folder or zip with the images.
        seeds: With how many other seeds.
        retrain: Whether its settings are trained on training and validation patients together, too.
        events: Told of everything.

    Raises:
        TrainingError: If no trial came to its end.
    """
    storage = opened(study)
    best = best_trial(study, storage)
    run = None if best is None else package_best(study, best.number, images, events=events)
    stopped = None if best is None else confirm_best(study, best.number, images, seeds, events=events)
    again = retrain_best(study, images, events=events) if retrain and best is not None else None
    facts = write_facts(study, storage, None if again is None else retrained_facts(again))
    page = write_tuning_report(study.folder)
    for path in (study.folder / FACTS, page):
        events.emit(FileMade(path))
    if run is None:
        raise TrainingError(
            f"{study.folder}: no trial came to its end, see {page}; look at the space, or take more trials"
        )
    return StudyResult(study.folder, facts, run.bundle, None if again is None else again.bundle, stopped)


def _here(jobs: int | None) -> Elsewhere:
    return lambda study, images, limits, events: work_on(study, images, limits, jobs, events)


def work_on(study: Study, images: Images, limits: Limits, jobs: int | None, events: Events) -> str | None:
    """Do trials of a study until there are enough, in this process or in several.

    Args:
        study: A prepared study.
        images: Folder or zip with the images.
        limits: How many trials, and until when.
        jobs: So many trials at a time, each in a process of its own; None: in this one.
        events: Told of everything; who listens may ask for an end.

    Returns:
        Why it stopped before there were enough; else None.
    """
    if jobs is None:
        return work(study, images, limits, events=events)
    return work_side_by_side(study, images, limits, jobs, events=events)


def loaded_recipe(recipe: str | Path | Recipe, settings: Sequence[str], fast: bool, events: Events) -> Recipe:
    """Return the recipe of a study with settings, which win over those of a fast one."""
    if not fast:
        return pipeline.loaded_recipe(recipe, settings, events=events)
    return pipeline.loaded_recipe(recipe, [*_FAST, *settings], "quick", events=events)


def _checked(study: Study, events: Events) -> None:
    """Try the space before the first image is read, and build each of its networks once."""
    if not study.is_known:
        return
    built: dict[str, Recipe] = {}
    for recipe in study.space.check():
        built.setdefault(recipe.model.model_dump_json(), recipe)
    for recipe in list(built.values())[:_MOST_NETWORKS]:
        pipeline.check_recipe(pipeline.Run(study.folder / PREPARED, recipe), trains=True, events=events)


def _refuse_several(recipe: Recipe) -> None:
    if recipe.train.seeds > 1:
        raise RecipeError(
            "train.seeds: a study trains each setting once; --confirm measures what the seed does to the best one"
        )
    if recipe.split.folds is not None and recipe.split.fold is None:
        raise RecipeError(
            "split.folds: a study has one split, whose test patients it leaves alone; leave folds out. "
            "--folds 5 scores each setting by folds of the others, --outer 5 measures the winners by folds of all"
        )
