"""What happens while a run is worked on, as typed values for listeners.

A progress bar, lines on a terminal, a tracker, a tuner or a back end is a listener: a function that takes an event. It
may return a ``Stop``, which asks the training to end after its step and is written down with its reason. A listener
that raises is said once and not asked again; it never harms the work.

::

    Event
    ├── StageBegun, StageEnded       a stage of a run
    ├── Progressed                   so many of so many done, inside a stage
    ├── BatchEnded, EpochEnded       inside the training; an epoch has its metrics and whether it is the best so far
    ├── RuleFired                    a rule that watches the training has found something
    ├── FileMade                     a file or folder of the run is complete
    ├── Noted                        something to say, no more
    └── Warned                       something that a reader of the results must know
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "BatchEnded",
    "EpochEnded",
    "Event",
    "Events",
    "FileMade",
    "Listener",
    "Noted",
    "Progressed",
    "RuleFired",
    "StageBegun",
    "StageEnded",
    "Stop",
    "Warned",
]


@dataclass(frozen=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True)
class StageBegun(Event):
    """A stage begins.

    Args:
        stage: ``prepare``, ``train``, ``evaluate``, ``package`` or ``report``.
        folder: The run directory.
    """

    stage: str
    folder: Path


@dataclass(frozen=True)
class StageEnded(Event):
    """A stage is done.

    Args:
        stage: As in ``StageBegun``.
        folder: The run directory.
    """

    stage: str
    folder: Path


@dataclass(frozen=True)
class Progressed(Event):
    """Some of the work of a stage is done.

    Args:
        what: What is counted, such as ``prepare`` or ``evaluate``.
        done: How many are done.
        total: How many there are.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class BatchEnded(Event):
    """A training step is done.

    Args:
        epoch: Current epoch, from 1.
        epochs: Epochs of the run.
        step: Batches done in this epoch.
        steps: Batches of an epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int


@dataclass(frozen=True)
class EpochEnded(Event):
    """An epoch is done, with its validation.

    Args:
        epoch: From 1.
        epochs: Epochs of the run.
        metrics: The epoch's line of ``metrics.jsonl``.
        best: Whether it is the best so far.
        patience: Epochs without improvement after which the training stops early; None where it never does.
        patience_left: How many of them are left.
    """

    epoch: int
    epochs: int
    metrics: Mapping[str, float | int | None]
    best: bool = False
    patience: int | None = None
    patience_left: int | None = None


@dataclass(frozen=True)
class RuleFired(Event):
    """A rule that watches a training has found something, for the first time in it.

    Args:
        rule: Its name in ``medloom.registry.RULES``, or that of a user's own rule.
        text: What is wrong, in plain words, without a full stop.
        advice: What to try.
        epoch: Since which epoch, from 1.
        step: Since which step of the training, from 1.
        layer: In which layer of the network; None for none in particular.
        ends: Whether the training is asked to end for it.
    """

    rule: str
    text: str
    advice: str
    epoch: int
    step: int
    layer: str | None = None
    ends: bool = False

    def sentence(self) -> str:
        """Return all of it for people.

        Example:
            >>> RuleFired("plateau", "nothing got better", "stop earlier", 3, 90).sentence()
            'since epoch 3: nothing got better (plateau). Try: stop earlier'
        """
        advice = f". Try: {self.advice}" if self.advice else ""
        return f"since epoch {self.epoch}: {self.text} ({self.rule}){advice}"


@dataclass(frozen=True)
class FileMade(Event):
    """A file or folder of the run is complete.

    Args:
        path: Where it is.
    """

    path: Path


@dataclass(frozen=True)
class Noted(Event):
    """Something to say, such as how many patients each part has.

    Args:
        text: Whole lines for people.
    """

    text: str


@dataclass(frozen=True)
class Warned(Event):
    """Something that a reader of the results must know.

    Args:
        text: One sentence; no names of patients.
    """

    text: str


@dataclass(frozen=True)
class Stop:
    """What a listener returns to end a training.

    Args:
        reason: Why, in a few words; it is kept in the run's history.
    """

    reason: str


Listener = Callable[[Event], Stop | None]


@dataclass
class Events:
    """Hands events on to listeners.

    Args:
        listeners: Who is told, in order.

    Example:
        >>> heard = []
        >>> Events([heard.append]).emit(Noted("ready"))
        >>> heard
        [Noted(text='ready')]
    """

    listeners: Sequence[Listener] = ()
    _failed: set[int] = field(default_factory=set, repr=False)

    def emit(self, event: Event) -> Stop | None:
        """Tell every listener.

        Returns:
            The first wish to stop, or None.
        """
        stop: Stop | None = None
        for number, listener in enumerate(self.listeners):
            if number in self._failed:
                continue
            try:
                wish = listener(event)
            except Exception as error:  # a listener's fault must not become the run's
                self._failed.add(number)
                self.emit(Warned(f"a listener failed and is not told any more: {type(error).__name__}: {error}"))
                continue
            stop = stop or (wish if isinstance(wish, Stop) else None)
        return stop

    __call__ = emit

    def progress(self, what: str) -> Callable[[int, int], None]:
        """Return a function of how many are done and how many there are, which emits ``Progressed``."""

        def update(done: int, total: int) -> None:
            self.emit(Progressed(what, done, total))

        return update
