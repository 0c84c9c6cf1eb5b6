"""A learning rate for a prepared run, from a range test; nothing else in the run changes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from medloom import data, training
from medloom.data.opening import Images
from medloom.events import Events, FileMade
from medloom.files import write_json
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_store
from medloom.pipeline.runs import Run
from medloom.reports import write_rate_report

__all__ = ["find_lr"]

_FILE = "find_lr.json"


def find_lr(run: Run, *, images: str | Images | None = None, events: Events | None = None) -> dict[str, Any]:
    """Train a fresh network for some steps at rising learning rates, forget it, and say which rate to try.

    Args:
        run: A prepared run; its checkpoints, metrics and recipe stay as they are.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        events: Told how far it is.

    Returns:
        What ``find_lr.json`` holds: ``rates``, ``losses``, ``smooth``, ``suggested`` (None if no rate lowered the
        loss) and ``current``, the recipe's. ``find_lr.html`` draws it.

    Raises:
        RecipeError: If the recipe cannot be trained here.
        DataError: If the samples do not suffice.
    """
    events = events or Events()
    store = find_store(run, images, events=events)
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    found = training.try_rates(run.recipe, catalogue, store, tables=read_encoding(run), events=events)
    facts = {
        **asdict(found),
        "current": run.recipe.train.optimizer.lr,
        "optimizer": run.recipe.train.optimizer.name,
        "phantom": bool(run.facts("prepare.json", "prepare")["phantom"]),
    }
    write_json(run.folder / _FILE, facts)
    events.emit(FileMade(write_rate_report(run.folder)))
    return facts
