"""Training from beginning to end, or on from wherever it was stopped."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from medloom.data.context import rows_beside
from medloom.data.identity import check_identity, run_identity
from medloom.errors import NoMemoryError, NonFiniteLossError, RecipeError, TrainingError
from medloom.events import Events, Listener
from medloom.files import write_json
from medloom.memory import is_out_of_memory, peak_rss_bytes
from medloom.recipe import Recipe
from medloom.signals import StopRequest
from medloom.training.average.fit import fit_by_workers
from medloom.training.checkpoint import clean_up, newest_checkpoint
from medloom.training.distillation import Teachers
from medloom.training.fit import Job, fit
from medloom.training.group import fit_in_group
from medloom.training.keeper import Interrupted
from medloom.training.kinds import KINDS
from medloom.training.ledger import Ledger
from medloom.training.module import NonFiniteStep
from medloom.training.precision import choose_compiling, choose_device, choose_precision
from medloom.training.processes import fit_in_processes
from medloom.training.ranks import is_in_group
from medloom.training.result import TrainResult
from medloom.training.throttle import Throttle

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore

__all__ = ["guarded", "plan_job", "train"]

_ONE_VALUE = "Expected more than 1 value per channel"
"""What torch says of a batch whose statistics would be those of one number."""


def train(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    store: PixelStore,
    run_dir: Path,
    *,
    tables: TableEncoding | None = None,
    teachers: Teachers | None = None,
    validates: bool = True,
    micro_batch: int | None = None,
    events: Events | None = None,
) -> TrainResult:
    """Train a network, or go on where this run directory stands.

    A run may be killed at any moment. The same call goes on from its newest checkpoint and, on a CPU, ends with
    the same weights and metrics to the last bit. SIGTERM, Ctrl-C and a listener that returns ``Stop`` let the step
    finish and a checkpoint be written; the result is then not ``finished`` and says why. A finished run is extended by
    a call with more epochs: everything goes on as it was, except that the cosine schedule is that of the longer run,
    so the learning rate, which had come down to zero, rises to where the longer curve stands. A run that stopped early
    stays finished.

    Several processes (``train.devices``) share each batch. They give the gradient of the whole batch when the
    loss is a mean over images; a loss over the batch as a whole is taken over each process's share.

    Args:
        recipe: The recipe.
        catalogue: Which sample is in which split, and the labels of whole images.
        store: The pixels.
        run_dir: Where ``checkpoints/``, ``metrics.jsonl``, ``training.json`` and ``progress/`` go.
        tables: How the catalogue's metadata become numbers; None where the network takes none.
        teachers: Networks whose answers are learned in the place of the truth, by which the best epoch is picked all
            the same; the same ones in every call.
        validates: Else there are no validation samples, and the weights of the last epoch are taken for the best.
        micro_batch: Images at a time that were found to find room before; fewer are tried where they do not.
        events: Who is told of every epoch, and of batches a few times a second.

    Returns:
        The best epoch, whose weights ``load_best`` loads and whose metric is reported.

    Raises:
        NonFiniteLossError: If a loss or gradient is NaN or infinite; the weights did not change.
        TrainingError: If a checkpoint cannot be written, or all are damaged.
        RecipeError: If the recipe cannot be trained here, or differs from the one the run began with.
        DataError: If the samples do not suffice, or differ from those the run began with.
    """
    identity = run_identity(recipe.plain(), catalogue, store.key, tables)
    resume, ledger = None, replace(Ledger.of(recipe.train), validated=validates)
    newest = newest_checkpoint(run_dir)
    if newest is not None:
        resume, saved = newest[0], newest[1]["run"]
        check_identity(saved["identity"], identity)
        ledger = Ledger.from_state(saved["ledger"])
    clean_up(run_dir, resume)
    job = plan_job(recipe, catalogue, store, run_dir, tables=tables, identity=identity, resume=resume)
    known = None if teachers is None else teachers.encoded(catalogue, store)
    micro_batch = micro_batch if recipe.train.devices == 1 else None
    job = replace(job, validates=validates, teachers=known, micro_batch=micro_batch)
    if not _is_finished(ledger, recipe):
        ledger.stop_reason = None
        _fit_guarded(job, store, ledger, Throttle(events or Events()))
    return _conclude(job)


def plan_job(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    store: PixelStore,
    run_dir: Path,
    *,
    tables: TableEncoding | None = None,
    identity: Mapping[str, Any] | None = None,
    resume: Path | None = None,
) -> Job:
    """Return what there is to train, and how this machine does it.

    Args:
        recipe: The recipe.
        catalogue: Which sample is in which split, and the labels of whole images.
        store: The pixels.
        run_dir: The run directory.
        tables: How the catalogue's metadata become numbers.
        identity: What the run stands on.
        resume: The checkpoint to go on from.

    Raises:
        RecipeError: If it cannot be trained on this machine.
    """
    device = choose_device(recipe.train.device, recipe.train.devices)
    train_rows = store.rows(catalogue.loc[catalogue["split"] == "train", "sample_id"].tolist())
    pixels = recipe.train.epochs * len(train_rows) * math.prod(store.images.shape[2:])
    return Job(
        recipe=recipe,
        train_rows=train_rows,
        validation_rows=store.rows(catalogue.loc[catalogue["split"] == "validation", "sample_id"].tolist()),
        run_dir=run_dir,
        identity=dict(identity or {}),
        device=device,
        precision=choose_precision(recipe.train.precision, device),
        compiled=recipe.train.strategy == "single" and choose_compiling(recipe.train.compile, device, pixels),
        resume=resume,
        truth=KINDS[recipe.target.kind].read_truth(catalogue, tables),
        context=rows_beside(catalogue, store.rows, store.images.shape[0], recipe.data.context),
    )


def _is_finished(ledger: Ledger, recipe: Recipe) -> bool:
    return ledger.epochs_done >= recipe.train.epochs or ledger.stops_early


def _fit_guarded(job: Job, store: PixelStore, ledger: Ledger, listener: Listener) -> None:
    """Fit, and turn what went wrong into errors that a user can act on."""
    with contextlib.suppress(Interrupted), guarded(job, store):
        if job.devices > 1 and is_in_group():
            fit_in_group(job, store, ledger, listener)
        elif job.devices > 1:
            fit_in_processes(job, store.path, ledger, listener)
        else:
            with StopRequest() as stop:
                (fit_by_workers if _is_by_workers(job) else fit)(job, store, ledger, stop, listener)


def _is_by_workers(job: Job) -> bool:
    """Whether workers train; a network that learns from others' answers is trained in one process."""
    return job.recipe.train.strategy == "average" and job.teachers is None


