"""Training images/s of a recipe, over the limit: the same network, loss and optimiser on one batch in memory.

    python benchmarks/throughput.py                       brain-mri-small, brain-mri and chest-xray
    python benchmarks/throughput.py --recipe brain-mri --steps 20
    OMP_NUM_THREADS=1 python benchmarks/throughput.py --clock cpu       on a machine that others use as well

Any recipe can be measured; where whole images have labels, the goal is 0.97 of the limit.

What lies between the two is everything a training adds: reading the store, augmentation, the checks for
numbers that are not finite, gradient clipping, averaging of the weights, Lightning. The two take turns step by step,
in one process, so that whatever else the machine does meets both alike: the ratio is the median over the pairs of
neighbouring steps, and its middle half says how far it can be trusted. The pixels are noise, for their content does
not matter here. Both are compiled, or both are not, as the recipe's ``train.compile: auto`` decides for 600 images.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from machine import describe
from medloom.data.store import PixelStore, StoreWriter
from medloom.errors import RecipeError
from medloom.events import BatchEnded, Event
from medloom.recipe import Recipe, load_recipe, resolve_target
from medloom.signals import StopRequest
from medloom.targets import Target
from medloom.training.allocator import keep_freed_memory
from medloom.training.fit import Job, build_data, build_module, fit
from medloom.training.kinds import KINDS
from medloom.training.ledger import Ledger
from medloom.training.precision import Precision, choose_compiling, choose_device, choose_precision
from medloom.training.schedule import build_optimizer

Clock = Callable[[], float]
Device = Literal["cpu", "cuda"]

IMAGES = 600
_WARM_UP = 3
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    """Measure and print."""
    options = step_options(__doc__)
    device = choose_device(options.device)
    keep_freed_memory()
    print(describe("torch", "lightning", "monai"))
    for name in options.recipe:
        measure(name, device, options)


def measure(name: str, device: Device, options: argparse.Namespace) -> None:
    """Measure one recipe and print."""
    recipe, clock = measured_recipe(name, device), CLOCKS[options.clock]
    precision = choose_precision("auto", device)
    batch = recipe.train.images_per_step
    with tempfile.TemporaryDirectory() as scratch:
        store = noise_store(Path(scratch), recipe, batch * (options.steps + _WARM_UP) + 1)
        pairs = paired_steps_s(recipe, store, device, precision, Path(scratch) / "run", clock)
    limits, trainings = np.array(pairs).T
    low, ratio, high = np.percentile(limits / trainings, [25, 50, 75])
    how = f"precision {precision}, {'compiled' if recipe.train.compile else 'not compiled'}, batch {batch}"
    print(f"{name} on {device}, {how}, {len(pairs)} pairs of steps, {options.clock} time")
    print(f"limit     {batch / statistics.median(limits):9.1f} images/s")
    print(f"training  {batch / statistics.median(trainings):9.1f} images/s")
    print(f"ratio     {ratio:9.3f}   middle half {low:.3f} to {high:.3f}")


class LimitStep:
    """A step over one fixed, normalised batch: network, loss, optimiser and nothing else."""

    def __init__(self, job: Job, store: PixelStore) -> None:
        recipe = job.recipe
        data = build_data(job, store)
        self._module = build_module(recipe, data, "32").to(job.device)
        self._network = torch.compile(self._module.network) if recipe.train.compile else self._module.network
        settings = recipe.train.optimizer.model_dump()
        self._optimizer = build_optimizer(self._module.network.parameters(), **settings, fused=True)
        self._device, self._dtype = job.device, AUTOCAST.get(job.precision)
        batch = recipe.train.images_per_step
        self._images = torch.randn(batch, store.images.shape[1], *recipe.preprocess.input_size, device=job.device)
        self._truth = torch.from_numpy(np.array(data.samples.truth[:batch])).to(job.device)
        self._table = torch.from_numpy(np.array(data.samples.table[:batch])).to(job.device)

    def __call__(self) -> None:
        """Take it, and wait until it is done."""
        self._optimizer.zero_grad()
        with torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype is not None):
            loss = self._module.loss(self._network(self._images, self._table), self._truth)
        loss.backward()
        self._optimizer.step()
        if self._device == "cuda":
            torch.cuda.synchronize()


def paired_steps_s(
    recipe: Recipe, store: PixelStore, device: Device, precision: Precision, run_dir: Path, clock: Clock
) -> list[tuple[float, float]]:
    """Seconds of the limit's step and of the training's, from one step's end to the next, in turn."""
    job = noise_job(recipe, store, device, precision, run_dir)
    limit = LimitStep(job, store)
    store.images.max()  # the first epoch alone finds the mapped pages missing
    pairs: list[tuple[float, float]] = []
    began = clock()

    def listen(event: Event) -> None:
        nonlocal began
        if isinstance(event, BatchEnded):
            if device == "cuda":
                torch.cuda.synchronize()
            ended = clock()
            limit()
            pairs.append((clock() - ended, ended - began))
        began = clock()

    with StopRequest() as stop:
        fit(job, store, Ledger(recipe.train.monitor), stop, listen)
    return pairs[_WARM_UP:]


