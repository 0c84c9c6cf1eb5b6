"""From a folder to a predictor, without a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medloom.data.survey import find_device, survey, written
from medloom.errors import TrainingError
from medloom.events import Events, Listener, Noted, Warned
from medloom.files import write_text
from medloom.inference import Predictor
from medloom.models.here import weights_here
from medloom.packaging import load
from medloom.pipeline.names import FOUND, RUNS
from medloom.pipeline.whole import run as run_recipe
from medloom.recipe import parse_recipe, parse_settings
from medloom.recipe.settings import Settings, setting_texts

__all__ = ["fit"]


def fit(
    path: str | Path,
    *,
    run: str | Path | None = None,
    settings: Settings = (),
    preset: str = "good",
    budget_s: float | None = None,
    on_event: Listener | Sequence[Listener] = (),
    runs: Path = RUNS,
    workers: int | None = None,
) -> Predictor:
    """Look at a folder or zip of images, work out a recipe, run it, and return what it made as a predictor.

    The run is kept like any other: its recipe with the evidence for each line, its reports and the bundle. Called
    again, it goes on, or has nothing to do.

    Args:
        path: Folder or zip with images and what is known of them: masks beside them, folders of classes, a table.
        run: Name of the run, or a path with a slash; by default the folder's name.
        settings: Values of the recipe to set: texts such as ``train.epochs=5``, or ``{"train.epochs": 5}``; they also
            decide between readings of the files.
        preset: How much work goes into it: ``quick``, ``good`` or ``best``.
        budget_s: Seconds for all of it.
        on_event: Who is told what happens.
        runs: Folder that holds the runs.
        workers: Processes that read images; one a core by default.

    Returns:
        The predictor of the bundle.

    Raises:
        Undecided: If the files can be read in several ways that are about equally likely; ``options`` has the settings
            of each.
        UserError: If what came in was wrong.
        TrainingError: If a listener ended the training.
        MedloomError: If the work failed.

    Example:
        >>> import medloom
        >>> predictor = medloom.fit("images", preset="quick")  # doctest: +SKIP
        >>> predictor.predict("images/p1_3.png").probability  # doctest: +SKIP
        0.93
    """
    texts = setting_texts(settings)
    listeners = [on_event] if callable(on_event) else list(on_event)
    events = Events(listeners)
    found = survey(path, parse_settings(texts), find_device(), weights_here())
    events.emit(Noted(f"{found.reading}: {found.samples:,} images"))
    for text in found.warnings:
        events.emit(Warned(text))
    text = written(found)
    result = run_recipe(
        parse_recipe(text), data=path, run=run, on_event=listeners, runs=runs, workers=workers,
        preset=preset, budget_s=budget_s, settings=texts,
    )  # fmt: skip
    write_text(result.folder / FOUND, text)
    if result.bundle is None:
        raise TrainingError(f"the training was ended before it was done: {result.stopped}; call again to go on")
    return load(result.bundle)