@contextlib.contextmanager
def guarded(job: Job, store: PixelStore) -> Iterator[None]:
    """Turn what goes wrong in training steps into errors that a user can act on.

    Args:
        job: What is trained.
        store: Its pixels.

    Raises:
        NonFiniteLossError: If a loss or gradient is NaN or infinite.
        RecipeError: If the network cannot take the statistics that it normalises by.
        NoMemoryError: If memory runs out.
    """
    try:
        yield
    except NonFiniteStep as found:
        newest = newest_checkpoint(job.run_dir)
        kept = None if newest is None else newest[0].relative_to(job.run_dir).as_posix()
        samples = [store.sample_ids[row] for row in found.rows]
        raise NonFiniteLossError(found.step, samples, kept) from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise NoMemoryError(None, "training", str(error)) from error
    except ValueError as error:
        if _ONE_VALUE not in str(error):
            raise
        raise RecipeError(
            "train.batch_size: the last batch of an epoch has one image, and of one image this small the network "
            f"cannot take the statistics it normalises by; {len(job.train_rows)} images are trained on: take a size "
            "that leaves more than one over, or a larger preprocess.size"
        ) from error


def _conclude(job: Job) -> TrainResult:
    """Write ``training.json`` from the checkpoint and return the result."""
    newest = newest_checkpoint(job.run_dir)
    if newest is None:
        raise TrainingError(f"the training left no checkpoint in {job.run_dir}")
    saved = newest[1]["run"]
    ledger = Ledger.from_state(saved["ledger"])
    result = TrainResult(
        best_epoch=ledger.best_epoch,
        best_metric=ledger.best_metric,
        monitor=ledger.monitor,
        epochs_done=ledger.epochs_done,
        finished=_is_finished(ledger, job.recipe),
        stop_reason=ledger.stop_reason,
    )
    network = {"parameters": saved["parameters"], "weights": saved.get("weights")}  # an earlier version said no more
    found = {key: newest[1]["module"].get(key) for key in ("micro_batch", "validation_micro_batch")}
    facts = {**_facts(job, ledger, result), **network, **found, **_average_facts(job, newest[1]["module"])}
    write_json(job.run_dir / "training.json", facts)
    return result


def _average_facts(job: Job, saved: Mapping[str, Any]) -> dict[str, Any]:
    """What happened in the rounds of workers; nothing where there were none."""
    if "average" not in saved:
        return {}
    config = job.recipe.train.average
    asked = {key: getattr(config, key) for key in ("workers", "of", "every", "quorum")}
    return {"average": {**asked, **saved["average"]}}


def _facts(job: Job, ledger: Ledger, result: TrainResult) -> dict[str, Any]:
    images = ledger.epochs_done * len(job.train_rows)
    known = result.best_epoch > 0
    return {
        "best_epoch": result.best_epoch if known else None,
        "best_metric": result.best_metric if known and ledger.validated else None,
        "monitor": result.monitor,
        "epochs": result.epochs_done,
        "finished": result.finished,
        "stopped_early": ledger.stops_early,
        "patience": ledger.patience,
        "patience_left": ledger.patience_left,
        "stop_reason": result.stop_reason,
        "device": _device_name(job.device),
        "devices": job.devices,
        "precision": job.precision,
        "compiled": job.compiled,
        "batch_size": job.recipe.train.images_per_step,
        "train_samples": len(job.train_rows),
        "validation_samples": len(job.validation_rows),
        "seconds": round(sum(float(line["seconds"] or 0.0) for line in ledger.lines), 3),
        "images_per_s": round(images / ledger.train_seconds, 2) if ledger.train_seconds else None,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"
