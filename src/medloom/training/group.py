"""Processes on several hosts that share each batch, as ``torchrun`` starts them.

The first of them does the whole work of a run; the others wait for its trainings, one for each fold or seed, are told
all that they need for each, and take part in these alone. They write nothing that is kept.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
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

__all__ = ["backend", "fit_in_group", "follow", "membership", "release"]

_TOLD = ("recipe.yaml", "catalogue.csv", "prepare.json", "table.json")
"""Files of a run by which another host makes the same pixel store from its own copy of the images."""

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
    _join()
    _broadcast({"job": replace(job, resume=None), "ledger": ledger.state(), "files": files, "checkpoint": checkpoint})
    with StopRequest() as stop:
        fit(job, store, ledger, stop, listener)


def release() -> None:
    """Let the others go: there is no further training."""
    _join()
    _broadcast(None)
    torch.distributed.barrier()  # one that ends while others still send may end them


def follow(scratch: Path, open_store: Callable[[Path], PixelStore]) -> None:
    """Take part in the trainings of the first process, until it lets this one go.

    Args:
        scratch: An empty folder, in which each training gets one that is a run directory as far as it needs one.
        open_store: Makes the pixel store of such a run directory.

    Raises:
        TrainingError: If the first process ended before.
    """
    for number in itertools.count():
        with _followed():
            _join()
            told = _broadcast(None)
        if told is None:
            break
        folder = scratch / str(number)
        folder.mkdir()
        _take_part(told, folder, open_store)
        shutil.rmtree(folder)
    torch.distributed.barrier()


@contextlib.contextmanager
def membership() -> Iterator[None]:
    """Leave the group at the end of the block, if it was joined in it; what waits for this process then ends, too."""
    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _take_part(told: dict[str, Any], folder: Path, open_store: Callable[[Path], PixelStore]) -> None:
    for name, content in told["files"].items():
        write_bytes(folder / name, content)
    resume = None if told["checkpoint"] is None else folder / LAST
    if resume is not None:
        write_bytes(resume, told["checkpoint"])
    job: Job = replace(told["job"], run_dir=folder, resume=resume)
    with StopRequest() as stop, contextlib.suppress(Interrupted):
        fit(job, open_store(folder), Ledger.from_state(told["ledger"]), stop, lambda event: None)


def _join() -> None:
    """Become one of the group, once: what ``torchrun`` says in the environment tells which."""
    if torch.distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group(backend(cuda=torch.cuda.is_available()), timeout=_LONGEST)


def backend(*, cuda: bool) -> str:
    """Return what the processes talk by: NCCL between GPUs; gloo for all else, such as what the others are told.

    Args:
        cuda: Whether there are GPUs.
    """
    return "cpu:gloo,cuda:nccl" if cuda else "gloo"


@contextlib.contextmanager
def _followed() -> Iterator[None]:
    """Say what it means when the first process is gone while this one waits for it."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError("the first host ended before this one; its log says why") from error


def _broadcast(told: dict[str, Any] | None) -> Any:  # noqa: ANN401 - what the first process says
    said = [told]
    torch.distributed.broadcast_object_list(said, 0, device=torch.device("cpu"))
    return said[0]
