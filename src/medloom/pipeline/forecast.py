"""How long a run will take on this machine and how much memory it needs, said before the training begins."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom import data
from medloom.data.opening import Images
from medloom.errors import DiskFullError, RecipeError, UserError
from medloom.events import Events, Noted, Warned
from medloom.files import read_json, write_json
from medloom.memory import ADVICE, reachable_bytes
from medloom.pipeline.identity import is_trained
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_store
from medloom.pipeline.runs import Run
from medloom.wording import counted, duration_text, size_text

if TYPE_CHECKING:
    from medloom.data.store import PixelStore
    from medloom.training.pace import Pace

__all__ = [
    "Forecast",
    "check_room",
    "fit_budget",
    "forecast",
    "foresee",
    "foreseen_micro_batch",
    "memory_warning",
    "read_budget",
]

_FILE = "forecast.json"
_FEWEST_EPOCHS = 3
_MARGIN = 0.85
"""Share of the time left that is planned with: what a machine does besides is not foreseen."""

_EXPORT_S, _CASE_S, _READ_S = 8.0, 0.012, 0.004
"""Seconds to export, package and report, to measure a case with its share of the intervals, and least to read an image:
its pixels may have come from the cache in ``prepare``."""

_COPIES = (3, 5)
"""Of the state of a training: the last checkpoint, the one before and one that is being written; of the weights: the
best, the graph, both in the bundle, and one in the making."""

_IN_MEMORY = (2.5, 7.0)
"""How often the state is in memory while a checkpoint is put together and read back, and the weights while they are
exported and checked, beside the network that is trained. Measured with networks of 2 and 11 million weights."""

_PAGES_BYTES = 10_000_000
"""Reports and tables."""

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
        memory_bytes: Largest memory of the process.
        device: ``cpu`` or ``cuda``.
        runs: So many of them one after the other: folds.
        gpu_bytes: Largest memory of the GPU.
        store_bytes: The pixel store, which is on the disk already.
        disk_bytes: What checkpoints, weights and the bundle of a run will take at most.
        micro_batch: Images that go through the network at a time, where memory is too short for all of a step.
    """

    epochs: int
    epoch_s: float
    start_s: float
    rest_s: float
    memory_bytes: int
    device: str
    runs: int = 1
    gpu_bytes: int = 0
    store_bytes: int = 0
    disk_bytes: int = 0
    micro_batch: int | None = None

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
        return (
            f"forecast: about {duration_text(self.total_s)} ({times}{counted(self.epochs, 'epoch')} of "
            f"{duration_text(self.epoch_s)}, then {duration_text(self.rest_s)} to measure and package), {self.room()}"
        )

    def room(self) -> str:
        """Return in words what it takes of memory and disk."""
        parts = [f"{size_text(self.memory_bytes)} of memory"]
        parts += [f"{size_text(self.gpu_bytes)} of the GPU's"] if self.gpu_bytes else []
        if self.disk_bytes:
            more = f" beside the pixel store of {size_text(self.store_bytes)}" if self.store_bytes else ""
            parts.append(f"{size_text(self.runs * self.disk_bytes)} of disk{more}")
        if self.micro_batch is not None:
            parts.append(f"memory is short, so {counted(self.micro_batch, 'image')} at a time")
        return ", ".join(parts)


def forecast(
    run: Run, *, images: str | Images | None = None, runs: int = 1, whole: bool = True, events: Events | None = None
) -> Forecast | None:
    """Take a few steps of the training, and say how long all of it will take and what of memory and disk.

    Args:
        run: A prepared run.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        runs: How many such trainings there will be.
        whole: Whether this process also measures and packages.
        events: Told of it.

    Returns:
        The forecast, also in ``forecast.json``; None where the training has begun, and where several
        processes train, whose pace is not measured.

    Raises:
        RecipeError: If the recipe cannot be trained here.
        DataError: If the samples do not suffice.
        NoMemoryError: If memory runs out with a single image.
        DiskFullError: If the disk has no room for it.
    """
    found = foresee(run, images=images, runs=runs, whole=whole, events=events)
    if found is None:
        return None
    write_json(run.folder / _FILE, found.plain())
    (events or Events()).emit(Noted(found.text()))
    scarce = memory_warning(found)
    if scarce:
        (events or Events()).emit(Warned(scarce))
    check_room(run.folder, runs * found.disk_bytes)
    return found


def foreseen_micro_batch(run: Run) -> int | None:
    """Return how many images at a time the steps of a run's forecast came down to; None for all of a batch."""
    path = run.folder / _FILE
    size = read_json(path).get("micro_batch") if path.is_file() else None
    return None if size is None else int(size)


def memory_warning(found: Forecast) -> str | None:
    """Return what is said where less memory is there than a forecast takes; None where it suffices."""
    there = reachable_bytes()
    if there is None or found.memory_bytes <= there:
        return None
    return (
        f"about {size_text(found.memory_bytes)} of memory will be needed and {size_text(there)} are there, so the "
        f"system may end the command without a word: close other programs, or {ADVICE}"
    )


def foresee(
    run: Run, *, images: str | Images | None = None, runs: int = 1, whole: bool = True, events: Events | None = None
) -> Forecast | None:
    """Return the forecast as ``forecast`` does, without saying or writing it."""
    from medloom.training.pace import measure_pace  # brings torch

    alone = run.recipe.train.devices == 1 and run.recipe.train.strategy == "single"
    if not alone or is_trained(run.folder):
        return None
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    store: PixelStore = find_store(run, images, events=events or Events())
    pace = measure_pace(run.recipe, catalogue, store, tables=read_encoding(run))
    validation, test = (int((catalogue["split"] == part).sum()) for part in ("validation", "test"))
    read = 2 * validation + test  # the operating point is chosen before validation is measured
    return Forecast(
        epochs=run.recipe.train.epochs,
        epoch_s=pace.epoch_s,
        start_s=pace.start_s,
        rest_s=pace.slowdown * (_EXPORT_S + _CASE_S * (validation + test))
        + read * (pace.image_s * run.recipe.evaluate.views + _reading_s(run)),
        memory_bytes=_memory_bytes(pace, whole=whole),
        device=pace.device,
        runs=runs,
        gpu_bytes=pace.gpu_bytes,
        store_bytes=store.nbytes,
        disk_bytes=_COPIES[0] * pace.state_bytes + _COPIES[1] * pace.network_bytes + _PAGES_BYTES,
        micro_batch=pace.micro_batch,
    )


def _memory_bytes(pace: Pace, *, whole: bool) -> int:
    """Largest memory of the process: that of the steps, and what comes beside it later."""
    of_state, of_weights = _IN_MEMORY
    return int(pace.memory_bytes + of_state * pace.state_bytes + whole * of_weights * pace.network_bytes)


def check_room(folder: Path, needed: int) -> None:
    """Raise if a disk has no room for what is going to be written.

    Args:
        folder: Where.
        needed: Bytes.

    Raises:
        DiskFullError: With what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        reason = "there is no room for the checkpoints, the weights and the bundle that the training is to make"
        raise DiskFullError(str(folder), needed, free, reason)


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
