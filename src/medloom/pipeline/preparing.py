"""From a recipe and images to what can be looked at, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medloom.data import Prepared
from medloom.events import Events, Listener
from medloom.pipeline.names import RUNS
from medloom.pipeline.preflight import check_recipe
from medloom.pipeline.stages.prepare import prepare as prepare_run
from medloom.pipeline.starting import started_run
from medloom.recipe import Recipe
from medloom.recipe.settings import Settings, setting_texts

__all__ = ["prepare"]


def prepare(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    run: str | Path | None = None,
    settings: Settings = (),
    on_event: Listener | Sequence[Listener] = (),
    runs: Path = RUNS,
    workers: int | None = None,
) -> Prepared:
    """Check the images, split them by patient, store the pixels and write the data report, as ``medloom prepare`` does.

    ``medloom.run`` with the same recipe, images and run goes on from there.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe.
        data: Folder or zip with the images; what the recipe says by default, and phantoms where it says nothing.
        run: Name of the run, or a path with a slash; the recipe's name by default.
        settings: Values of the recipe to override, such as ``{"preprocess.size": [64, 64]}``.
        on_event: Who is told what happens.
        runs: Folder that holds the runs.
        workers: Processes that read images; one a core by default.

    Returns:
        The ``catalogue``, a data frame with a row for each sample, the ``store`` with their pixels and masks, and the
        ``facts`` that the data report shows.

    Raises:
        UserError: If what came in was wrong.
        DataError: Naming every file that does not fit.

    Example:
        >>> import medloom
        >>> prepared = medloom.prepare("brain-mri", data="images")  # doctest: +SKIP
        >>> prepared.catalogue.groupby("split")["patient_id"].nunique()  # doctest: +SKIP
        >>> prepared.store.images.shape  # doctest: +SKIP
        (884, 3, 256, 256)
    """
    events = Events([on_event] if callable(on_event) else list(on_event))
    with started_run(
        recipe, run, runs=runs, settings=setting_texts(settings), images=data, command="prepare", events=events
    ) as (started, images):  # fmt: skip
        check_recipe(started, trains=False, events=events)
        return prepare_run(started, images, workers=workers, events=events)
