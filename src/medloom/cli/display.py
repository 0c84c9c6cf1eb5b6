"""What a command shows while it works: a listener that tells of events on stderr, with a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from medloom.cli.output import say, warn
from medloom.events import (
    BatchEnded,
    EpochEnded,
    Event,
    Events,
    FileMade,
    Noted,
    Progressed,
    RuleFired,
    StageBegun,
    StageEnded,
    Warned,
)
from medloom.pipeline.notices import SetAside

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

__all__ = ["Collected", "Display", "epoch_line", "progress"]

_PLAIN_INTERVAL_S = 10.0

_LEFT_OUT = ("epoch", "lr", "seconds", "dice_all", "dice_balanced")
"""Of an epoch's line, what is not shown: it is said otherwise or follows from the rest."""


class Display:
    """Shows how far work is, and says what there is to say. A context manager, and a listener of events.

    On a terminal there is one bar at a time, otherwise a line now and then and one for each epoch.

    Example:
        >>> with Display() as display:
        ...     Events([display]).emit(Progressed("decode", 1, 2))
    """

    def __init__(self) -> None:
        self._bar = _TerminalBar() if sys.stderr.isatty() else _PlainBar()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._bar.close()

    def __call__(self, event: Event) -> None:
        """Show an event, if it is one of those that are shown."""
        show = self._SHOWN.get(type(event))
        if show is not None:
            show(self, event)

    def _progressed(self, event: Progressed) -> None:
        self._bar.update(event.what, event.done, event.total)

    def _batch_ended(self, event: BatchEnded) -> None:
        done = (event.epoch - 1) * event.steps + event.step
        self._bar.train(f"epoch {event.epoch}/{event.epochs}", done, event.epochs * event.steps)

    def _epoch_ended(self, event: EpochEnded) -> None:
        say(epoch_line(event))

    def _stage_changed(self, event: Event) -> None:
        self._bar.close()

    def _noted(self, event: Noted) -> None:
        say(event.text)

    def _warned(self, event: Warned) -> None:
        warn(event.text)

    def _rule_fired(self, event: RuleFired) -> None:
        warn(event.sentence())

    def _set_aside(self, event: SetAside) -> None:
        warn(f"set aside: {event.text}")

    _SHOWN: ClassVar[dict[type[Event], Callable[..., None]]] = {
        Progressed: _progressed,
        BatchEnded: _batch_ended,
        EpochEnded: _epoch_ended,
        StageBegun: _stage_changed,
        StageEnded: _stage_changed,
        Noted: _noted,
        Warned: _warned,
        RuleFired: _rule_fired,
        SetAside: _set_aside,
    }


@dataclass
class Collected:
    """Collects what ``--json`` says of a run beside its result; a listener."""

    files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, FileMade) and str(event.path) not in self.files:
            self.files.append(str(event.path))
        elif isinstance(event, Warned):
            self.warnings.append(event.text)
        elif isinstance(event, RuleFired):
            self.warnings.append(event.sentence())

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types: files made, in order, and warnings."""
        return asdict(self)


def epoch_line(event: EpochEnded) -> str:
    """Return one line of text about a finished epoch.

    Example:
        >>> epoch_line(EpochEnded(3, 9, {"epoch": 3, "train_loss": 0.5, "auc": 0.75, "seconds": 2.0}, best=True))
        'epoch 3/9  train_loss 0.5000  auc 0.7500  2.0 s  best'
    """
    known = [(name, value) for name, value in event.metrics.items() if name not in _LEFT_OUT and value is not None]
    parts = [f"{name} {value:.4f}" for name, value in known]
    seconds = f"{event.metrics.get('seconds') or 0:.1f} s"
    ends = [] if event.patience is None else [f"patience {event.patience_left} of {event.patience}"]
    return "  ".join([f"epoch {event.epoch}/{event.epochs}", *parts, seconds, *(["best"] * event.best), *ends])


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far long work has come, for work that only counts.

    Example:
        >>> with progress("decode") as update:
        ...     update(1, 2)
    """
    with Display() as display:
        yield Events([display]).progress(what)


class _PlainBar:
    """One line at the end of a piece of work, and one every ten seconds before it; none for each step of a training."""

    def __init__(self) -> None:
        self._what = ""
        self._last_s = 0.0

    def update(self, what: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if what != self._what:
            self._what, self._last_s = what, now_s
        if done < total and now_s - self._last_s < _PLAIN_INTERVAL_S:
            return
        self._last_s = now_s
        say(f"{what}: {done} of {total}")

    def train(self, what: str, done: int, total: int) -> None:
        """Do nothing: an epoch has a line of its own."""

    def close(self) -> None:
        self._what = ""


class _TerminalBar:
    """A bar for the piece of work that goes on; what is printed meanwhile appears above it."""

    def __init__(self) -> None:
        self._open: tuple[Progress, TaskID] | None = None
        self._what = ""

    def update(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.close()
        self._show(what, what, done, total)

    def train(self, what: str, done: int, total: int) -> None:
        """Show one bar for all epochs."""
        self._show("train", what, done, total)

    def _show(self, what: str, description: str, done: int, total: int) -> None:
        self._what = what
        if self._open is None:
            self._open = _open_bar(description)
        bar, task = self._open
        bar.update(task, description=description, completed=done, total=total)

    def close(self) -> None:
        if self._open is not None:
            self._open[0].stop()
        self._open, self._what = None, ""


def _open_bar(description: str) -> tuple[Progress, TaskID]:
    from rich.console import Console  # a tenth of a second that only long work on a terminal pays
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    bar.start()
    return bar, bar.add_task(description, total=None)
