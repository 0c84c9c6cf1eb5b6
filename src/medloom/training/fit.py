"""One process's part in a training: build everything, hand it to Lightning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy

from medloom.models.classifier import Classifier
from medloom.models.kinds import class_counts, label_kind
from medloom.recipe import Recipe
from medloom.training.allocator import keep_freed_memory
from medloom.training.batches import Rows
from medloom.training.checkpoint import TreeCheckpointIO
from medloom.training.data import StoreData
from medloom.training.keeper import Keeper
from medloom.training.ledger import Ledger
from medloom.training.module import TaskModule
from medloom.training.precision import LIGHTNING_PRECISION, Precision
from medloom.training.progress import Listener
from medloom.training.quiet import quiet_lightning
from medloom.training.samples import LabelTable, Samples, samples_with_labels, samples_with_masks
from medloom.training.signals import StopRequest
from medloom.training.tasks import build_task, build_task_loss, build_task_network
from medloom.transforms.augment import Augment

if TYPE_CHECKING:
    from medloom.data.store import PixelStore

__all__ = ["Job", "build_module", "fit"]


@dataclass(frozen=True)
class Job:
    """Everything one process needs to take its part in a training, in plain types.

    Args:
        recipe: The recipe.
        train_rows: Rows of the store to train on.
        validation_rows: Rows of the store to validate on.
        run_dir: The run directory.
        identity: What the run stands on.
        device: ``cpu`` or ``cuda``.
        precision: Of the network's arithmetic.
        compiled: Whether the network is compiled.
        resume: The checkpoint to go on from, or None.
        labels: Labels and metadata of the samples; None where the store has masks.
    """

    recipe: Recipe
    train_rows: Rows
    validation_rows: Rows
    run_dir: Path
    identity: dict[str, Any]
    device: str
    precision: Precision
    compiled: bool
    resume: Path | None
    labels: LabelTable | None = None

    def samples(self, store: PixelStore) -> Samples:
        """Return the pixels beside what is to be learned from them."""
        return samples_with_masks(store) if self.labels is None else samples_with_labels(store, self.labels)


def build_module(recipe: Recipe, data: StoreData, precision: Precision, *, compiled: bool = False) -> TaskModule:
    """Build what is trained, with fresh weights that follow from the recipe's seed.

    Args:
        recipe: The recipe.
        data: Its samples say how many channels and columns there are, and how often each class.
        precision: Of the network's arithmetic.
        compiled: Whether the network is compiled.
    """
    torch.manual_seed(recipe.train.seed)
    samples = data.samples
    network = build_task_network(recipe, samples.images.shape[1], samples.table.shape[1])
    counts, deviations = None, None
    if isinstance(network, Classifier):  # masks are not counted, and all of them would have to be read
        truth = samples.truth[data.train_rows]
        counts = class_counts(recipe, truth)
        if label_kind(recipe) == "real":
            deviations = [float(value) or 1.0 for value in truth.std(axis=0)]
            network.standardise(torch.from_numpy(truth.mean(axis=0)), torch.tensor(deviations))
    loss = build_task_loss(recipe, counts, deviations)
    task = build_task(recipe, len(data.validation_rows))
    augment = Augment(recipe.augment, recipe.preprocess.crop)
    return TaskModule(network, loss, task, augment, recipe.train, data.steps_per_epoch, precision, compiled=compiled)


def fit(job: Job, store: PixelStore, ledger: Ledger, stop: StopRequest, listener: Listener) -> None:
    """Let Lightning train, without touching the caller's random numbers.

    Args:
        job: What to do.
        store: The pixels.
        ledger: The history so far.
        stop: Whether someone asked the run to stop.
        listener: Who is told of progress.

    Raises:
        Interrupted: If the run was asked to stop; it has written its checkpoint.
        NonFiniteStep: If a loss or gradient is NaN or infinite.
    """
    config = job.recipe.train
    keep_freed_memory()
    data = StoreData(job.samples(store), job.train_rows, job.validation_rows, config)
    with quiet_lightning(), torch.random.fork_rng():
        module = build_module(job.recipe, data, job.precision, compiled=job.compiled)
        keeper = Keeper(job.run_dir, job.identity, ledger, module, data, store.sample_ids, stop, listener)
        trainer = _trainer(job, keeper)
        trainer.fit(module, datamodule=data, ckpt_path=job.resume, weights_only=True)


def _trainer(job: Job, keeper: Keeper) -> Trainer:
    """Lightning's trainer with everything off that Medloom does itself."""
    return Trainer(
        accelerator="gpu" if job.device == "cuda" else "cpu",
        devices=job.recipe.train.devices,
        strategy=_strategy(job),
        precision=LIGHTNING_PRECISION[job.precision],
        max_epochs=job.recipe.train.epochs,
        callbacks=[keeper],
        plugins=[TreeCheckpointIO()],
        default_root_dir=job.run_dir,
        benchmark=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _strategy(job: Job) -> Strategy | str:
    """Data-parallel between the processes that ``processes`` has started, if there are several."""
    if job.recipe.train.devices == 1:
        return "auto"
    backend = "nccl" if job.device == "cuda" else "gloo"
    return DDPStrategy(cluster_environment=LightningEnvironment(), process_group_backend=backend)
