"""Keep trackers up to date while a run is worked on, without ever stopping it or slowing it down."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from medloom.events import BatchEnded, Event, Events, Noted, Progressed, Warned
from medloom.tracking.api import State, Tracker
from medloom.tracking.sending import Sender
from medloom.wording import one_line

__all__ = ["Follower", "error_text"]

_AGAIN_S = 20.0
"""How long after a failure a tracker is left alone."""

_REST, _MOST_REST_S = 20.0, 30.0
"""After it has sent, a thread rests so many times as long as that took, so that it takes little of the processor."""

_CREDENTIALS = re.compile(r"://[^/@\s]+@")


class Follower:
    """A listener of events that sends trackers what is new, each from a thread of its own.

    What there is to say waits in a queue of one place: that there is something new, which the thread then reads from
    the run directory. So nothing piles up before a tracker that is slow, and nothing waits for one. The first failure
    of each is said once; it is tried again later, and what it still lacks at the end is said then.

    Args:
        folder: The run directory.
        trackers: Where to.
        events: Who is told of a tracker that fails, always from the thread that works on the run.
    """

    def __init__(self, folder: Path, trackers: Sequence[Tracker], events: Events) -> None:
        self._events = events
        self._lines = [_Line(folder, tracker) for tracker in trackers]

    def __call__(self, event: Event) -> None:
        """Note that something is new, and hand on what trackers had to say."""
        if isinstance(event, BatchEnded | Progressed | Warned):
            return
        for line in self._lines:
            line.wake()
            self._say(line)

    def close(self, state: State, wait_s: float) -> None:
        """Send the rest.

        Args:
            state: How the run stands.
            wait_s: How long to wait for it; a tracker that needs longer is left alone.
        """
        ends = time.monotonic() + wait_s
        for line in self._lines:
            line.finish(state)
        for line in self._lines:
            line.thread.join(max(0.0, ends - time.monotonic()))
            self._say(line)
            if line.thread.is_alive():
                self._events.emit(Warned(f"{line.name} was not ready in {wait_s:.0f} s; {line.hint}"))
            elif line.failed and line.complete:
                self._events.emit(Noted(f"{line.name} has everything of this run now"))

    def _say(self, line: _Line) -> None:
        if (problem := line.take_problem()) is not None:
            self._events.emit(Warned(f"{line.name}: {problem}. The run goes on without it; {line.hint}"))


class _Line:
    """One tracker, its thread, and the place where a request waits."""

    def __init__(self, folder: Path, tracker: Tracker) -> None:
        self.name = tracker.name
        self.hint = f"`medloom track {folder}` sends what is missing"
        self.failed = False
        self.complete = False
        self._sender = Sender(folder, tracker)
        self._requests: queue.Queue[State] = queue.Queue(maxsize=1)
        self._problems: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._final: State | None = None
        self._ends = threading.Event()
        self.thread = threading.Thread(target=self._work, name=f"medloom-{tracker.name}", daemon=True)
        self.thread.start()

    def wake(self) -> None:
        if not self._requests.full():
            self._put("running")

    def finish(self, state: State) -> None:
        self._final = state
        self._put(state)
        self._ends.set()

    def take_problem(self) -> str | None:
        try:
            return self._problems.get_nowait()
        except queue.Empty:
            return None

    def _put(self, state: State) -> None:
        try:
            self._requests.put_nowait(state)
        except queue.Full:  # what waits there is looked at after this
            return

    def _work(self) -> None:
        """Send until the end, with rests in between that the end cuts short."""
        while True:
            state, final = self._requests.get(), self._final
            begun_s = time.monotonic()
            self.complete = self._send(final or state)
            if final is not None:
                return
            took_s = time.monotonic() - begun_s
            self._ends.wait(min(_REST * took_s, _MOST_REST_S) if self.complete else _AGAIN_S)

    def _send(self, state: State) -> bool:
        try:
            self._sender.send(state)
            if self._final == state:
                self._sender.close()
        except Exception as error:  # whatever a tracker does, the run goes on
            self._note(error)
            return False
        return True

    def _note(self, error: Exception) -> None:
        if not self.failed:
            self.failed = True
            self._problems.put(error_text(error))
        try:
            self._sender.close()
        except Exception:  # it has been said that this tracker does not work
            return


def error_text(error: Exception) -> str:
    """Return what an error says in a line, without the password that an address may hold."""
    text = _CREDENTIALS.sub("://...@", str(error))
    return one_line(f"{type(error).__name__}: {text}", 200).rstrip(". ")
