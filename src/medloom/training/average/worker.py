"""What a worker computes: the gradient of a shard of a batch, or the weights after some steps on its shards."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from medloom.data.store import PixelStore
from medloom.errors import DataError, RecipeError
from medloom.models.losses import counted
from medloom.rounds.arrays import Arrays
from medloom.rounds.protocol import Manifest, Shard
from medloom.rounds.working import Made
from medloom.training.allocator import keep_freed_memory
from medloom.training.average.drawing import DrawnAsWhole
from medloom.training.average.tensors import gradients_of, put_network, put_state, state_of, tensors_of
from medloom.training.batches import Batch, Pixels, Rows, place_samples
from medloom.training.fit import Job, build_data, build_module
from medloom.training.module import TaskModule, total_norm
from medloom.training.quiet import quiet_lightning
from medloom.training.samples import Samples
from medloom.training.seeds import seed_device, step_generator, step_seed

__all__ = ["ShardModule", "Worker", "make_worker"]

_ONE_VALUE = "Expected more than 1 value per channel"
"""What torch says of a batch whose statistics would be those of one number."""


class ShardModule(TaskModule):
    """The network of a worker: losses of parts of batches, as they are in the whole batch."""

    def begin(self, arrays: Arrays, epoch: int) -> None:
        """Take over weights, and everything that depends on the epoch."""
        put_network(self.network, arrays)
        self.train()
        self.network.set_epoch(epoch)
        self._weigh(epoch)

    def loss_of(
        self, samples: Samples, pixels: Pixels, rows: Rows, part: tuple[int, int], step: int
    ) -> tuple[Tensor, float]:
        """Return the loss of a part of a batch, and of how many images or labels it is the mean.

        What is random is the same as in one process with the whole batch.

        Args:
            samples: The arrays.
            pixels: Where they are read.
            rows: Of the whole batch.
            part: First image and the one behind the last.
            step: From 0.
        """
        first, last = part
        params = self.augment.sample(
            len(rows), samples.channels, samples.images.shape[2:], step_generator(self.seed, step)
        )
        # An image is mixed with the one before it, which may be another worker's.
        beside = int(params.mixing is not None and last - first < len(rows))
        picks = np.arange(first - beside, last) % len(rows)
        batch = Batch(*pixels.take(rows[picks]), rows, picks, len(picks))
        seed_device(self.device, step_seed(self.seed, step))
        bf16 = self.precision == "bf16"

        def forward(images: Tensor, *further: Tensor) -> Tensor:
            with DrawnAsWhole(first, last - first, len(rows)):
                logits: Tensor = self.network(images[beside:], *(one[beside:] for one in further))
            return logits

        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits, truth = self.task.learn(forward, self.augment, batch, params.part(torch.from_numpy(picks)))
            loss: Tensor = self.loss(logits, truth[beside:])
        return loss, counted(self.loss, logits, truth[beside:])

    def optimizer(self, arrays: Arrays) -> torch.optim.Optimizer:
        """Return an optimiser that remembers what it is given."""
        made = self._make_optimizer(self.network)
        put_state(self.network, made, arrays)
        return made

    def cut_gradients(self) -> None:
        """Clip by the norm of these gradients."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        if self.clip is not None and gradients:
            norm = total_norm(gradients)
            if float(norm) > self.clip:
                clip_grads_with_norm_(self._weights, self.clip, norm)


class Worker:
    """Computes what a round asks for. It keeps nothing between two orders but the network's memory.

    Args:
        job: What is trained.
        store: The pixels.
    """

    def __init__(self, job: Job, store: PixelStore) -> None:
        with quiet_lightning(), torch.random.fork_rng():
            data = build_data(job, store)
            self.module = cast("ShardModule", build_module(job.recipe, data, job.precision, make=ShardModule))
        device = torch.device(job.device)
        self.module.to(device)
        self.samples, self.key = data.samples, store.key
        self.pixels = place_samples(data.samples, device)

    def __call__(self, manifest: Manifest, shard: Shard, arrays: Arrays) -> Made:
        """See ``medloom.rounds.working.Compute``."""
        work = manifest.work
        if work["store"] != self.key:
            raise DataError("the pixel store of this worker is not the one that the training is on")
        self.module.begin(arrays, work["epoch"])
        try:
            made = (self._gradients if work["of"] == "gradients" else self._weights)(manifest, shard, arrays)
        except ValueError as error:
            if _ONE_VALUE not in str(error):
                raise
            raise RecipeError(
                "train.average.workers: a shard has one image, and of one image this small the network cannot take the "
                "statistics that it normalises by: take fewer workers or a larger train.batch_size"
            ) from error
        return made

    def _gradients(self, manifest: Manifest, shard: Shard, arrays: Arrays) -> Made:
        loss, count = self._backward(manifest, shard, 0)
        found = {**gradients_of(self.module.network), **tensors_of(self.module.network, weights=False)}
        return {**found, "loss": np.array(loss)}, count, {}

    def _weights(self, manifest: Manifest, shard: Shard, arrays: Arrays) -> Made:
        network, optimizer = self.module.network, self.module.optimizer(arrays)
        losses: list[float] = []
        counts: list[float] = []
        for number, (first, last) in enumerate(shard.parts):
            if first == last:
                continue
            for group, rate in zip(optimizer.param_groups, manifest.work["rates"][number], strict=True):
                group["lr"] = rate
            loss, count = self._backward(manifest, shard, number)
            self.module.cut_gradients()
            optimizer.step()
            losses.append(loss)
            counts.append(count)
        mean = np.average(losses, weights=counts) if sum(counts) else np.mean(losses)
        return {**tensors_of(network), **state_of(network, optimizer), "loss": np.array(mean)}, sum(counts), {}

    def _backward(self, manifest: Manifest, shard: Shard, number: int) -> tuple[float, float]:
        """Take the gradient of a part of a batch; return its loss and how much it counts."""
        module, rows = self.module, np.array(manifest.batches[number], np.int64)
        module.zero_grad(set_to_none=True)
        step = manifest.work["step"] + number
        loss, count = module.loss_of(self.samples, self.pixels, rows, shard.parts[number], step)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), count


def make_worker(job: Job, store: Path, threads: int) -> Worker:
    """Make a worker in a process of its own.

    Args:
        job: What is trained.
        store: Where the pixels are.
        threads: That it computes with.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    return Worker(job, PixelStore.open(store))
