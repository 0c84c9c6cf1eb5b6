"""How fast this machine trains a network: a few real steps, before the training begins."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from medloom.memory import peak_rss_bytes
from medloom.training.allocator import keep_freed_memory
from medloom.training.fit import Job, build_data, build_module, build_trainer, within_memory
from medloom.training.loop import guarded, plan_job
from medloom.training.module import TaskModule
from medloom.training.quiet import quiet_lightning

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore
    from medloom.recipe import Recipe

__all__ = ["Pace", "measure_pace"]

_STEPS, _WARM_UP = 10, 2
_VALIDATION_STEPS = 3
_COMPILED_S = 3.0
"""To find compiled code again; compiling itself takes a minute."""

_MOMENT_S = 0.05
_LONGEST_S = 8.0
"""After so many seconds of training steps no further one is begun."""


@dataclass(frozen=True)
class Pace:
    """How long the parts of a training take on this machine.

    Args:
        step_s: Seconds of a training step.
        steps: Steps of an epoch.
        validation_s: Seconds of the validation of an epoch.
        start_s: Seconds until the first step is done. What was compiled for these steps is found again in the cache of
            the compiler.
        image_s: Seconds in which the network answers for one image in float32.
        memory_bytes: Largest memory of the process so far, these steps included.
        gpu_bytes: Largest memory of the GPU in them; 0 on a CPU.
        state_bytes: What a checkpoint holds: weights, their average, what the optimiser keeps.
        network_bytes: The weights alone.
        slowdown: How many times as long as alone a process takes for what it computes, for others compute beside it.
        micro_batch: Images that went through the network at a time, where memory was too short for all of a step.
        device: ``cpu`` or ``cuda``.
    """

    step_s: float
    steps: int
    validation_s: float
    start_s: float
    image_s: float
    memory_bytes: int
    gpu_bytes: int
    state_bytes: int
    network_bytes: int
    slowdown: float
    micro_batch: int | None
    device: str

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch with its validation."""
        return self.step_s * self.steps + self.validation_s


def measure_pace(
    recipe: Recipe, catalogue: pd.DataFrame, store: PixelStore, *, tables: TableEncoding | None = None
) -> Pace:
    """Take a few training and validation steps and forget what was learned in them.

    The caller's random numbers and the run directory stay as they are.

    Args:
        recipe: The recipe.
        catalogue: Which sample is in which split.
        store: The pixels.
        tables: How the catalogue's metadata become numbers.

    Raises:
        RecipeError: If the recipe cannot be trained here.
        DataError: If the samples do not suffice.
        NonFiniteLossError: If a loss or gradient is NaN or infinite, as it would be in the training.
        NoMemoryError: If memory runs out with a single image.
    """
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch, quiet_lightning(), torch.random.fork_rng():
        job = plan_job(recipe, catalogue, store, Path(scratch), tables=tables)
        data = build_data(job, store)
        module, clock = build_module(recipe, data, job.precision, compiled=job.compiled), _Clock()
        trainer = build_trainer(job, clock, steps=_STEPS, validation_steps=_VALIDATION_STEPS)
        with within_memory(job), guarded(job, store):
            trainer.fit(module, datamodule=data)
        state = _tensors_bytes([module.state_dict(), *(one.state_dict()["state"] for one in trainer.optimizers)])
        image_s = _image_s(module, store, job)
    slowdown = _slowdown()
    start_s = min(clock.start_s, _COMPILED_S * slowdown) if job.compiled else clock.start_s
    batches = -(-len(job.validation_rows) // data.validation_batch_size)
    return Pace(
        step_s=clock.step_s,
        steps=data.steps_per_epoch,
        validation_s=clock.validation_step_s * batches,
        start_s=start_s,
        image_s=image_s,
        memory_bytes=peak_rss_bytes(),
        gpu_bytes=int(torch.cuda.max_memory_reserved()) if job.device == "cuda" else 0,
        state_bytes=state,
        network_bytes=_tensors_bytes(module.network.state_dict()),
        slowdown=slowdown,
        micro_batch=None if module.micro.size == recipe.train.micro_batch else module.micro.size,
        device=job.device,
    )


@dataclass
class _Clock(Callback):
    """Writes down when steps end."""

    began: float = field(default_factory=time.perf_counter)
    ends: list[float] = field(default_factory=list)
    validated: list[float] = field(default_factory=list)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.ends.append(self._now(pl_module))
        if len(self.ends) > 1 and self.ends[-1] - self.ends[0] > _LONGEST_S:
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated.append(self._now(pl_module))

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.validated.append(self._now(pl_module))

    @property
    def step_s(self) -> float:
        """The mean over the steps after the first ones; what a machine does beside it lengthens the training too."""
        first = min(_WARM_UP, len(self.ends)) - 1
        after = self.ends[first:]
        return (after[-1] - after[0]) / (len(after) - 1) if len(after) > 1 else self.ends[0] - self.began

    @property
    def validation_step_s(self) -> float:
        """The fastest one: the first includes what is done once."""
        pairs = zip(self.validated[1:], self.validated, strict=False)
        return min((end - begin for end, begin in pairs), default=0.0)

    @property
    def start_s(self) -> float:
        return max(0.0, self.ends[0] - self.began - self.step_s)

    @staticmethod
    def _now(module: LightningModule) -> float:
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def _image_s(module: TaskModule, store: PixelStore, job: Job) -> float:
    """As the evaluation runs it: one image at a time in float32 on the processor."""
    network = module.network.cpu().eval()
    image = torch.zeros(1, job.recipe.data.input_channels, *job.recipe.preprocess.input_size)
    table = torch.zeros(1, job.truth.samples(store).table.shape[1])
    seconds = []
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            network.forward(image, table)
            seconds.append(time.perf_counter() - began)
    return sum(seconds) / len(seconds)  # what a machine does beside it is in it


def _slowdown() -> float:
    """Compute for a moment, and compare the time that passes with the time that this thread gets."""
    began, got = time.perf_counter(), time.thread_time()
    while time.thread_time() - got < _MOMENT_S:
        sum(range(1000))
    return max(1.0, (time.perf_counter() - began) / _MOMENT_S)


def _tensors_bytes(tree: object) -> int:
    """Bytes of every tensor in nested lists and dictionaries."""
    if isinstance(tree, torch.Tensor):
        return tree.numel() * tree.element_size()
    inner = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ()
    return sum(_tensors_bytes(one) for one in inner)
