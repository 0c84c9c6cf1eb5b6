"""The first stage: check, split and store the images."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from medloom import data
from medloom.data import PixelStore, Prepared
from medloom.data.describe import Preview
from medloom.errors import RecipeError
from medloom.events import Events, FileMade, StageBegun, StageEnded, Warned
from medloom.pipeline.metadata import write_encoding
from medloom.pipeline.notices import SetAside
from medloom.pipeline.places import remember_images, stores_dir
from medloom.pipeline.runs import Run, refuse_every_fold
from medloom.recipe import Recipe, resolve_target
from medloom.reports import write_data_report
from medloom.targets import Target
from medloom.transforms import Preprocess

__all__ = ["prepare"]


def prepare(run: Run, images: Path, *, workers: int | None = None, events: Events | None = None) -> Prepared:
    """Check, split and store the images; write ``catalogue.csv``, ``prepare.json`` and the data report.

    Args:
        run: The run. What is found out about its target is written into its recipe: open it again.
        images: Folder or zip with the images.
        workers: Processes that decode; one for each core by default.
        events: Told of progress, warnings and what was set aside.

    Returns:
        The catalogue, the store and the facts.

    Raises:
        DataError: Naming every file that does not fit, if the recipe's policy is ``fail``.
        RecipeError: If the recipe asks for every fold, or does not fit the labels that are found.
    """
    events = events or Events()
    refuse_every_fold(run.recipe)
    events.emit(StageBegun("prepare", run.folder))
    with data.open_source(images) as source:
        prepared = data.prepare(
            run.recipe,
            source,
            run.folder,
            stores_dir(),
            workers=workers or os.cpu_count() or 1,
            preprocess=Preprocess.of(run.recipe.preprocess),
            preview=_preview(run.recipe),
            progress=events.progress("prepare"),
        )
    remember_images(run, images)
    known = _with_target(run, prepared.target).save()
    write_encoding(known, prepared.catalogue)
    _tell(prepared, write_data_report(run.folder), events)
    events.emit(StageEnded("prepare", run.folder))
    return prepared


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


def _tell(prepared: Prepared, page: Path, events: Events) -> None:
    for text in prepared.set_aside:
        events.emit(SetAside(text))
    for text in prepared.facts["warnings"]:
        events.emit(Warned(text))
    events.emit(FileMade(page))
