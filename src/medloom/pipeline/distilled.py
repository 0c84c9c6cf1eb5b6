"""The training of one network that learns the answers of the folds' ensemble, inside the run of the whole.

It is a training like any other, which can be killed and goes on, in a directory of its own. It learns from the images
of all folds but those that validated the first of them, by which its best epoch is picked; of what was held out of all
folds it sees nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from medloom import data, models
from medloom.data.opening import Images
from medloom.data.splits.given import HELD_OUT
from medloom.errors import RecipeError
from medloom.events import Events, Noted
from medloom.files import read_json, sha256_file, write_json
from medloom.pipeline.measuring import BEST_WEIGHTS
from medloom.pipeline.metadata import read_encoding, write_encoding
from medloom.pipeline.names import DISTILLED
from medloom.pipeline.places import find_images, remember_images
from medloom.pipeline.runs import Run
from medloom.pipeline.stages.train import train
from medloom.recipe import Recipe, parse_recipe
from medloom.recipe.changes import changed
from medloom.training import Teachers, TrainResult

__all__ = ["check_student", "distil", "student_of"]

_TAUGHT_BY = "taught_by.json"
"""Whose answers are learned and how; with others the training begins anew."""


def student_of(recipe: Recipe) -> Recipe:
    """Return the recipe of the one network: that of the folds, with what ``distil`` says otherwise.

    Args:
        recipe: The recipe of the whole.

    Raises:
        RecipeError: If ``distil.model`` makes no network of it.
    """
    plain, given = recipe.plain(), dict(recipe.distil.model)
    plain["model"] = given if "name" in given else {**plain["model"], **given}
    plain["train"]["epochs"] = recipe.distil.epochs or recipe.train.epochs
    plain["package"]["serve"] = "ensemble"
    del plain["distil"], plain["split"]
    with _named():
        return parse_recipe(yaml.safe_dump(plain, sort_keys=False))


def check_student(recipe: Recipe) -> None:
    """Build the one network once, where a recipe asks for one, so that a wrong name is found before any training.

    Args:
        recipe: The recipe of the whole.

    Raises:
        RecipeError: If it cannot be built.
    """
    if recipe.package.serve == DISTILLED and recipe.distil.model:
        student = student_of(recipe)
        with _named():
            models.check_network(student)


@contextmanager
def _named() -> Iterator[None]:
    """Say which key the network comes from that does not fit."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"distil.model: {error}") from error


def distil(
    whole: Run, folds: Sequence[Run], *, images: str | Images | None = None, events: Events | None = None
) -> TrainResult:
    """Train the one network, or go on where its training stands.

    Args:
        whole: The run of the whole, with what the folds have found out of their target.
        folds: Their runs, each trained.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        events: Told of batches and epochs; who listens may ask for an end.

    Returns:
        The best epoch, and whether the training was finished or asked to stop.

    Raises:
        MedloomError: As any training.
    """
    events = events or Events()
    student = Run(whole.folder / DISTILLED, student_of(whole.recipe))
    temperature: float = getattr(whole.recipe.distil, "temperature", 1.0)  # of some kinds of answer alone
    taught_by = {
        "recipe": student.plain(),
        "temperature": temperature,
        "weights": [sha256_file(fold.folder / BEST_WEIGHTS) for fold in folds],
    }
    events.emit(Noted(f"one network learns the answers of the {len(folds)} networks of the folds"))
    if _is_another(student.folder / _TAUGHT_BY, taught_by):
        events.emit(Noted("its training begins anew: the networks of the folds, or what it is to be, have changed"))
        shutil.rmtree(student.folder)
    write_json(student.folder / _TAUGHT_BY, taught_by)
    _take_samples(student, folds[0])
    remember_images(student.save(), find_images(folds[0], images, events=events))
    tables = [read_encoding(fold) for fold in folds]
    teachers = Teachers(folds[0].recipe, [fold.folder for fold in folds], temperature, tables)
    return train(student, images=images, teachers=teachers, events=events)


def _is_another(path: Path, now: dict[str, Any]) -> bool:
    """Whether a training that has begun learns from others, or another network; more epochs extend it."""
    if not path.is_file():
        return path.parent.exists()
    before = read_json(path)
    return any(before[key] != now[key] for key in ("temperature", "weights")) or bool(
        changed(before["recipe"], now["recipe"])
    )


def _take_samples(student: Run, first: Run) -> None:
    """Write its catalogue, and what it stands on: the samples of the first fold, whose test part trains as well."""
    catalogue = data.read_catalogue(first.folder / "catalogue.csv")
    stays = catalogue["split"].isin(["validation", HELD_OUT])
    divided = catalogue.assign(split=catalogue["split"].where(stays, "train"))
    data.write_catalogue(divided, student.folder / "catalogue.csv")
    write_encoding(student, divided)
    sha256 = sha256_file(student.folder / "catalogue.csv")
    facts = first.facts("prepare.json", "prepare")
    write_json(student.folder / "prepare.json", {**facts, "catalogue_sha256": sha256})
