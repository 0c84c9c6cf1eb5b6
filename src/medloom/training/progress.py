"""How far a training is: a bar on a terminal, one line an epoch otherwise, nothing unless asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medloom.training.ledger import Line

__all__ = ["Listener", "Throttle", "TrainProgress", "describe_line", "show"]

_INTERVAL_S = 0.2


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands.

    Args:
        epoch: Current epoch, from 1.
        epochs: Epochs of the run.
        step: Batches done in this epoch.
        steps: Batches of an epoch.
        line: The epoch's line of ``metrics.jsonl`` when it is over, else None.
        best: Whether that line is the best so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    line: Line | None = None
    best: bool = False


Listener = Callable[[TrainProgress], None]


class Throttle:
    """Hands on every finished epoch and its last step, and steps in between a few times a second.

    Args:
        listener: Who is told.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._latest = 0.0

    def __call__(self, progress: TrainProgress) -> None:
        """Tell the listener, unless it was told a moment ago."""
        now = time.monotonic()
        if progress.step == progress.steps or now - self._latest >= _INTERVAL_S:
            self._latest = now
            self._listener(progress)


@contextmanager
def show(progress: bool | Listener | None) -> Iterator[Listener]:
    """Yield whom to tell: nobody, the caller's function, or a display on stderr.

    Args:
        progress: False or None for silence, True for a bar on a terminal and one line an epoch elsewhere, or
            a function that takes ``TrainProgress``.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as listener:
            yield listener
    else:
        yield _lines(sys.stderr)


def describe_line(progress: TrainProgress) -> str:
    """Return one line of text about a finished epoch."""
    line = progress.line or {}
    names = ("train_loss", "val_loss", "dice_lesion", "false_alarm_rate", "auc", "average_precision")
    parts = [f"{name} {line[name]:.4f}" for name in names if line.get(name) is not None]
    seconds = f"{line.get('seconds') or 0:.1f} s"
    return "  ".join([f"epoch {progress.epoch}/{progress.epochs}", *parts, seconds, *(["best"] * progress.best)])


def _lines(stream: TextIO) -> Listener:
    def listener(progress: TrainProgress) -> None:
        if progress.line is not None:
            stream.write(describe_line(progress) + "\n")
            stream.flush()

    return listener


@contextmanager
def _bar() -> Iterator[Listener]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("train", total=None)

        def listener(progress: TrainProgress) -> None:
            done = (progress.epoch - 1) * progress.steps + progress.step
            description = f"epoch {progress.epoch}/{progress.epochs}"
            bar.update(task, description=description, completed=done, total=progress.epochs * progress.steps)
            if progress.line is not None:
                bar.console.print(describe_line(progress), highlight=False)

        yield listener
