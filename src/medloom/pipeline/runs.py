"""A run directory: its recipe and its files. It holds no absolute path, so it can be moved at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medloom.errors import DataError, RecipeError, UserError
from medloom.files import members_of, read_json, write_text
from medloom.pipeline.names import RUNS
from medloom.recipe import Recipe, TuneConfig, load_recipe, parse_recipe, resolve_target
from medloom.recipe.changes import changed, flat

__all__ = ["Run", "bundle_of", "find_run", "open_run", "refuse_every_fold", "refuse_members"]

_OPEN: tuple[object, ...] = ("auto", [])
"""Values with which a recipe leaves something to be found out."""


@dataclass(frozen=True)
class Run:
    """A run directory with its recipe.

    Args:
        folder: The directory.
        recipe: The resolved recipe, as ``recipe.yaml`` in it says. ``data.path`` is not kept there.
    """

    folder: Path
    recipe: Recipe

    @classmethod
    def start(cls, recipe: Recipe, folder: Path) -> Run:
        """Make a run directory, or take up one that is there; see ``planned``."""
        return cls.planned(recipe, folder).save()

    @classmethod
    def planned(cls, recipe: Recipe, folder: Path) -> Run:
        """Return the run of a recipe in a folder, as it would be made there or taken up; nothing is written.

        Args:
            recipe: What the run is to do.
            folder: Where.

        Raises:
            RecipeError: If the run has begun to train with a recipe that differs in more than the number of
                epochs and the keys of evaluation and packaging.
        """
        known = folder / "recipe.yaml"
        if known.exists() and _has_begun(folder):
            before = parse_recipe(known.read_text("utf-8"))
            recipe = _with_batch_size_of(_with_target_of(recipe, before), before)
            _refuse_changes(before, recipe, folder)
        return cls(folder, recipe)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a run directory that is there.

        Raises:
            UserError: If it is not one.
        """
        known = folder / "recipe.yaml"
        if not known.is_file():
            raise UserError(f"{folder} is not a run: it has no recipe.yaml; start one with `medloom run` or `prepare`")
        return cls(folder, parse_recipe(known.read_text("utf-8"), of_a_run=True))

    def save(self) -> Run:
        """Write the recipe and return the run."""
        text = yaml.safe_dump(self.plain(), sort_keys=False, allow_unicode=True)
        write_text(self.folder / "recipe.yaml", text)
        return self

    def as_begun(self) -> Run:
        """Return the run with the number of epochs with which its training began, if it did; nothing is written."""
        known = self.folder / "recipe.yaml"
        if not known.exists() or not _has_begun(self.folder):
            return self
        return self.with_epochs(parse_recipe(known.read_text("utf-8"), of_a_run=True).train.epochs)

    def with_epochs(self, epochs: int) -> Run:
        """Return the run with another number of epochs; nothing is written."""
        train = self.recipe.train.model_copy(update={"epochs": epochs})
        return Run(self.folder, self.recipe.model_copy(update={"train": train}))

    def with_batch_size(self, images: int) -> Run:
        """Return the run with another number of images in a step; nothing is written."""
        train = self.recipe.train.model_copy(update={"batch_size": images})
        return Run(self.folder, self.recipe.model_copy(update={"train": train}))

    def plain(self) -> dict[str, Any]:
        """Return the recipe in plain types as it is kept: without ``data.path``, which differs between machines."""
        plain = self.recipe.plain()
        plain["data"]["path"] = None
        if self.recipe.tune == TuneConfig():  # what a study searches is no concern of a run's
            del plain["tune"]
        return plain

    def plain_result(self) -> dict[str, Any]:
        """Return of ``plain`` what a result may depend on: everything but who watches, times or is told of it."""
        plain = {key: value for key, value in self.plain().items() if key not in ("diagnose", "tracking")}
        plain["train"] = {key: value for key, value in plain["train"].items() if key != "profile"}
        return plain

    @property
    def bundle(self) -> Path:
        """Where the bundle is."""
        return self.folder / "model.tar.gz"

    def facts(self, name: str, command: str) -> dict[str, Any]:
        """Read what a stage wrote, or say which command writes it."""
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"{self.folder} has no {name} yet; run `medloom {command}` first")
        try:
            facts: dict[str, Any] = read_json(path)
        except ValueError as error:
            raise DataError(f"{path} is damaged; remove it and run `medloom {command}` again") from error
        return facts


def open_run(name: str | Path, runs: Path = RUNS, overrides: Sequence[str] = ()) -> Run:
    """Open a run by its name or folder, with values of its recipe overridden.

    Raises:
        UserError: If there is no such run; the message names those that are there.
    """
    folder = find_run(name, runs)
    if not overrides:
        return Run.open(folder)
    return Run.start(load_recipe(folder / "recipe.yaml", overrides), folder)


