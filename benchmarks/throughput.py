"""Training images/s of a recipe, over the limit: the same network, loss and optimiser on one batch in memory.

    python benchmarks/throughput.py                       brain-mri-small, brain-mri and chest-xray
    python benchmarks/throughput.py --recipe brain-mri --steps 20
    OMP_NUM_THREADS=1 python benchmarks/throughput.py --clock cpu       on a machine that others use as well

Recipes of both tasks can be measured; where whole images have labels, the goal is 0.97 of the limit.

What lies between the two is everything a training adds: reading the store, augmentation, the checks for
numbers that are not finite, gradient clipping, averaging of the weights, Lightning. Step times are medians; the
two take turns, and the ratio is the median over the rounds. The pixels are noise, for their content does not
matter here. Both are compiled, or both are not, as the recipe's ``train.compile: auto`` decides for 600 images.
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
import torch

from machine import describe
from medloom.data.store import PixelStore, StoreWriter
from medloom.models.kinds import label_kind, targets_of
from medloom.recipe import Recipe, load_recipe
from medloom.training.allocator import keep_freed_memory
from medloom.training.data import StoreData
from medloom.training.fit import Job, build_module, fit
from medloom.training.ledger import Ledger
from medloom.training.precision import Precision, choose_compiling, choose_device, choose_precision
from medloom.training.progress import TrainProgress
from medloom.training.samples import LabelTable, label_table
from medloom.training.schedule import build_optimizer
from medloom.training.signals import StopRequest

Clock = Callable[[], float]
Device = Literal["cpu", "cuda"]

IMAGES = 600
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    """Measure and print."""
    options = _options()
    device = choose_device(options.device)
    keep_freed_memory()
    print(describe("torch", "lightning", "monai"))
    for name in options.recipe:
        measure(name, device, options)


def measure(name: str, device: Device, options: argparse.Namespace) -> None:
    """Measure one recipe and print."""
    recipe, clock = _recipe(name, device), CLOCKS[options.clock]
    precision = choose_precision("auto", device)
    limits, trainings = [], []
    with tempfile.TemporaryDirectory() as scratch:
        batch = recipe.train.batch_size
        store = noise_store(Path(scratch), recipe, batch * (options.steps + 1) + 1)
        for number in range(options.rounds):
            limits.append(batch / limit_step_s(recipe, store, device, precision, options.steps, clock))
            trainings.append(
                batch / training_step_s(recipe, store, device, precision, Path(scratch) / str(number), clock)
            )
    ratio = statistics.median(ours / limit for ours, limit in zip(trainings, limits, strict=True))
    how = f"precision {precision}, {'compiled' if recipe.train.compile else 'not compiled'}, batch {batch}"
    print(f"{name} on {device}, {how}, {options.rounds} rounds of {options.steps} steps, {options.clock} time")
    print(f"limit     {statistics.median(limits):9.1f} images/s")
    print(f"training  {statistics.median(trainings):9.1f} images/s")
    print(f"ratio     {ratio:9.3f}")


def limit_step_s(
    recipe: Recipe, store: PixelStore, device: Device, precision: Precision, steps: int, clock: Clock
) -> float:
    """Median seconds of a step over one fixed, normalised batch."""
    job = _job(recipe, store, device, precision, Path())
    data = StoreData(job.samples(store), job.train_rows, job.validation_rows, recipe.train)
    module = build_module(recipe, data, "32").to(device)
    network = torch.compile(module.network) if recipe.train.compile else module.network
    optimizer = build_optimizer(module.network.parameters(), recipe.train.optimizer, fused=True)
    batch = recipe.train.batch_size
    images = torch.randn(batch, store.images.shape[1], *recipe.preprocess.input_size, device=device)
    truth = torch.from_numpy(np.array(data.samples.truth[:batch])).to(device)
    table = () if job.labels is None else (torch.from_numpy(data.samples.table[:batch]).to(device),)
    seconds = []
    for _ in range(steps + 2):
        start = clock()
        optimizer.zero_grad()
        with torch.autocast(device, dtype=AUTOCAST.get(precision), enabled=precision in AUTOCAST):
            loss = module.loss(network(images, *table), truth)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return statistics.median(seconds[2:])


def training_step_s(
    recipe: Recipe, store: PixelStore, device: Device, precision: Precision, run_dir: Path, clock: Clock
) -> float:
    """Median seconds from one step of a training to the next."""
    at: list[float] = []

    def listen(progress: TrainProgress) -> None:
        if progress.line is None:
            at.append(clock())

    with StopRequest() as stop:
        fit(_job(recipe, store, device, precision, run_dir), store, Ledger.of(recipe.train), stop, listen)
    return float(statistics.median(np.diff(at)[1:].tolist()))


def noise_store(folder: Path, recipe: Recipe, count: int) -> PixelStore:
    """A store of noise; for masks, with a square lesion in every second slice."""
    generator = np.random.default_rng(0)
    shape = (len(recipe.data.channels), *recipe.preprocess.size)
    with_masks = recipe.task == "segmentation"
    with StoreWriter(folder, count, shape, np.uint8, masks=with_masks) as writer:
        for row in range(count):
            mask = np.zeros(shape[1:], np.uint8)
            mask[20:40, 20:40] = row % 2
            image = generator.integers(0, 256, shape, np.uint8)
            offset, scale = np.full(shape[0], 127, np.float32), np.full(shape[0], 0.02, np.float32)
            writer.put(row, image, mask if with_masks else None, offset, scale)
        return PixelStore.open(writer.publish("noise", [f"P{row:05d}" for row in range(count)], {}))


def _job(recipe: Recipe, store: PixelStore, device: Device, precision: Precision, run_dir: Path) -> Job:
    """Train on all rows but the last."""
    rows, last, compiled = np.arange(len(store) - 1), np.array([len(store) - 1]), bool(recipe.train.compile)
    labels = None if recipe.task == "segmentation" else _labels(recipe, store)
    return Job(recipe, rows, last, run_dir, {}, device, precision, compiled, None, labels)


def _labels(recipe: Recipe, store: PixelStore) -> LabelTable:
    """The classes in turn, or 0 and 1 for every target."""
    kind = label_kind(recipe)
    classes = len(recipe.data.labels.classes) if kind == "multi-class" else 2
    values = np.arange(len(store))[:, None] % classes
    return label_table(store.sample_ids, np.repeat(values, targets_of(recipe), axis=1))


def _recipe(name: str, device: Device) -> Recipe:
    recipe = load_recipe(name)
    plain = recipe.plain()
    pixels = recipe.train.epochs * IMAGES * math.prod(recipe.preprocess.size)
    compiled = choose_compiling("auto", device, pixels)
    settings = {"epochs": 1, "device": device, "precision": "auto", "checkpoint_minutes": None, "compile": compiled}
    plain["train"] |= settings
    if recipe.task != "segmentation":  # what `prepare` finds out; one image of validation has no ranking
        plain["train"]["monitor"] = "loss"
        plain["data"]["labels"]["kind"] = plain["data"]["labels"].get("kind", "auto").replace("auto", "binary")
    return Recipe.model_validate(plain)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["brain-mri-small", "brain-mri", "chest-xray"])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
