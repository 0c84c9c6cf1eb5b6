"""A training by workers on this machine: processes that are started, given rounds, and ended."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch

from medloom.data.store import PixelStore
from medloom.events import Listener, Noted, Warned
from medloom.rounds.coordinator import Coordinator, Rules
from medloom.rounds.processes import Processes
from medloom.rounds.store import FolderStore
from medloom.signals import StopRequest
from medloom.training.average.equality import unequal_texts
from medloom.training.average.module import AveragedModule
from medloom.training.average.worker import make_worker
from medloom.training.data import StoreData
from medloom.training.fit import Job, build_data, build_module, fit
from medloom.training.ledger import Ledger
from medloom.training.module import TaskModule
from medloom.wording import counted

__all__ = ["ROUNDS", "fit_by_workers"]

ROUNDS = Path("rounds")
"""Folder of the rounds in the run directory, while a training goes on."""


_IMPORTED = ("medloom.training.loop", "medloom.training.average.worker")
"""What the process that workers are forked from imports: torch takes seconds."""


def fit_by_workers(job: Job, store: PixelStore, ledger: Ledger, stop: StopRequest, listener: Listener) -> None:
    """Let workers train, as ``fit`` does in one process.

    Args:
        job: What to do.
        store: The pixels.
        ledger: The history so far.
        stop: Whether someone asked the run to stop.
        listener: Who is told of batches and epochs, and may ask the run to stop.

    Raises:
        Interrupted: If the run was asked to stop; it has written its checkpoint.
        NonFiniteStep: If a loss or gradient is NaN or infinite.
        RoundError: If a shard was not to be had.
    """
    config = job.recipe.train.average
    folder = job.run_dir / ROUNDS
    shutil.rmtree(folder, ignore_errors=True)  # of a coordinator that was killed; its last round comes again
    rounds, threads = FolderStore(folder), max(1, _threads() // config.workers)
    given = (replace(job, resume=None), store.path, threads)
    try:
        with Processes(config.workers, rounds, make_worker, given, preload=_IMPORTED) as workers:
            workers.start()
            rules = Rules(quorum=config.quorum, lease_s=config.lease, attempts=config.attempts)
            coordinator = Coordinator(rounds, workers, rules)
            fit(job, store, ledger, stop, listener, partial(_build, coordinator))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build(coordinator: Coordinator, job: Job, store: PixelStore, listener: Listener) -> tuple[StoreData, TaskModule]:
    """Build what trains here: the network and its optimiser, and no pixels but those of the validation."""
    config = job.recipe.train.average
    data = build_data(job, store, steps_in_batch=config.every, reads=False)
    make = partial(AveragedModule, coordinator=coordinator, config=config, data=data, key=store.key)
    module = cast("AveragedModule", build_module(job.recipe, data, job.precision, make=make))
    module.unequal = unequal_texts(job.recipe, module, data)
    listener(Noted(f"{counted(config.workers, 'worker')} share each batch; their {config.of} are averaged"))
    for text in module.unequal:
        listener(Warned(text))
    return data, module


def _threads() -> int:
    """Threads of the workers together: what OMP_NUM_THREADS says, else every core."""
    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else os.cpu_count() or 1
