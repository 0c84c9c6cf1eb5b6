"""The first stage: check, split and store the images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from medloom import data
from medloom.data import PixelStore, Prepared
from medloom.data.describe import Preview
from medloom.data.layouts import natural_key
from medloom.data.opening import Images
from medloom.data.splits import UNKNOWN, Before
from medloom.errors import RecipeError, UserError
from medloom.events import Events, FileMade, StageBegun, StageEnded, Warned
from medloom.files import TemporaryFolder, sync_folder
from medloom.pipeline.identity import check_data, check_folds, is_trained
from medloom.pipeline.metadata import write_encoding
from medloom.pipeline.notices import SetAside
from medloom.pipeline.places import remember_images, stores_dir
from medloom.pipeline.problems import PROBLEMS, list_problems
from medloom.pipeline.runs import Run, refuse_every_fold
from medloom.recipe import Recipe, resolve_target
from medloom.reports import write_data_report
from medloom.targets import Target
from medloom.transforms import Preprocess
from medloom.wording import few

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["prepare"]

_BESIDE = ".medloom-prepared-"


def prepare(run: Run, images: Images, *, workers: int | None = None, events: Events | None = None) -> Prepared:
    """Check, split and store the images; write ``catalogue.csv``, ``prepare.json`` and the data report.

    Everything is written beside and takes its place at the end, so if it fails the run is as it was.

    Args:
        run: The run. What is found out about its target is written into its recipe: open it again.
        images: Folder or zip with the images.
        workers: Processes that decode; one for each core by default.
        events: Told of progress, warnings and what was set aside.

    Returns:
        The catalogue, the store and the facts.

    Raises:
        DataError: Naming every file that does not fit, if the recipe's policy is ``fail``; or if the run, or another
            fold of it, was trained on other data.
        RecipeError: If the recipe asks for every fold, or does not fit the labels that are found.
    """
    events = events or Events()
    refuse_every_fold(run.recipe)
    events.emit(StageBegun("prepare", run.folder))
    run.folder.mkdir(parents=True, exist_ok=True)
    beside = TemporaryFolder(_BESIDE, run.folder)
    try:
        prepared = _prepared(run, beside.path, images, workers, events)
        if is_trained(run.folder):
            check_data(run.folder, prepared.catalogue)
        check_folds([folder for folder in _folds_of(run) if is_trained(folder)], prepared.catalogue)
        _take_place(beside.path, run.folder)
    finally:
        beside.remove()
    remember_images(run, images)
    _tell(prepared, run.folder, events)
    events.emit(StageEnded("prepare", run.folder))
    return prepared


def _prepared(run: Run, folder: Path, images: Images, workers: int | None, events: Events) -> Prepared:
    """Prepare a run into another folder than its own."""
    with data.open_source(images) as source:
        prepared = data.prepare(
            run.recipe,
            source,
            folder,
            stores_dir(),
            workers=workers or os.cpu_count() or 1,
            preprocess=Preprocess.of(run.recipe.preprocess),
            before=_before(run),
            preview=_preview(run.recipe),
            progress=events.progress("prepare"),
        )
    known = _with_target(replace(run, folder=folder), prepared.target).save()
    write_encoding(known, prepared.catalogue)
    write_data_report(folder)
    return prepared


def _before(run: Run) -> Before:
    """Whose patients stay where they are: those of the run, or of the first of its folds; and of this fold."""
    if not run.recipe.split.keep:
        return UNKNOWN
    own = _prepared_before(run, run.folder)
    folds = (_prepared_before(run, folder) for folder in _folds_of(run))
    first = next((one for one in folds if one is not None), own)
    return Before(first, own if run.recipe.split.fold is not None else None)


def _prepared_before(run: Run, folder: Path) -> pd.DataFrame | None:
    """The catalogue in a folder, if it was prepared by the rule that the run has now."""
    with contextlib.suppress(UserError):  # it was not prepared, or its files are damaged
        catalogue = data.read_catalogue(folder / "catalogue.csv")
        rule = Run(folder, run.recipe).facts("prepare.json", "prepare").get("split")
        return catalogue if rule == data.rule_facts(run.recipe) else None
    return None


def _folds_of(run: Run) -> list[Path]:
    """All folds of the run that this is a fold of; none for any other run."""
    if run.recipe.split.fold is None or not run.folder.name.startswith("fold-"):
        return []
    return sorted(run.folder.parent.glob("fold-*"), key=lambda folder: natural_key(folder.name))


def _take_place(beside: Path, folder: Path) -> None:
    """Put what was prepared in the place of what was there; what is only for some recipes goes if it is not in it."""
    names = [path.relative_to(beside) for path in sorted(beside.rglob("*")) if path.is_file()]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (beside / name).replace(folder / name)
    old = [folder / "table.json", *(folder / "data_report").glob("*")]
    for path in old:
        if path.relative_to(folder) not in names:
            path.unlink(missing_ok=True)
    sync_folder(folder)


def _with_target(run: Run, target: Target) -> Run:
    """Put what was found out about the target into the run's recipe, which may not fit it."""
    try:
        return replace(run, recipe=resolve_target(run.recipe, target))
    except RecipeError as error:
        raise RecipeError(f"the labels are {target.kind}, and the recipe does not fit them: {error}") from error


def _preview(recipe: Recipe) -> Callable[[PixelStore], Preview] | None:
    """Augmented views for the data report, where torch is installed to make them."""
    if find_spec("torch") is None:
        return None
    from medloom import training  # brings torch

    return lambda store: training.augmented_views(recipe, store)


def _tell(prepared: Prepared, folder: Path, events: Events) -> None:
    shown = few(prepared.set_aside)
    for text in shown:
        events.emit(SetAside(text))
    (folder / PROBLEMS).unlink(missing_ok=True)
    if len(shown) < len(prepared.set_aside):
        more = len(prepared.set_aside) - len(shown)
        events.emit(SetAside(f"and {more:,} more, see {list_problems(folder, prepared.set_aside)}"))
    for text in prepared.facts["warnings"]:
        events.emit(Warned(text))
    events.emit(FileMade(folder / "data_report.html"))
