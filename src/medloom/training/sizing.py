"""How many images a step may have on this machine: real steps, of more and more images, in a process of its own.

The process can be killed for want of memory without harm, and its largest memory is that of these steps alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback

from medloom.data.store import PixelStore
from medloom.errors import MedloomError, NoMemoryError, TrainingError, UserError
from medloom.memory import available_bytes, peak_rss_bytes
from medloom.recipe import Recipe
from medloom.recipe.kinds import KINDS
from medloom.recipe.recipe import OF_A_RUN
from medloom.training.allocator import keep_freed_memory
from medloom.training.fit import Job, build_data, build_module, build_trainer, within_memory
from medloom.training.loop import guarded, plan_job
from medloom.training.quiet import quiet_lightning

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding

__all__ = ["SHARE", "BatchSize", "candidates", "find_batch_size"]

SHARE = 0.75
"""Of the memory that is there, what a step may take: other programs, and what comes after the training, need some."""

_MOST, _FEWEST_STEPS = 128, 8
_STEPS = 2
"""The optimiser takes its memory in the first step, so that the second one is the largest."""


@dataclass(frozen=True)
class BatchSize:
    """What was found.

    Args:
        images: In a step.
        tried: Images of each step that was taken, and the largest memory so far in bytes; None where it ran out.
        limit_bytes: What was allowed; None where the system does not say.
        device: Whose memory it is, ``cpu`` or ``cuda``.
    """

    images: int
    tried: Sequence[tuple[int, int | None]]
    limit_bytes: int | None
    device: str


def candidates(samples: int) -> list[int]:
    """Return the sizes that are tried for a number of training images, the smallest first.

    Powers of two that leave several steps in an epoch, and no single image over, of which no statistics can be taken.

    Example:
        >>> candidates(100), candidates(6), candidates(4 * 16 + 1)
        ([2, 4, 8], [2], [])
    """
    sizes = [2**power for power in range(1, _MOST.bit_length()) if 2**power <= max(2, samples // _FEWEST_STEPS)]
    return [size for size in sizes if samples % size != 1]


def find_batch_size(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    store: PixelStore,
    *,
    tables: TableEncoding | None = None,
    trainings: int = 1,
) -> BatchSize:
    """Take steps of 2, 4, 8 and so on images, and return the most that find room.

    Where the same memory is there, the answer is the same. The network is not compiled for it, which takes no more.

    Args:
        recipe: The recipe; its ``train.batch_size`` does not count.
        catalogue: Which sample is in which split.
        store: The pixels.
        tables: How the catalogue's metadata become numbers.
        trainings: So many trainings share the memory.

    Raises:
        NoMemoryError: If not even the fewest do.
        UserError: If the recipe or the data cannot be trained, as the process found.
        TrainingError: If the process failed.
    """
    sizes = candidates(int((catalogue["split"] == "train").sum()))
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, recipe.plain(), catalogue, store.path, tables, sizes or [3], trainings)
    process = context.Process(target=_measure, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        facts, tried = _received(ours, process)
    finally:
        process.kill()
        process.join()
    limit = facts.get("limit_bytes")
    fitting = [images for images, peak in tried if peak is not None and (limit is None or peak <= limit)]
    if not fitting:
        raise NoMemoryError(tried[0][0] if tried else None, "a step")
    return BatchSize(max(fitting), tried, limit, str(facts["device"]))


def _received(ours: Connection, process: Any) -> tuple[dict[str, Any], list[tuple[int, int | None]]]:  # noqa: ANN401 - of a context
    """What the process has said until its end, which may be that it was killed."""
    facts: dict[str, Any] = {}
    tried: list[tuple[int, int | None]] = []
    try:
        while True:
            message = ours.recv()
            if "error" in message:
                raise (UserError if message["users"] else TrainingError)(message["error"])
            if "images" in message:
                tried.append((message["images"], message["peak"]))
            else:
                facts |= message
    except EOFError:
        process.join()
    killed = process.exitcode is not None and process.exitcode < 0  # native code may die of an allocation that failed
    if process.exitcode != 0 and not (tried and killed):
        raise TrainingError("train.batch_size: the process that measured how many images fit failed; give a number")
    return facts, tried


def _measure(
    there: Connection,
    plain: dict[str, Any],
    catalogue: pd.DataFrame,
    store_path: Path,
    tables: TableEncoding | None,
    sizes: Sequence[int],
    trainings: int,
) -> None:
    """Say of each size how much memory its steps take, until there is no more."""
    keep_freed_memory()
    store = PixelStore.open(store_path)
    try:
        with quiet_lightning(), tempfile.TemporaryDirectory() as scratch:
            jobs = [plan_job(_sized(plain, one), catalogue, store, Path(scratch), tables=tables) for one in sizes]
            limit = _limit_bytes(jobs[0].device, trainings)
            there.send({"limit_bytes": limit, "device": jobs[0].device})
            for images, job in zip(sizes, jobs, strict=True):
                peak = _peak_of(job, store)
                there.send({"images": images, "peak": peak})
                if peak is None or (limit is not None and peak > limit):
                    return
    except MedloomError as error:
        there.send({"error": str(error), "users": isinstance(error, UserError)})


def _sized(plain: Mapping[str, Any], images: int) -> Recipe:
    """The recipe with so many images in a step."""
    train = {**plain["train"], "batch_size": images, "compile": False, "epochs": 1}
    return KINDS[plain["target"]["kind"]].model_validate({**plain, "train": train}, context=OF_A_RUN)


def _limit_bytes(device: str, trainings: int) -> int | None:
    """Memory that a process may come to: what it has already and its share of what there is."""
    if device == "cuda":
        return int(SHARE * torch.cuda.mem_get_info()[0] / trainings)
    spare = available_bytes()
    return None if spare is None else peak_rss_bytes() + int(SHARE * spare / trainings)


def _peak_of(job: Job, store: PixelStore) -> int | None:
    """Largest memory so far after two steps; None if it ran out."""
    try:
        with within_memory(job), guarded(job, store):
            data = build_data(job, store)
            module = build_module(job.recipe, data, job.precision)
            module.micro.retries = False
            build_trainer(job, Callback(), steps=_STEPS, validation_steps=1).fit(module, datamodule=data)
    except NoMemoryError:
        return None
    return int(torch.cuda.max_memory_reserved()) if job.device == "cuda" else peak_rss_bytes()