def noise_store(folder: Path, recipe: Recipe, count: int) -> PixelStore:
    """A store of noise; for masks, with a square in every second image."""
    generator = np.random.default_rng(0)
    shape = (len(recipe.data.channels), *recipe.preprocess.size)
    with_masks = recipe.predicts().truth_is_mask
    with StoreWriter(folder, count, shape, np.uint8, masks=with_masks) as writer:
        for row in range(count):
            mask = np.zeros(shape[1:], np.uint8)
            mask[20:40, 20:40] = row % 2
            image = generator.integers(0, 256, shape, np.uint8)
            offset, scale = np.full(shape[0], 127, np.float32), np.full(shape[0], 0.02, np.float32)
            writer.put(row, image, mask if with_masks else None, offset, scale)
        return PixelStore.open(writer.publish("noise", [f"P{row:05d}" for row in range(count)], {}))


def noise_job(recipe: Recipe, store: PixelStore, device: Device, precision: Precision, run_dir: Path) -> Job:
    """Train on all rows but the last."""
    rows, last, compiled = np.arange(len(store) - 1), np.array([len(store) - 1]), bool(recipe.train.compile)
    truth = KINDS[recipe.target.kind].read_truth(_catalogue(recipe, store), None)
    return Job(recipe, rows, last, run_dir, {}, device, precision, compiled, None, truth)


def _catalogue(recipe: Recipe, store: PixelStore) -> pd.DataFrame:
    """Every number of a label is 0 and 1 in turn."""
    labels = [str([row % 2] * recipe.predicts().truth_width) for row in range(len(store))]
    return pd.DataFrame({"sample_id": store.sample_ids, "labels": labels})


def measured_recipe(name: str, device: Device) -> Recipe:
    recipe = _with_target(load_recipe(name))
    plain = recipe.plain()
    pixels = recipe.train.epochs * IMAGES * math.prod(recipe.preprocess.size)
    compiled = choose_compiling("auto", device, pixels)
    settings = {"epochs": 1, "device": device, "precision": "auto", "checkpoint_minutes": None, "compile": compiled}
    plain["train"] |= {**settings, "monitor": "loss"}  # one image of validation has no ranking
    return recipe.model_validate(plain)


def _with_target(recipe: Recipe) -> Recipe:
    """A recipe whose target is known; two classes where ``prepare`` would find them out."""
    try:
        recipe.predicts()
    except RecipeError:
        return resolve_target(recipe, Target("binary", ("no", "yes")))
    return recipe


def step_options(said: str | None) -> argparse.Namespace:
    """Which recipes, where, by which clock and how many steps, for a benchmark that says this of itself."""
    parser = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["brain-mri-small", "brain-mri", "chest-xray"])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--steps", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
