"""The soup of several trainings of one recipe: the mean of their weights, its batch statistics taken anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.data.context import rows_beside
from medloom.models.network import Network
from medloom.models.soup import average_weights, renewable_norms
from medloom.recipe import Recipe
from medloom.training.batches import Batch, Rows, place_samples
from medloom.training.best import load_best
from medloom.training.kinds import KINDS
from medloom.training.precision import choose_device

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.store import PixelStore

__all__ = ["make_soup", "renew_statistics"]


def make_soup(recipe: Recipe, runs: Sequence[Path], catalogue: pd.DataFrame, store: PixelStore) -> Network:
    """Return the mean of the best weights of several trainings, its batch statistics those of training images.

    Args:
        recipe: Their recipe.
        runs: Their run directories.
        catalogue: Of the samples from which the statistics are taken, and no other.
        store: The pixels.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        TrainingError: If one of them has no best weights.
    """
    members = [load_best(run, recipe) for run in runs]
    soup = average_weights(members)
    norms = renewable_norms(soup, members)
    if norms:
        rows = store.rows(catalogue["sample_id"].tolist())
        renew_statistics(soup, norms, recipe, catalogue, store, rows)
    return soup


def renew_statistics(
    network: Network,
    norms: Sequence[_BatchNorm],
    recipe: Recipe,
    catalogue: pd.DataFrame,
    store: PixelStore,
    rows: Rows,
) -> None:
    """Set the running statistics of batch norms to the mean over batches of images, as the network sees them.

    Everything else of the network answers as in evaluation, so nothing is dropped out and no other statistic moves.

    Args:
        network: On the CPU; it is there again afterwards.
        norms: Those of its layers whose statistics are renewed.
        recipe: Says how large a batch is and how images are normalised.
        catalogue: Which samples lie beside which.
        store: The pixels.
        rows: Rows of the store that are looked at.
    """
    device = torch.device(choose_device(recipe.train.device, 1))
    kind = KINDS[recipe.target.kind]
    samples = kind.read_truth(catalogue, None).samples(store)
    context = rows_beside(catalogue, store.rows, len(store), recipe.data.context)
    pixels, task = place_samples(replace(samples, context=context), device), kind.task(recipe, 0)
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
        norm.train()
    network.to(device)
    with torch.no_grad():
        for chosen in _batches(rows, recipe.train.images_per_step, recipe.train.seed):
            task.answer(network.forward, Batch(*pixels.take(chosen), chosen, np.arange(len(chosen)), len(chosen)))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    network.eval().to("cpu")


def _batches(rows: Rows, size: int, seed: int) -> list[Rows]:
    """Shuffled, since neighbours are alike; a single image that is left over has no statistics of its own."""
    order = np.random.default_rng(seed).permutation(rows)
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    return [batch for batch in batches if len(batch) > 1] or batches
