"""Writes what a run must not lose: metrics, the best weights, checkpoints, pictures."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from medloom.events import BatchEnded, EpochEnded, Event, Listener
from medloom.files import write_text
from medloom.models.network import parameter_count
from medloom.signals import StopRequest
from medloom.training.batches import Rows
from medloom.training.checkpoint import BEST, LAST, write_checkpoint
from medloom.training.data import StoreData
from medloom.training.diagnosis.watch import Diagnosis
from medloom.training.ledger import Ledger, Line
from medloom.training.micro import again_if_short
from medloom.training.module import TaskModule
from medloom.training.pictures import write_picture
from medloom.training.ranks import sum_over_ranks
from medloom.training.tasks import Pictures

__all__ = ["METRICS_FILE", "Interrupted", "Keeper"]

METRICS_FILE = "metrics.jsonl"
PICTURES = "progress"

_UNKNOWN = "another process was asked to stop"


class Interrupted(Exception):
    """The run was asked to stop and its checkpoint is written."""


class Keeper(Callback):
    """Keeps the run directory up to date.

    At the end of an epoch, in this order: the best weights if they are, the line of metrics, the checkpoint.
    A run killed between two of them does the epoch again, with the same result.

    Args:
        run_dir: The run directory.
        identity: What the run stands on; goes into every checkpoint.
        ledger: The history so far.
        module: What is trained.
        data: What it is trained on.
        sample_ids: Sample of each row of the store.
        stop: Whether someone asked the run to stop.
        listener: Who is told of batches and epochs, and may ask the run to stop.
        epochs: Epochs of the run.
        diagnosis: What watches the training; None where nobody does.
        checkpoint_minutes: Also write a checkpoint inside an epoch after so many; None: only between epochs.
    """

    def __init__(
        self,
        run_dir: Path,
        identity: dict[str, Any],
        ledger: Ledger,
        module: TaskModule,
        data: StoreData,
        sample_ids: list[str],
        stop: StopRequest,
        listener: Listener,
        *,
        epochs: int,
        diagnosis: Diagnosis | None = None,
        checkpoint_minutes: float | None = None,
    ) -> None:
        self.diagnosis = diagnosis
        self.run_dir = run_dir
        self.identity = identity
        self.ledger = ledger
        self.module = module
        self.data = data
        self.sample_ids = sample_ids
        self.epochs = epochs
        self.interval_s = math.inf if checkpoint_minutes is None else 60.0 * checkpoint_minutes
        self.stop = stop
        self.listener = listener
        self._saved_at = time.monotonic()
        self._epoch_began = time.monotonic()
        self._before_s = 0.0
        self._validating = False
        self._shown: Rows | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, and the files back to where the checkpoint stands."""
        self.stop.listen()
        self._saved_at = self._epoch_began = time.monotonic()
        if trainer.is_global_zero:
            self._rewind_files()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_began, self._before_s = time.monotonic(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Write a checkpoint if it is time, and stop if someone asked for it.

        After the last batch of an epoch the validation comes first, which may be interrupted too.
        """
        steps = self.module.steps_per_epoch
        self._tell(BatchEnded(trainer.current_epoch + 1, self.epochs, batch_idx + 1, steps))
        stop, save = self._wishes(trainer)
        if batch_idx + 1 == steps:
            self.ledger.train_seconds += self._epoch_seconds()
        elif stop:
            self._interrupt(trainer)
        elif save:
            self._save(trainer)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop between the last batch and the validation, if someone asked for it; one process only."""
        if self.stop.requested and trainer.world_size == 1:
            self._validating = True
            self._interrupt(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the epoch."""
        line = self._line(trainer.current_epoch + 1)
        best = self.ledger.record(line)
        self.module.finish_epoch(self.ledger.value(line))
        if trainer.is_global_zero:
            self._write_epoch(line, best=best)
            if self.diagnosis is not None:
                self.diagnosis.end_epoch(line)
        self._save(trainer)
        self._tell(self._epoch_ended(line, best=best))
        if self.ledger.stops_early:
            trainer.should_stop = True
        elif self.stop.requested and trainer.world_size == 1 and self.ledger.epochs_done < self.epochs:
            self._interrupt(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the history and what the run stands on."""
        checkpoint["run"] = {
            "identity": self.identity,
            "ledger": self.ledger.state(),
            "epoch_seconds": self._epoch_seconds(),
            "parameters": parameter_count(self.module.network),
            "weights": None if self.module.network.origin is None else self.module.network.origin.plain(),
        }
        if self._validating:
            _as_if_validation_began(checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the epoch's clock back."""
        self._before_s = float(checkpoint["run"]["epoch_seconds"])

    def _tell(self, event: Event) -> None:
        stop = self.listener(event)
        if stop is not None:
            self.stop.ask(stop.reason)

    def _interrupt(self, trainer: Trainer) -> None:
        """End the run here, with a checkpoint that says why."""
        self.ledger.stop_reason = self.stop.reason or _UNKNOWN
        self._save(trainer)
        raise Interrupted

    def _epoch_ended(self, line: Line, *, best: bool) -> EpochEnded:
        ledger = self.ledger
        return EpochEnded(ledger.epochs_done, self.epochs, line, best, ledger.patience, ledger.patience_left)

    def _epoch_seconds(self) -> float:
        return self._before_s + time.monotonic() - self._epoch_began

    def _wishes(self, trainer: Trainer) -> tuple[bool, bool]:
        """Whether to stop and whether to save, agreed between the processes."""
        save = time.monotonic() - self._saved_at >= self.interval_s
        if trainer.world_size == 1:
            return self.stop.requested, save
        flags = torch.tensor([float(self.stop.requested), float(save)], device=trainer.strategy.root_device)
        stop_votes, save_votes = sum_over_ranks(flags).tolist()
        return stop_votes > 0, save_votes > 0

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.run_dir / LAST)
        self._saved_at = time.monotonic()

    def _line(self, epoch: int) -> Line:
        numbers = {
            "train_loss": self.module.train_loss(),
            **self.module.metrics,
            "lr": self.module.learning_rate,
        }
        finite: Line = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        return {"epoch": epoch, **finite, "seconds": round(self._epoch_seconds(), 3)}

    def _write_epoch(self, line: Line, *, best: bool) -> None:
        if best:
            self._write_best()
            if self.module.task.pictures is not None and self.data.validates:
                self._write_picture(self.module.task.pictures)
        _append(self.run_dir / METRICS_FILE, line)

    def _write_best(self) -> None:
        samples = self.data.samples
        tree = {
            "network": self.module.best_network.state_dict(),
            "epoch": self.ledger.best_epoch,
            "metric": self.ledger.best_metric,
            "monitor": self.ledger.monitor,
            "in_channels": samples.channels,
            "table_features": samples.table.shape[1],
            "size": list(samples.images.shape[2:]),
        }
        write_checkpoint(self.run_dir / BEST, tree)

    def _write_picture(self, pictures: Pictures) -> None:
        if self._shown is None:
            self._shown = pictures.choose(self.data.samples, self.data.validation_rows)
        name = f"epoch_{self.ledger.best_epoch:04d}.png"
        entry = {"epoch": self.ledger.best_epoch, "metric": self.ledger.best_metric, "file": name}
        self.ledger.pictures.append(entry)
        facts = {
            "monitor": self.ledger.monitor,
            "samples": [self.sample_ids[row] for row in self._shown],
            "epochs": self.ledger.pictures,
        }
        shown = self.data.load_validation(self._shown)
        picture = again_if_short(lambda: pictures.draw(self.module.best_network, shown))
        write_picture(self.run_dir / PICTURES, name, picture, facts)

    def _rewind_files(self) -> None:
        """Drop what was written after the checkpoint: those epochs come again."""
        lines = "".join(_json_line(line) for line in self.ledger.lines)
        write_text(self.run_dir / METRICS_FILE, lines)
        if self.ledger.best_epoch == 0:
            (self.run_dir / BEST).unlink(missing_ok=True)
        known = {entry["file"] for entry in self.ledger.pictures}
        for path in (self.run_dir / PICTURES).glob("epoch_*.png"):
            if path.name not in known:
                path.unlink()


def _as_if_validation_began(checkpoint: dict[str, Any]) -> None:
    """Make Lightning go on with the validation: all batches of the epoch are done, the first of these is not."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    for counter in (progress["total"], progress["current"]):
        counter.update(ready=1, started=1, processed=0, completed=0)


def _append(path: Path, line: Line) -> None:
    """Add a line in one write, on the disk before the checkpoint is."""
    with path.open("ab", buffering=0) as file:
        file.write(_json_line(line).encode())
        os.fsync(file.fileno())


def _json_line(line: Line) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
