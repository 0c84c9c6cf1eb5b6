"""A learning-rate range test: the rate rises from step to step, and the loss says where it helps and where it hurts.

Source: Smith: Cyclical Learning Rates for Training Neural Networks (2017).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from medloom.events import Events
from medloom.recipe import Recipe
from medloom.training.allocator import keep_freed_memory
from medloom.training.fit import build_data, build_module, build_trainer, within_memory
from medloom.training.loop import guarded, plan_job
from medloom.training.module import NonFiniteStep, TaskModule
from medloom.training.quiet import quiet_lightning
from medloom.training.schedule import Schedule

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore

__all__ = ["RateTest", "suggest_rate", "try_rates"]

_STEPS = 120
_LOWEST, _HIGHEST = 1e-7, 10.0
_DIVERGED = 3.0
"""So many times the lowest loss, or the first, there is no use in going on."""

_WINDOW = 4
_SMALLEST_DROP = 0.03
_BELOW_LOWEST = 0.1


@dataclass(frozen=True)
class RateTest:
    """The curve of a range test.

    Args:
        rates: Learning rate of each step.
        losses: Training loss of each step.
        smooth: The same, smoothed.
        suggested: A tenth of the rate at which the smoothed loss is lowest; None if no rate lowered it.
    """

    rates: list[float]
    losses: list[float]
    smooth: list[float]
    suggested: float | None


def try_rates(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    store: PixelStore,
    *,
    tables: TableEncoding | None = None,
    steps: int = _STEPS,
    events: Events | None = None,
) -> RateTest:
    """Train a fresh network for some steps at rising rates and forget it.

    The caller's random numbers and the run directory stay as they are.

    Args:
        recipe: The recipe; its schedule and learning rate do not matter.
        catalogue: Which sample is in which split.
        store: The pixels.
        tables: How the catalogue's metadata become numbers.
        steps: From the lowest rate to the highest.
        events: Told how far it is.

    Raises:
        RecipeError: If the recipe cannot be trained here.
        DataError: If the samples do not suffice.
        NoMemoryError: If memory runs out with a single image.
    """
    keep_freed_memory()
    told = (events or Events()).progress("learning rates")
    with tempfile.TemporaryDirectory() as scratch, quiet_lightning(), torch.random.fork_rng():
        job = plan_job(_alone(recipe), catalogue, store, Path(scratch), tables=tables)
        data = build_data(job, store)
        epochs = -(-steps // data.steps_per_epoch)
        train = job.recipe.train.model_copy(update={"epochs": epochs})
        job = replace(job, recipe=job.recipe.model_copy(update={"train": train}), compiled=False)
        module = build_module(job.recipe, data, job.precision)
        module.schedule = ramp = _Ramp(steps)
        follower = _Follower(module, steps, told)
        trainer = build_trainer(job, follower, validation_steps=0)
        with within_memory(job), guarded(job, store), follower.until_it_breaks():
            trainer.fit(module, datamodule=data)
    rates, losses = ramp.rates[: len(follower.losses)], follower.losses
    return RateTest(rates, losses, _smoothed(losses), suggest_rate(rates, losses))


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return a learning rate to try: a tenth of that at which the smoothed loss is lowest.

    Args:
        rates: Rising.
        losses: Training loss at each.

    Returns:
        None if no rate lowered the loss by more than a few percent.

    Example:
        >>> rates = [10.0 ** (place / 10 - 6) for place in range(60)]
        >>> losses = [1.0 - 0.3 * max(0, place - 20) / 20 if place <= 40 else 0.7 + place - 40 for place in range(60)]
        >>> round(suggest_rate(rates, losses), 5)
        0.0004
    """
    smooth = _smoothed(losses)
    if len(smooth) <= 2 * _WINDOW:
        return None
    lowest = int(np.argmin(smooth))
    began = float(np.mean(smooth[: max(1, len(smooth) // 10)]))
    if began - smooth[lowest] < _SMALLEST_DROP * abs(began):
        return None
    return float(rates[lowest]) * _BELOW_LOWEST


def _smoothed(losses: Sequence[float]) -> list[float]:
    """Means over a window around each, so that what is smooth lies where it was."""
    values = np.asarray(losses, np.float64)
    return [float(values[max(0, at - _WINDOW) : at + _WINDOW + 1].mean()) for at in range(len(values))]


def _alone(recipe: Recipe) -> Recipe:
    """The recipe for one process, with nothing that takes time for no use here."""
    train = recipe.train.model_copy(update={"devices": 1, "averaging": "none", "compile": False})
    return recipe.model_copy(update={"train": train})


class _Ramp(Schedule):
    """Rises from the lowest rate to the highest by the same factor in each step."""

    def __init__(self, steps: int) -> None:
        self.rates = np.geomspace(_LOWEST, _HIGHEST, steps).tolist()

    def before_step(self, optimizer: Optimizer, step: int) -> None:
        """Set the rate of each group."""
        for group in optimizer.param_groups:
            group["lr"] = self.rates[min(step, len(self.rates) - 1)] * group.get("lr_scale", 1.0)


@dataclass
class _Follower(Callback):
    """Writes down the losses, and ends the test where they have gone up for good."""

    module: TaskModule
    steps: int
    told: Callable[[int, int], None]
    losses: list[float] = field(default_factory=list)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Take the loss of a step."""
        self.losses.append(float(self.module.last_loss))
        self.told(len(self.losses), self.steps)
        if len(self.losses) >= self.steps or self._diverges():
            trainer.should_stop = True

    @contextmanager
    def until_it_breaks(self) -> Iterator[None]:
        """End the test at a loss that is no finite number, as any other that is too high."""
        with suppress(NonFiniteStep):
            yield

    def _diverges(self) -> bool:
        latest = float(np.mean(self.losses[-_WINDOW:]))
        limit = _DIVERGED * max(abs(self.losses[0]), abs(min(self.losses)))
        return len(self.losses) > _WINDOW and latest > limit
