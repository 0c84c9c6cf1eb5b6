"""What the account of a training costs: steps with it over steps without it, by turns in one training.

    python benchmarks/profiling.py                        brain-mri-small, as it is
    python benchmarks/profiling.py --recipe chest-xray --steps 60
    OMP_NUM_THREADS=1 python benchmarks/profiling.py --clock cpu      on a machine that others use as well

The light account is switched on for every second step, so whatever else the machine does meets both alike: the ratio is
the median over the pairs of neighbouring steps, and its middle half says how far it can be trusted. Its thread, which
looks at the machine every few seconds, works beside both; what it takes of a core is printed. The full account looks at
a few steps through torch's profiler, once in a training: whole short trainings take turns, and what those steps and the
trace cost is printed by itself, for it is the same in a training of any length.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from machine import describe
from medloom.data.store import PixelStore
from medloom.files import read_json
from medloom.machine import thread_cpu_s
from medloom.recipe import Recipe
from medloom.training.allocator import keep_freed_memory
from medloom.training.fit import Job, build_data, build_module, build_trainer
from medloom.training.precision import choose_device, choose_precision
from medloom.training.profiling.operators import TRACE
from medloom.training.profiling.profile import PROFILE, Profile
from medloom.training.quiet import quiet_lightning
from throughput import CLOCKS, Clock, Device, measured_recipe, noise_job, noise_store

_WARM_UP = 4
_ROUNDS = 3


def main() -> None:
    """Measure and print."""
    options = _options()
    device, clock = choose_device(options.device), CLOCKS[options.clock]
    keep_freed_memory()
    print(describe("torch", "lightning"))
    for name in options.recipe:
        recipe = measured_recipe(name, device)
        with tempfile.TemporaryDirectory() as scratch:
            count = recipe.train.batch_size * (2 * options.steps + _WARM_UP) + 1
            store = noise_store(Path(scratch), recipe, count)
            print(f"{name} on {device}, batch {recipe.train.batch_size}, {options.clock} time")
            light(recipe, store, device, Path(scratch), clock)
            full(recipe, store, device, Path(scratch), clock)


def light(recipe: Recipe, store: PixelStore, device: Device, folder: Path, clock: Clock) -> None:
    """Pairs of steps, one of them with the light account."""
    turns = _Turns(clock, device, takes_turns=True)
    found = _train(recipe, store, device, folder / "light", "light", turns)
    pairs = zip(turns.seconds["with"], turns.seconds["without"], strict=False)
    ratios = np.array([with_it / without for with_it, without in pairs])
    low, ratio, high = np.percentile(ratios, [25, 50, 75])
    step_ms = 1000 * statistics.median(turns.seconds["without"])
    print(
        f"light/none   {ratio:9.4f}   middle half {low:.4f} to {high:.4f}, {len(ratios)} pairs, {step_ms:.1f} ms a step"
    )
    print(f"its thread   {found:9.4f}   of a core")


def full(recipe: Recipe, store: PixelStore, device: Device, folder: Path, clock: Clock) -> None:
    """Short trainings by turns, without an account and with the full one."""
    ratios, extras = [], []
    for number in range(_ROUNDS):
        seconds = {}
        for level in ("none", "full"):
            turns = _Turns(clock, device, takes_turns=False)
            _train(recipe, store, device, folder / f"{level}-{number}", level, turns)
            seconds[level] = turns.seconds["with"]
        medians = {level: statistics.median(values) for level, values in seconds.items()}
        ratios.append(medians["full"] / medians["none"])
        extras.append(sum(seconds["full"]) - len(seconds["full"]) * medians["full"])
    print(f"full/none    {statistics.median(ratios):9.4f}   of the usual step, {_ROUNDS} rounds: {_listed(ratios)}")
    size_mb = (folder / "full-0" / TRACE).stat().st_size / 1e6
    print(f"once         {statistics.median(extras):9.2f}   s for the steps looked at and a trace of {size_mb:.1f} MB")


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


class _Turns(Callback):
    """Writes down how long steps take, and lets the account take turns."""

    def __init__(self, clock: Clock, device: Device, *, takes_turns: bool) -> None:
        self.clock = clock
        self.device = device
        self.takes_turns = takes_turns
        self.profile: Profile | None = None
        self.seconds: dict[str, list[float]] = {"with": [], "without": []}
        self.thread_s = 0.0
        self._on = True
        self._step = 0
        self._began = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Take the step down, and turn the account off or on."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        self._step += 1
        if self._step > _WARM_UP:
            self.seconds["with" if self._on else "without"].append(self.clock() - self._began)
        if self.takes_turns and self.profile is not None:
            self._on = not self._on
            _switch(trainer, self.profile, self, on=self._on)
        self._began = self.clock()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask how long the account's thread has worked, and let the account conclude."""
        self.thread_s = thread_cpu_s("medloom-profile") or 0.0
        if self.takes_turns and self.profile is not None:
            _switch(trainer, self.profile, self, on=True)


def _switch(trainer: Any, profile: Profile, turns: _Turns, *, on: bool) -> None:
    trainer.profiler = profile.actions if on else PassThroughProfiler()
    trainer.callbacks = [profile, turns] if on else [turns]
    if on:
        profile.watch.start()
    else:
        profile.watch.stop()


def _train(recipe: Recipe, store: PixelStore, device: Device, folder: Path, level: str, turns: _Turns) -> float:
    """Train an epoch; returns what the account's thread took of a core."""
    plain = recipe.plain()
    plain["train"] |= {"profile": level, "compile": False}
    folder.mkdir()
    job: Job = noise_job(recipe.model_validate(plain), store, device, choose_precision("auto", device), folder)
    store.images.max()  # the first epoch alone finds the mapped pages missing
    with quiet_lightning(), torch.random.fork_rng():
        data = build_data(job, store)
        module = build_module(job.recipe, data, job.precision)
        profile = None
        if level != "none":
            profile = Profile(job.recipe, folder, lambda event: None, level=level, goes_on=False)
        turns.profile = profile
        callbacks = [callback for callback in (profile, turns) if callback is not None]
        trainer = build_trainer(job, *callbacks, profiler=None if profile is None else profile.actions)
        begun_s = time.perf_counter()
        trainer.fit(module, datamodule=data)
        wall_s = time.perf_counter() - begun_s
    assert level == "none" or read_json(folder / PROFILE)["level"] == level
    return turns.thread_s / wall_s


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["brain-mri-small"])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--steps", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