def find_run(name: str | Path, runs: Path = RUNS) -> Path:
    """Return the folder of a run by its name or folder.

    Raises:
        UserError: If there is no such run; the message names those that are there.
    """
    folder = next((path for path in (runs / name, Path(name)) if (path / "recipe.yaml").is_file()), None)
    if folder is None:
        there = sorted(path.parent.name for path in runs.glob("*/recipe.yaml"))
        known = f"runs in {runs}: {', '.join(there)}" if there else f"there are no runs in {runs} yet"
        raise UserError(
            f"there is no run {str(name)!r}; {known}. `medloom run RECIPE` and `medloom prepare RECIPE` make one"
        )
    return folder


def bundle_of(given: Path, runs: Path = RUNS) -> Path:
    """Return the bundle that is meant: of a run, by its name or folder, the one in it; else what was given.

    Raises:
        UserError: If the run has none yet; the message says how it is made.
    """
    places = [given] if given.exists() or given.is_absolute() else [given, runs / given]
    folder = next((path for path in places if (path / "recipe.yaml").is_file()), None)
    if folder is None or (folder / "bundle.json").is_file():
        return given
    bundle = Run.open(folder).bundle
    if bundle.is_file():
        return bundle
    made = (folder / "evaluation" / "summary.json").is_file()
    how = f"`medloom package {folder}` makes it" if made else "`medloom run` does all that is left"
    raise UserError(f"{folder} is a run that has no bundle yet; {how}")


def refuse_every_fold(recipe: Recipe) -> None:
    """Raise if a recipe asks for every fold: one run directory has one split.

    Raises:
        RecipeError: Saying which command does every fold, and how to ask for one.
    """
    if recipe.split.folds is not None and recipe.split.fold is None:
        raise RecipeError(
            f"split.folds is {recipe.split.folds}, and this command does one split: `medloom run` does every fold and "
            "their ensemble; for one of them say which, such as --set split.fold=0"
        )


def refuse_members(recipe: Recipe) -> None:
    """Raise if a recipe asks for more than one training: every fold, or several seeds.

    Raises:
        RecipeError: Saying which command does all of them.
    """
    refuse_every_fold(recipe)
    if recipe.train.seeds > 1:
        raise RecipeError(
            f"train.seeds is {recipe.train.seeds}, and this command is for one training: `medloom run` trains with "
            "every seed; or name the run of one of them, such as runs/NAME/seed-0"
        )


def _has_begun(folder: Path) -> bool:
    """Whether a run, or one of its members, has begun to train."""
    return any((place / "checkpoints").exists() for place in (folder, *members_of(folder)))


def _with_target_of(recipe: Recipe, known: Recipe) -> Recipe:
    """Take over what a run's preparation found out about its target, where the recipe leaves it open."""
    try:
        target = known.predicts()
    except RecipeError:  # a run of folds: each of them has found out for itself
        return recipe
    found = known.plain()["target"]
    given = {key: value for key, value in recipe.plain()["target"].items() if value not in _OPEN}
    return resolve_target(recipe, target) if given.items() <= found.items() else recipe


def _with_batch_size_of(recipe: Recipe, known: Recipe) -> Recipe:
    """Take over how many images a step has, where the recipe leaves that open."""
    if recipe.train.batch_size != "auto":
        return recipe
    train = recipe.train.model_copy(update={"batch_size": known.train.batch_size})
    return recipe.model_copy(update={"train": train})


def _refuse_changes(before: Recipe, after: Recipe, folder: Path) -> None:
    old, new = flat(before.plain()), flat(after.plain())
    refused = [key for key in changed(before.plain(), after.plain()) if not _is_another_number(key, old, new)]
    orders = [list(one.plain()["target"].get("mask_values", ())) for one in (before, after)]
    if not refused and orders[0] != orders[1]:  # the first class is the background
        refused, old, new = ["target.mask_values"], *({"target.mask_values": order} for order in orders)
    said = [key for key in refused if new.get(key) not in _OPEN] or refused
    if refused:
        lines = "\n".join(f"{key}: is {new.get(key)!r}, was {old.get(key)!r} when training began" for key in said)
        raise RecipeError(
            f"{lines}\n{folder} cannot go on with another recipe; begin another: `medloom run RECIPE --run NAME`"
        )


def _is_another_number(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether what changed is how many seeds a run of several has: those that are there stay what they are."""
    return key == "train.seeds" and min(old.get(key) or 1, new.get(key) or 1) > 1
