"""Whether a training by workers is that of whole batches, and what makes it another.

It is where everything that is averaged is linear in the gradient and the loss is a mean over images. What breaks that
is said before the training starts, and stays in the run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medloom.models.losses import counted, sums_in
from medloom.recipe import Recipe
from medloom.training.data import StoreData
from medloom.training.micro import normalises_by_batches
from medloom.training.module import TaskModule

__all__ = ["is_additive", "unequal_texts"]

_BEGIN = "train.strategy=average is not the training with whole batches here: "
_ADAPTIVE = (
    "{name} divides by what it has seen of the gradient, so the mean of the weights that several have stepped to is no "
    "step with the mean gradient; with train.average.of=gradients it is, or with train.optimizer.name=sgd"
)
_EVERY = (
    "the weights are averaged every {every} steps, and between two averages each worker goes its own way; with "
    "train.average.every=1 they do not"
)
_CLIP = (
    "train.clip={clip:g} cuts each worker's gradient by its own norm; with train.average.of=gradients the mean is cut, "
    "and train.clip=null cuts none"
)
_NORMS = (
    "the network normalises by batches, and each worker takes the statistics of its own shard; a network with instance "
    "or group normalisation has none to take, and one with pretrained weights can keep those that it came with "
    "(model.freeze_statistics=true)"
)
_LOSS = (
    "the loss {name} of a batch is not the mean of the losses of its images, so shards do not add up to it; "
    "of a loss for masks, loss.args={{batch: false}} takes the mean over the images"
)
_QUORUM = (
    "train.average.quorum={quorum:g} lets a step go on without the images of workers that are late, and which they are "
    "is another each time; with 1 all are waited for"
)
_PROBED = 4
"""Images with foreground, and as many others, on which the loss is probed."""
_CLOSE = 1e-4
"""Relative; sums in float32 differ by less, and shares of a Dice loss by more."""


def unequal_texts(recipe: Recipe, module: TaskModule, data: StoreData) -> list[str]:
    """Return why a training by workers is not that of whole batches, a sentence each; none where it is.

    Args:
        recipe: With ``train.strategy: average``.
        module: What is trained.
        data: What it is trained on; the loss is probed on some of its truth.
    """
    return [_BEGIN + text for text in _texts(recipe, module, data)]


def _texts(recipe: Recipe, module: TaskModule, data: StoreData) -> Iterator[str]:
    config, average = recipe.train, recipe.train.average
    if average.of == "weights":
        if config.optimizer.name != "sgd":
            yield _ADAPTIVE.format(name=config.optimizer.name)
        if average.every > 1:
            yield _EVERY.format(every=average.every)
        if config.clip is not None and average.workers > 1:
            yield _CLIP.format(clip=config.clip)
    if average.workers > 1:
        if normalises_by_batches(module.network) and _takes_statistics(module, config.epochs):
            yield _NORMS
        if not is_additive(module.loss, _truth(data), recipe.predicts().outputs, config.epochs):
            yield _LOSS.format(name=recipe.loss.name)
    if average.quorum < 1:
        yield _QUORUM.format(quorum=average.quorum)


def _takes_statistics(module: TaskModule, epochs: int) -> bool:
    """Whether a batch normalisation learns its statistics in the last epoch, when the most is unfrozen."""
    network, training = module.network, module.network.training
    network.train()
    network.set_epoch(epochs - 1)
    found = any(isinstance(one, nn.modules.batchnorm._BatchNorm) and one.training for one in network.modules())
    network.set_epoch(0)
    network.train(training)
    return found


def _truth(data: StoreData) -> NDArray[np.generic]:
    """Some of the truth, of images with and without foreground."""
    rows, positive = data.train_rows, data.samples.positive[data.train_rows]
    some = np.concatenate([rows[positive][:_PROBED], rows[~positive][:_PROBED]])
    return np.asarray(data.samples.truth[some])


def is_additive(loss: nn.Module, truth: NDArray[np.generic], outputs: int, epochs: int = 1) -> bool:
    """Whether the loss of a batch is the mean of those of its parts, each counted by its images or labels.

    Tried with random answers to some truth, in the first epoch and the last.

    Args:
        loss: Takes logits and truth.
        truth: ``(N, H, W)`` class indices, or ``(N, T)`` labels.
        outputs: K.
        epochs: Of the training; the weights of a sum of losses may change over them.
    """
    if len(truth) < 2:
        return True
    target = torch.from_numpy(truth.copy())
    generator = torch.Generator().manual_seed(0)
    shape = (len(target), outputs, *target.shape[1:]) if target.dim() == 3 else (len(target), outputs)
    logits = 2.0 * torch.randn(shape, generator=generator)
    found = True
    with torch.no_grad():
        for epoch in {0, epochs - 1}:
            for one in sums_in(loss):
                one.set_epoch(epoch)
            found = found and all(_adds_up(loss, logits, target, cut) for cut in {1, len(target) // 2})
        for one in sums_in(loss):
            one.set_epoch(0)
    return found


def _adds_up(loss: nn.Module, logits: Tensor, target: Tensor, cut: int) -> bool:
    parts = [(logits[:cut], target[:cut]), (logits[cut:], target[cut:])]
    counts = [counted(loss, *part) for part in parts]
    if not sum(counts):
        return True
    together = sum(float(loss(*part)) * count for part, count in zip(parts, counts, strict=True)) / sum(counts)
    whole = float(loss(logits, target))
    return abs(together - whole) <= _CLOSE * max(abs(whole), 1e-3)
