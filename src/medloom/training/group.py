"""Processes on several hosts that share each batch, as ``torchrun`` starts them.

The first of them does the whole work of a run; the others wait for its training, are told all that they need for it,
and take part in it alone. They write nothing that is kept.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from medloom.data.store import PixelStore
from medloom.errors import TrainingError
from medloom.events import Listener
from medloom.files import write_bytes
from medloom.signals import StopRequest
from medloom.training.checkpoint import LAST
from medloom.training.fit import Job, fit
from medloom.training.keeper import Interrupted
from medloom.training.ledger import Ledger

__all__ = ["fit_in_group", "follow", "release"]

_TOLD = ("recipe.yaml", "catalogue.csv", "prepare.json", "table.json")
"""Files of a run by which another host makes the same pixel store from its own copy of the images."""

_met: list[bool] = []
"""Whether this process has been in the group."""

_LONGEST = timedelta(days=7)
"""The others wait while the first one prepares."""


def fit_in_group(job: Job, store: PixelStore, ledger: Ledger, listener: Listener) -> None:
    """Fit together with the processes that wait in ``follow``.

    Args:
        job: What to do.
        store: The pixels.
        ledger: The history so far.
        listener: Who is told of batches and epochs, and may ask the run to stop.
    """
    files = {name: path.read_bytes() for name in _TOLD if (path := job.run_dir / name).is_file()}
    checkpoint = None if job.resume is None else job.resume.read_bytes()
    told = {"job": replace(job, resume=None), "ledger": ledger.state(), "files": files, "checkpoint": checkpoint}
    with _joined():
        _met.append(True)
        _broadcast(told)
        with StopRequest() as stop:
            fit(job, store, ledger, stop, listener)
        _part()


def release() -> None:
    """Let those go that wait for a training that did not come, because it was done before."""
    if not _met:
        with _joined():
            _broadcast(None)


def follow(scratch: Path, open_store: Callable[[Path], PixelStore]) -> None:
    """Wait for the training of the first process and take part in it.

    Args:
        scratch: An empty folder, which becomes a run directory as far as the training needs one.
        open_store: Makes the pixel store of the run directory there.

    Raises:
        TrainingError: If the first process ended before.
    """
    with _followed(), _joined():
        told = _broadcast(None)
        if told is None:
            return
        for name, content in told["files"].items():
            write_bytes(scratch / name, content)
        if told["checkpoint"] is not None:
            write_bytes(scratch / LAST, told["checkpoint"])
        resume = None if told["checkpoint"] is None else scratch / LAST
        job: Job = replace(told["job"], run_dir=scratch, resume=resume)
        with StopRequest() as stop, contextlib.suppress(Interrupted):
            fit(job, open_store(scratch), Ledger.from_state(told["ledger"]), stop, lambda event: None)
            _part()


@contextlib.contextmanager
def _joined() -> Iterator[None]:
    """Be one of the group: what ``torchrun`` says in the environment tells which."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group(backend, timeout=_LONGEST)
    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _followed() -> Iterator[None]:
    """Say what it means when the others are gone."""
    try:
        yield
    except torch.distributed.DistError as error:
        raise TrainingError("the first host ended before this one; its log says why") from error


def _part() -> None:
    """Leave only when all are done: one that ends while others still send may end them."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _broadcast(told: dict[str, Any] | None) -> Any:  # noqa: ANN401 - what the first process says
    said = [told]
    torch.distributed.broadcast_object_list(said, 0, device=torch.device("cpu"))
    return said[0]
