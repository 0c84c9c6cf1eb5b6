"""Run several jobs on a back end, hand on what they print, and stop them when someone asks."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from medloom.backends.api import Backend
from medloom.jobs import Job
from medloom.signals import StopRequest

__all__ = ["Ending", "run_jobs"]

Say = Callable[[int, str], object]

_POLL_S = 0.1

_WRONG_INPUT = 2
"""Exit code after which no other begins: what was wrong is wrong for all."""


@dataclass(frozen=True)
class Ending:
    """How the jobs ended.

    Args:
        codes: Exit code of each, the negative of the signal that killed it, or None if it did not begin.
        stopped: Whether someone asked for an end before all were done.
    """

    codes: list[int | None]
    stopped: bool

    @property
    def failed(self) -> dict[int, int]:
        """Exit codes of those that went wrong; one that was asked to stop and died of it did not."""
        asked = {0, None, -signal.SIGTERM} if self.stopped else {0, None}
        return {number: code for number, code in enumerate(self.codes) if code is not None and code not in asked}


def run_jobs(backend: Backend, jobs: Sequence[Job], say: Say, *, at_a_time: int) -> Ending:
    """Run every job, so many at a time.

    One that fails leaves the others alone, unless its exit code is 2: then no other begins. SIGTERM and the first
    Ctrl-C cancel all that run, and wait for them; a second Ctrl-C raises ``KeyboardInterrupt``.

    Args:
        backend: Where. The caller closes it.
        jobs: What.
        say: Called with the job's place and a line that it has printed, always in this thread. What it returns, if it
            is true, asks for an end as SIGTERM does.
        at_a_time: How many run at once, at least 1.

    Returns:
        How they ended.
    """
    crew = _Crew(backend, say, at_a_time, deque(enumerate(jobs)), [None] * len(jobs))
    with StopRequest(waits_for="the step that each job is at") as stop:
        while crew.goes_on:
            if stop.requested:
                crew.stop()
            crew.step()
    return Ending(crew.codes, crew.stopped)


@dataclass
class _Crew:
    """Jobs that wait, and handles of those that run with the number of their lines that were handed on."""

    backend: Backend
    say: Say
    at_a_time: int
    waiting: deque[tuple[int, Job]]
    codes: list[int | None]
    running: dict[int, str] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)
    stopped: bool = False

    @property
    def goes_on(self) -> bool:
        return bool(self.running or self.waiting)

    def step(self) -> None:
        """Begin what can begin, hand on what was printed, and see who has ended."""
        while self.waiting and len(self.running) < self.at_a_time:
            number, job = self.waiting.popleft()
            self.running[number] = self.backend.submit(job)
        self.backend.wait(next(iter(self.running.values())), _POLL_S)
        for number, handle in list(self.running.items()):
            status = self.backend.status(handle)  # first: what it prints until its end is handed on before that
            self._hand_on(number, handle)
            if status.ended:
                del self.running[number]
                self.codes[number] = status.code
                if status.code == _WRONG_INPUT:
                    self.waiting.clear()

    def stop(self) -> None:
        """Ask for an end, once. What has not begun does not begin."""
        if not self.stopped:
            self.stopped = True
            self.waiting.clear()
            for handle in self.running.values():
                self.backend.cancel(handle)

    def _hand_on(self, number: int, handle: str) -> None:
        lines = self.backend.logs(handle, self.heard.get(number, 0))
        self.heard[number] = self.heard.get(number, 0) + len(lines)
        wishes = [self.say(number, line) for line in lines]
        if any(wishes):
            self.stop()
