"""What every back end can do, whatever it calls it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from medloom.jobs import Job

__all__ = ["Backend", "State", "Status"]


class State(StrEnum):
    """Where a job stands. A back end translates its own words into these in one place."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Status:
    """Where a job stands, and how it ended.

    Args:
        state: One of five.
        code: Exit code of its command, or the negative of the signal that killed it; None before the end and of one
            that never began.
    """

    state: State
    code: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in (State.WAITING, State.RUNNING)


class Backend(Protocol):
    """A place where jobs run. Every one passes the tests in ``tests/backends``.

    A handle names a job that was submitted. A method that takes one raises a ``UserError`` where it is not known.
    """

    name: str
    """What ``--backend`` calls it."""

    def request(self, job: Job) -> dict[str, Any]:
        """Return what ``submit`` would ask for, in plain JSON types, without doing anything.

        Args:
            job: The job. The same job gives the same request.
        """

    def submit(self, job: Job) -> str:
        """Begin a job, or let it wait for its turn.

        Returns:
            Its handle.
        """

    def status(self, handle: str) -> Status:
        """Return where a job stands."""

    def logs(self, handle: str, after: int = 0) -> list[str]:
        """Return the lines that a job has printed so far, in its order.

        Args:
            handle: The job.
            after: How many to leave out, those that the caller has.
        """

    def cancel(self, handle: str) -> None:
        """Ask a job to stop: it may save first. One that waits does not begin; one that has ended stays as it is."""

    def wait(self, handle: str, timeout_s: float | None = None) -> Status:
        """Wait until a job has ended.

        Args:
            handle: The job.
            timeout_s: At most so long; without end by default.

        Returns:
            Its status then.
        """

    def close(self) -> None:
        """Let go of what the back end holds here. Where jobs end with this process, they end now."""
