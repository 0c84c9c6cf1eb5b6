"""What a run says to trackers, as plain data, and what a tracker has to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["Known", "Point", "Record", "Session", "State", "Tracker"]

State = Literal["running", "finished", "stopped", "failed"]
"""How a run stands: being worked on, trained to its end, stopped before it, or ended by an error."""


@dataclass(frozen=True)
class Point:
    """One value of one metric.

    Args:
        name: Of the metric.
        value: A finite number.
        step: The epoch, from 1; of what is measured at the end, the best epoch; of the machine's use, its number.
        when_ms: Milliseconds since 1970.
    """

    name: str
    value: float
    step: int
    when_ms: int


@dataclass(frozen=True)
class Record:
    """All that trackers may know of a run.

    Args:
        id: Of the run, the same wherever it is moved.
        name: Of its folder.
        parent: The id of the run that this is a fold of, if it is one.
        began_ms: When it was tracked first, in milliseconds since 1970.
        state: How it stands.
        params: The recipe by dotted key.
        tags: Versions, machine, git.
        points: Metrics, in order.
        files: Files by their place in the tracker, such as ``report.html``.
        bundle: The bundle, if there is one.
        model: What the bundle is registered as.
    """

    id: str
    name: str
    parent: str | None
    began_ms: int
    state: State
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    files: Mapping[str, Path]
    bundle: Path | None
    model: str


@dataclass
class Known:
    """What a tracker has of a run.

    Args:
        params: As it has them; a parameter is never changed.
        tags: As it has them.
        points: Values by name and step.
        files: SHA-256 by place, or its beginning; empty of a file that is there and never changes.
        bundle: SHA-256 of the newest bundle.
        state: What it was told last.
    """

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[tuple[str, int], float] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    bundle: str | None = None
    state: str | None = None


class Session(Protocol):
    """A run as a tracker keeps it. Any method may raise, and may take as long as it likes."""

    def known(self) -> Known:
        """Return what the tracker has."""

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Take parameters that it does not have, and tags that it does not have so."""

    def points(self, points: Sequence[Point]) -> None:
        """Take metrics that it does not have."""

    def file(self, place: str, path: Path, sha256: str) -> None:
        """Take a file, or another content of one that it has."""

    def model(self, bundle: Path, sha256: str, name: str) -> None:
        """Take the bundle as a model."""

    def state(self, state: State) -> None:
        """Take how the run stands."""

    def close(self) -> None:
        """Let the run go; what it was told is kept."""


class Tracker(Protocol):
    """A place where runs are tracked."""

    @property
    def name(self) -> str:
        """What a recipe calls it."""

    def open(self, record: Record) -> Session:
        """Begin a run there, or take up the one with this id."""
