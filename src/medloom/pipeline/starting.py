"""From a recipe to a run directory and its images, and from its name to a run; nothing of it needs torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from medloom.data.opening import Images
from medloom.errors import UserError
from medloom.events import Events, Noted
from medloom.pipeline.names import FOUND, RUNS, run_folder
from medloom.pipeline.places import in_use, resolve_images
from medloom.pipeline.problems import PROBLEMS, problems_listed
from medloom.pipeline.runs import Run, open_run
from medloom.pipeline.writing import OURS, writing
from medloom.recipe import Recipe, load_recipe, parse_recipe
from medloom.recipe.loading import written_values
from medloom.recipe.presets import check_preset, preset_settings

__all__ = ["loaded_recipe", "opened_run", "started_run"]


@contextlib.contextmanager
def started_run(
    recipe: str | Path | Recipe,
    name: str | Path | None = None,
    *,
    runs: Path = RUNS,
    settings: Sequence[str] = (),
    preset: str = "good",
    in_budget: bool = False,
    images: str | Images | None = None,
    command: str = "run",
    events: Events | None = None,
) -> Iterator[tuple[Run, Images]]:
    """Make the run of a recipe, or take up the one that is there, and find its images; see ``writing``.

    The recipe is written when the images are prepared. Nothing is left in ``runs`` if the recipe, the name or the
    images are wrong.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe.
        name: Name of the run, or a path with a slash; the recipe's name by default.
        runs: Folder that holds the runs.
        settings: Values of the recipe to override.
        preset: How much work goes into it: ``quick``, ``good`` or ``best``; settings win.
        in_budget: Whether so many epochs are trained as fit a time, which a training that has begun knows already.
        images: Folder or zip with the images.
        command: What other commands are told is at work there.
        events: Told of progress if phantoms are made.

    Yields:
        The run and the place of its images.

    Raises:
        UserError: If the recipe, the name or the images are wrong, or another command writes into the run.
    """
    events = events or Events()
    loaded = loaded_recipe(recipe, settings, preset, events=events)
    folder = run_folder(name or loaded.name, runs)
    _refuse_other_folder(folder)
    with problems_listed(folder), writing(folder, command):
        where = resolve_images(loaded, images, events=events)
        with in_use(where):
            planned = Run.planned(loaded, folder)
            yield planned.as_begun() if in_budget else planned, where


@contextlib.contextmanager
def opened_run(name: str | Path, runs: Path = RUNS, overrides: Sequence[str] = (), *, command: str) -> Iterator[Run]:
    """Open a run by its name or folder as the only command that writes into it; see ``open_run`` and ``writing``.

    Args:
        name: Name of the run, or its folder.
        runs: Folder that holds the runs.
        overrides: Values of the recipe to override.
        command: What other commands are told is at work there.

    Raises:
        UserError: If there is no such run, or another command writes into it.
    """
    folder = open_run(name, runs).folder
    with problems_listed(folder), writing(folder, command):
        yield open_run(name, runs, overrides)


def loaded_recipe(
    recipe: str | Path | Recipe, settings: Sequence[str] = (), preset: str = "good", *, events: Events | None = None
) -> Recipe:
    """Return a recipe with a preset and with settings, which win.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe.
        settings: Values of the recipe to override.
        preset: ``quick``, ``good`` or ``best``.
        events: Told if the recipe has an earlier form.

    Raises:
        RecipeError: If one of them is wrong.
    """
    loaded = _with(recipe, settings, events or Events())
    chosen = preset_settings(loaded, check_preset(preset))
    return _with(recipe, [*chosen, *settings], Events()) if chosen else loaded


def _with(recipe: str | Path | Recipe, settings: Sequence[str], events: Events) -> Recipe:
    if isinstance(recipe, Recipe):
        return parse_recipe(yaml.safe_dump(written_values(recipe), sort_keys=False), settings) if settings else recipe
    return load_recipe(recipe, settings, noted=lambda text: events.emit(Noted(text)))


def _refuse_other_folder(folder: Path) -> None:
    """A folder that holds something else, such as the images, is not filled with a run."""
    if folder.exists() and not (folder / "recipe.yaml").is_file() and (folder.is_file() or _holds_something(folder)):
        raise UserError(f"--run {folder}: it is there, it is not empty and it is not a run; choose another folder")


def _holds_something(folder: Path) -> bool:
    """Whether there is more than what a command that is at work there needs for a while, or one that failed left."""
    return any(not path.name.startswith(OURS) and path.name not in (PROBLEMS, FOUND) for path in folder.iterdir())
