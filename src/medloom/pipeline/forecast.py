"""How long a run will take on this machine and how much memory it needs, said before the training begins."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom import data
from medloom.errors import RecipeError, UserError
from medloom.events import Events, Noted
from medloom.files import write_json
from medloom.pipeline.identity import is_trained
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_store
from medloom.pipeline.runs import Run
from medloom.wording import counted, duration_text, size_text

if TYPE_CHECKING:
    from medloom.data.store import PixelStore

__all__ = ["Forecast", "fit_budget", "forecast", "read_budget"]

_FILE = "forecast.json"
_FEWEST_EPOCHS = 3
_MARGIN = 0.85
"""Share of the time left that is planned with: what a machine does besides is not foreseen."""

_EXPORT_S, _READ_S = 4.0, 0.004
"""Seconds to export and package, and least to read an image: its pixels may have come from the cache in ``prepare``."""


_NUMBER = r"(\d+(?:\.\d+)?)"
_UNITS = ("h|hrs?|hours?", "m|mins?|minutes?", "s|secs?|seconds?")
_DURATION = re.compile(r"\s*".join(rf"(?:{_NUMBER}\s*(?:{unit}))?" for unit in _UNITS))


@dataclass(frozen=True)
class Forecast:
    """What the training and all after it will take.

    Args:
        epochs: Passes over the training images.
        epoch_s: Seconds of each, with its validation.
        start_s: Seconds before the first step is done.
        rest_s: Seconds to measure and package.
        memory_bytes: Largest memory, of the process or of the GPU.
        device: ``cpu`` or ``cuda``.
        runs: So many of them one after the other: folds.
    """

    epochs: int
    epoch_s: float
    start_s: float
    rest_s: float
    memory_bytes: int
    device: str
    runs: int = 1

    @property
    def train_s(self) -> float:
        """Seconds of one training."""
        return self.start_s + self.epochs * self.epoch_s

    @property
    def total_s(self) -> float:
        """Seconds of everything."""
        return self.runs * (self.train_s + self.rest_s)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "train_s": self.train_s, "total_s": self.total_s}

    def text(self) -> str:
        """Return it as a sentence."""
        times = "" if self.runs == 1 else f"{self.runs} times "
        memory = size_text(self.memory_bytes)
        where = f"{memory} of the GPU's memory" if self.device == "cuda" else f"{memory} of memory"
        return (
            f"forecast: about {duration_text(self.total_s)} ({times}{counted(self.epochs, 'epoch')} of "
            f"{duration_text(self.epoch_s)}, then {duration_text(self.rest_s)} to measure and package), {where}"
        )


def forecast(
    run: Run, *, images: str | Path | None = None, runs: int = 1, events: Events | None = None
) -> Forecast | None:
    """Take a few steps of the training, and say how long all of it will take.

    Args:
        run: A prepared run.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        runs: How many such trainings there will be.
        events: Told of it.

    Returns:
        The forecast, also in ``forecast.json``; None where the training has begun, and where several
        processes train, whose pace is not measured.

    Raises:
        RecipeError: If the recipe cannot be trained here.
        DataError: If the samples do not suffice.
    """
    from medloom.training.pace import measure_pace  # brings torch

    if run.recipe.train.devices > 1 or is_trained(run.folder):
        return None
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    store: PixelStore = find_store(run, images, events=events or Events())
    pace = measure_pace(run.recipe, catalogue, store, tables=read_encoding(run))
    measured = int(catalogue["split"].isin(["validation", "test"]).sum())
    found = Forecast(
        epochs=run.recipe.train.epochs,
        epoch_s=pace.epoch_s,
        start_s=pace.start_s,
        rest_s=_EXPORT_S + measured * (pace.image_s * run.recipe.evaluate.views + _reading_s(run)),
        memory_bytes=pace.memory_bytes,
        device=pace.device,
        runs=runs,
    )
    write_json(run.folder / _FILE, found.plain())
    (events or Events()).emit(Noted(found.text()))
    return found


def fit_budget(recipe_epochs: int, found: Forecast, left_s: float) -> int:
    """Return how many epochs fit into the time that is left.

    Args:
        recipe_epochs: What the recipe asks for; never more.
        found: The forecast for the recipe.
        left_s: Seconds left for all of it.

    Raises:
        RecipeError: If not even a few do.
    """
    each = left_s * _MARGIN / found.runs - found.start_s - found.rest_s
    epochs = min(recipe_epochs, int(each / found.epoch_s))
    if epochs < min(recipe_epochs, _FEWEST_EPOCHS):
        needed = found.runs * (found.start_s + found.rest_s + _FEWEST_EPOCHS * found.epoch_s) / _MARGIN
        raise RecipeError(
            f"--budget: {duration_text(left_s)} are left, and {_FEWEST_EPOCHS} epochs with what follows take about "
            f"{duration_text(needed)}; give more, or make an epoch shorter: --preset quick, a smaller preprocess.size "
            "or network, or no split.folds"
        )
    return epochs


def read_budget(text: str, option: str = "--budget") -> float:
    """Return the seconds of a time for all the work.

    Args:
        text: A number and its unit, also several: ``90s``, ``30m``, ``2h``, ``1h30m``.
        option: Where it was said.

    Raises:
        UserError: If it is none, or nothing.

    Example:
        >>> read_budget("1h30m"), read_budget("45 min")
        (5400.0, 2700.0)
    """
    found = _DURATION.fullmatch(text.strip().lower())
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise UserError(f"{option}: expected a time such as 90s, 30m, 2h or 1h30m; got {text!r}")
    return total


def _reading_s(run: Run) -> float:
    """Seconds to read and decode an image, as ``prepare`` took for it."""
    rate = run.facts("prepare.json", "prepare").get("images_per_s")
    return max(_READ_S, 1.0 / rate) if rate else _READ_S
