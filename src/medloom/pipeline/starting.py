"""From a recipe to a run directory and its images; nothing of it needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from medloom.errors import UserError
from medloom.events import Events
from medloom.pipeline.names import RUNS, run_folder
from medloom.pipeline.places import resolve_images
from medloom.pipeline.runs import Run
from medloom.recipe import Recipe, load_recipe, parse_recipe

__all__ = ["start_run"]


def start_run(
    recipe: str | Path | Recipe,
    name: str | Path | None = None,
    *,
    runs: Path = RUNS,
    settings: Sequence[str] = (),
    images: str | Path | None = None,
    events: Events | None = None,
) -> tuple[Run, Path]:
    """Make the run of a recipe, or take up the one that is there, and find its images.

    Nothing is made in ``runs`` if the recipe, the name or the images are wrong.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe.
        name: Name of the run, or a path with a slash; the recipe's name by default.
        runs: Folder that holds the runs.
        settings: Values of the recipe to override.
        images: Folder or zip with the images.
        events: Told of progress if phantoms are made.

    Returns:
        The run and the place of its images.

    Raises:
        UserError: If the recipe, the name or the images are wrong.
    """
    loaded = _loaded(recipe, settings)
    folder = run_folder(name or loaded.name, runs)
    _refuse_other_folder(folder)
    where = resolve_images(loaded, images, events=events)
    return Run.start(loaded, folder), where


def _loaded(recipe: str | Path | Recipe, settings: Sequence[str]) -> Recipe:
    if isinstance(recipe, Recipe):
        return parse_recipe(yaml.safe_dump(recipe.plain()), settings) if settings else recipe
    return load_recipe(recipe, settings)


def _refuse_other_folder(folder: Path) -> None:
    """A folder that holds something else, such as the images, is not filled with a run."""
    if folder.exists() and not (folder / "recipe.yaml").is_file() and (folder.is_file() or any(folder.iterdir())):
        raise UserError(f"--run {folder}: it is there, it is not empty and it is not a run; choose another folder")
