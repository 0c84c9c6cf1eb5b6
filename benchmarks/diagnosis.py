"""What diagnosis adds to a training: steps that are looked at beside their neighbours that are not.

    python benchmarks/diagnosis.py                        brain-mri-small, brain-mri and chest-xray
    OMP_NUM_THREADS=1 python benchmarks/diagnosis.py --recipe chest-xray --clock cpu    on a machine that others use

Every second step of one training is looked at, so that whatever else the machine does meets both kinds alike: what a
look takes is the median difference between neighbours. By default a long training looks at every 50th step, and a
short one at every 20th at most. The end of an epoch, with its rules and its file, is measured apart. The pixels are
noise, and the network is not compiled, for then there would be less to look at.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from machine import describe
from medloom.data.store import PixelStore
from medloom.events import BatchEnded, Event
from medloom.recipe import Recipe
from medloom.signals import StopRequest
from medloom.training.allocator import keep_freed_memory
from medloom.training.diagnosis.watch import Diagnosis
from medloom.training.fit import fit
from medloom.training.ledger import Ledger
from medloom.training.precision import choose_device, choose_precision
from throughput import CLOCKS, Clock, Device, measured_recipe, noise_job, noise_store, step_options

GOAL = 0.02
EVERY = (50, 20)
_WARM_UP = 4


def main() -> None:
    """Measure and print."""
    options = step_options(__doc__)
    device = choose_device(options.device)
    keep_freed_memory()
    print(describe("torch", "lightning"))
    for name in options.recipe:
        measure(name, device, options)


def measure(name: str, device: Device, options: argparse.Namespace) -> None:
    """Measure one recipe and print."""
    plain = measured_recipe(name, device).plain()
    plain["train"] |= {"compile": False}
    recipe = type(measured_recipe(name, device)).model_validate({**plain, "diagnose": {"every": 2}})
    batch = recipe.train.images_per_step
    with tempfile.TemporaryDirectory() as scratch:
        store = noise_store(Path(scratch), recipe, batch * (options.steps + _WARM_UP) + 1)
        steps, epoch_s = timed(recipe, store, device, Path(scratch) / "run", CLOCKS[options.clock])
    looked, plain_s = steps[0::2], steps[1::2]
    differences = [one - other for one, other in zip(looked, plain_s, strict=False)]
    look, step = statistics.median(differences), statistics.median(plain_s)
    low, high = np.percentile(differences, [25, 75])
    shares = ", ".join(f"{look / every / step:.2%} of every {every}th" for every in EVERY)
    print(f"{name} on {device}, batch {batch}, {len(differences)} pairs of steps, {options.clock} time")
    print(
        f"step {step:.3f} s, a look {look:.4f} s (middle half {low:.4f} to {high:.4f}), end of an epoch {epoch_s:.4f} s"
    )
    print(f"looks take {shares} step; goal {GOAL:.0%} at most")


def timed(recipe: Recipe, store: PixelStore, device: Device, run_dir: Path, clock: Clock) -> tuple[list[float], float]:
    """Seconds of each step after the first ones, those that are looked at first, and of the end of the epoch."""
    steps: list[float] = []
    ends: list[float] = []
    began = clock()

    def listen(event: Event) -> None:
        nonlocal began
        if isinstance(event, BatchEnded):
            steps.append(clock() - began)
        began = clock()

    original = Diagnosis.end_epoch

    def end_epoch(self: Diagnosis, line: dict[str, float | int | None]) -> None:
        before = clock()
        original(self, line)
        ends.append(clock() - before)

    job = noise_job(recipe, store, device, choose_precision("auto", device), run_dir)
    Diagnosis.end_epoch = end_epoch  # type: ignore[method-assign]
    try:
        with StopRequest() as stop:
            fit(job, store, Ledger(recipe.train.monitor), stop, listen)
    finally:
        Diagnosis.end_epoch = original  # type: ignore[method-assign]
    return steps[_WARM_UP:], ends[0]


if __name__ == "__main__":
    main()
