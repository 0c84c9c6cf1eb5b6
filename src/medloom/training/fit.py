"""One process's part in a training: build everything, hand it to Lightning."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import DDPStrategy, Strategy
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.optim import Optimizer

from medloom.errors import RecipeError
from medloom.events import Listener, Noted, Warned
from medloom.memory import kept_within_memory
from medloom.models import kinds as models
from medloom.models.network import Network
from medloom.models.soft_losses import DistilledLoss
from medloom.recipe import Recipe
from medloom.recipe.sections.training import TrainConfig
from medloom.registry import METRICS
from medloom.signals import StopRequest
from medloom.training.allocator import keep_freed_memory
from medloom.training.averaging import Averaging
from medloom.training.batch_norm import share_statistics
from medloom.training.batches import Rows
from medloom.training.checkpoint import TreeCheckpointIO
from medloom.training.data import StoreData
from medloom.training.diagnosis.watch import build_diagnosis
from medloom.training.distillation import DistilledTask, Teachers
from medloom.training.keeper import Keeper
from medloom.training.kinds import KINDS
from medloom.training.ledger import Ledger
from medloom.training.micro import MicroBatches, normalises_by_batches
from medloom.training.module import TaskModule
from medloom.training.precision import LIGHTNING_PRECISION, Precision, choose_channels_last
from medloom.training.profiling.profile import build_profile
from medloom.training.quiet import quiet_lightning
from medloom.training.ranks import is_in_group, processes_here
from medloom.training.schedule import Cosine, Plateau, Schedule, build_optimizer
from medloom.training.tasks import Truth

if TYPE_CHECKING:
    from medloom.data.store import PixelStore

__all__ = ["Job", "build", "build_data", "build_module", "build_trainer", "fit", "within_memory"]

_OVER_BATCHES = (
    "train.devices: the loss {name} is over the batch as a whole, and each of the {devices} processes takes it over "
    "its share, so they do not train as one would; with loss.args={{batch: false}} they do"
)


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
        truth: What is learned, apart from the pixels.
        context: ``(N, 2k + 1)`` rows of the store that are seen with each; None for each by itself.
        teachers: Networks whose answers are learned in the place of the truth; None for the truth.
        validates: Whether there are validation samples.
        micro_batch: Images at a time that are known to find room; None: it is tried with all of a batch.
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
    truth: Truth
    context: NDArray[np.int64] | None = None
    teachers: Teachers | None = None
    validates: bool = True
    micro_batch: int | None = None

    @property
    def devices(self) -> int:
        """Number of processes that share each batch."""
        return self.recipe.train.devices


def build_data(job: Job, store: PixelStore, *, steps_in_batch: int = 1, reads: bool = True) -> StoreData:
    """Put the pixels beside what is to be learned from them.

    Args:
        job: What to do.
        store: The pixels.
        steps_in_batch: As for ``StoreData``.
        reads: As for ``StoreData``.

    Raises:
        DataError: If the samples do not suffice for what the recipe asks.
    """
    kind, config = KINDS[job.recipe.target.kind], job.recipe.train
    data = StoreData(
        replace(job.truth.samples(store), context=job.context),
        job.train_rows,
        job.validation_rows,
        batch_size=config.images_per_step,
        validation_batch_size=config.validation_batch_size,
        seed=config.seed,
        positive_share=kind.positive_share(job.recipe),
        validates=job.validates,
        steps_in_batch=steps_in_batch,
        reads=reads,
    )
    if job.validates:
        kind.check(data.samples, job.validation_rows, config.monitor)
    return data


def build_module(
    recipe: Recipe,
    data: StoreData,
    precision: Precision,
    *,
    compiled: bool = False,
    teachers: Teachers | None = None,
    make: Callable[..., TaskModule] = TaskModule,
) -> TaskModule:
    """Build what is trained, with fresh weights that follow from the recipe's seed.

    Args:
        recipe: The recipe.
        data: Its samples say how many channels and columns there are, and how often each class.
        precision: Of the network's arithmetic.
        compiled: Whether the network is compiled.
        teachers: Networks whose answers are learned in the place of the truth.
        make: Takes what ``TaskModule`` takes.
    """
    kind, model, config = KINDS[recipe.target.kind], models.KINDS[recipe.target.kind], recipe.train
    torch.manual_seed(config.seed)
    network = model.build_network(recipe, data.samples.channels, data.samples.table.shape[1])
    truth = kind.fitted_truth(data.samples, data.train_rows)
    model.standardise(network, truth)
    if choose_channels_last(config.channels_last, network, compiled=compiled):
        # what goes in follows: a convolution takes its weight's order
        convert_conv2d_weight_memory_format(network, torch.channels_last)
    task, loss = kind.task(recipe, len(data.validation_rows)), model.build_loss(recipe, truth)
    if teachers is not None:
        task = DistilledTask(task, teachers.ensemble(), teachers.metadata)
        loss = DistilledLoss(model.build_soft_loss(recipe, truth, teachers.temperature), loss)
    module = make(
        network,
        loss,
        task,
        kind.augment(recipe),
        make_optimizer=_optimizer(config, precision),
        schedule=_schedule(config, data.optimizer_steps),
        averaging=_averaging(config, network),
        steps_per_epoch=data.steps_per_epoch,
        batch_size=config.images_per_step,
        seed=config.seed,
        clip=config.clip,
        precision=precision,
        compiled=compiled,
        micro=_micro_batches(config, network),
    )
    if config.devices > 1 and share_statistics(network, module.part) and config.micro_batch is not None:
        raise RecipeError(
            "train.micro_batch: expected empty with several train.devices and a network that normalises by batches, "
            "which takes its statistics over all of them together"
        )
    return module


def _micro_batches(config: TrainConfig, network: Network) -> MicroBatches:
    each = -(-config.images_per_step // config.devices)
    return MicroBatches(network, each, config.micro_batch, retries=config.devices == 1)


def _optimizer(config: TrainConfig, precision: Precision) -> Callable[[Network], Optimizer]:
    fused = precision != "fp16"  # a fused step would undo the loss scaling itself, too late for clipping
    settings = config.optimizer.model_dump()

    def build(network: Network) -> Optimizer:
        return build_optimizer(network.parameter_groups(config.optimizer.lr), **settings, fused=fused)

    return build


def _schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    schedule = config.schedule
    schedules: dict[str, Callable[[], Schedule]] = {
        "cosine": lambda: Cosine(config.optimizer.lr, config.epochs * steps_per_epoch, schedule.warmup),
        "plateau": lambda: Plateau(
            schedule.factor, schedule.patience, larger_is_better=METRICS[config.monitor].larger_is_better
        ),
        "none": Schedule,
    }
    return schedules[schedule.name]()


def _averaging(config: TrainConfig, network: Network) -> Averaging | None:
    if config.averaging == "none":
        return None
    if config.averaging == "ema":
        return Averaging(network, decay=config.ema_decay)
    return Averaging(network, decay=None, first_epoch=int(config.swa_start * config.epochs))


def build(job: Job, store: PixelStore, listener: Listener) -> tuple[StoreData, TaskModule]:
    """Build everything that one process trains by itself, or as one of those that share each batch."""
    data = build_data(job, store)
    return data, build_module(job.recipe, data, job.precision, compiled=job.compiled, teachers=job.teachers)


def fit(
    job: Job,
    store: PixelStore,
    ledger: Ledger,
    stop: StopRequest,
    listener: Listener,
    build: Callable[[Job, PixelStore, Listener], tuple[StoreData, TaskModule]] = build,
) -> None:
    """Let Lightning train, without touching the caller's random numbers.

    Args:
        job: What to do.
        store: The pixels.
        ledger: The history so far.
        stop: Whether someone asked the run to stop.
        listener: Who is told of batches and epochs, and may ask the run to stop.
        build: Makes what is trained and what it is trained on.

    Raises:
        Interrupted: If the run was asked to stop; it has written its checkpoint.
        NonFiniteStep: If a loss or gradient is NaN or infinite.
    """
    config = job.recipe.train
    keep_freed_memory()
    with quiet_lightning(), torch.random.fork_rng(), within_memory(job):
        data, module = build(job, store, listener)
        if module.network.origin is not None:
            listener(Noted(f"the network {module.network.origin.text()}"))
        module.micro.tell = lambda text: listener(Warned(text))
        module.micro.release = data.release
        module.micro.take_up({"micro_batch": job.micro_batch})
        if module.micro.piece < module.micro.batch_size:
            said = normalises_by_batches(module.network)
            listener((Warned if said else Noted)(module.micro.text()))
        if job.devices > 1 and _is_over_batches(module.loss):
            listener(Warned(_OVER_BATCHES.format(name=job.recipe.loss.name, devices=job.devices)))
        diagnosis = build_diagnosis(
            job.recipe, job.run_dir, module, data, store.sample_ids, stop, listener, seen=module.sees_activations
        )
        profile = build_profile(job.recipe, job.run_dir, listener, goes_on=job.resume is not None)
        keeper = Keeper(
            job.run_dir,
            job.identity,
            ledger,
            module,
            data,
            store.sample_ids,
            stop,
            listener if profile is None else profile.listener,
            epochs=config.epochs,
            diagnosis=diagnosis,
            checkpoint_minutes=config.checkpoint_minutes,
        )
        callbacks = [callback for callback in (diagnosis, keeper, profile) if callback is not None]
        trainer = build_trainer(job, *callbacks, profiler=None if profile is None else profile.actions)
        trainer.fit(module, datamodule=data, ckpt_path=job.resume, weights_only=True)


def within_memory(job: Job) -> AbstractContextManager[None]:
    """Let a training on a CPU be told when memory runs out, before the system kills it; a GPU tells by itself."""
    return kept_within_memory(job.devices) if job.device == "cpu" else nullcontext()


def _is_over_batches(loss: nn.Module) -> bool:
    """Whether a loss, or a part of it, is no mean over images; MONAI calls that ``batch``."""
    return any(getattr(part, "batch", False) is True for part in loss.modules())


def build_trainer(
    job: Job,
    *callbacks: Callback,
    profiler: Profiler | None = None,
    steps: int | None = None,
    validation_steps: int | None = None,
) -> Trainer:
    """Return Lightning's trainer with everything off that Medloom does itself.

    Args:
        job: What to do.
        callbacks: Told of what happens, in this order.
        profiler: Told of everything that the loop begins and ends.
        steps: Ends after so many training steps; None for the whole training.
        validation_steps: Ends a validation after so many; None for all.
    """
    return Trainer(
        accelerator="gpu" if job.device == "cuda" else "cpu",
        devices=processes_here(job.devices),
        num_nodes=job.devices // processes_here(job.devices),
        strategy=_strategy(job),
        precision=LIGHTNING_PRECISION[job.precision],
        max_epochs=job.recipe.train.epochs if steps is None else 1,
        limit_train_batches=steps,
        limit_val_batches=validation_steps if job.validates else 0,
        callbacks=list(callbacks),
        profiler=profiler,
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
    if job.devices == 1:
        return "auto"
    backend = "nccl" if job.device == "cuda" else "gloo"
    started = TorchElasticEnvironment() if is_in_group() else LightningEnvironment()
    return DDPStrategy(cluster_environment=started, process_group_backend=backend)
