"""Several server processes behind one listening socket: started, watched, started again, and ended together.

Each is the same command in a process of its own, which is given the open socket; ``sharing`` says which of them takes
the next connection. Nothing is forked once libraries have threads.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from medloom.errors import MedloomError
from medloom.files import TemporaryFolder
from medloom.inference.runtimes.graph import available_threads
from medloom.serving.http.server import has_terminal
from medloom.serving.http.sharing import Counts, Place

__all__ = ["Part", "Supervisor", "this_command"]

_log = logging.getLogger(__name__)

_PART = "MEDLOOM_SERVE_PART"
"""Says what a process is given: its numbers for the socket, the pipe and the counts, how many there are, its place."""

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_HANDED_OVER = signal.SIGUSR1
"""Ends a process without the word that the server goes down: others take new connections."""

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.1
_END_S = 25.0
_SETTLED_S = 5.0
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Part:
    """What one of several processes is given.

    Args:
        listener: The socket that all share.
        processes: How many they are.
        place: Where this one says how many connections it has.
    """

    listener: socket.socket
    processes: int
    place: Place
    _ready: int

    @classmethod
    def given(cls) -> Part | None:
        """Take what this process was started with; None if it is no part of a server."""
        if _PART not in os.environ:
            return None
        number, ready, counts, processes, place = map(int, os.environ.pop(_PART).split())
        _end_with_parent()
        for early in (signal.SIGHUP, _HANDED_OVER):  # the server takes them when it is there
            signal.signal(early, signal.SIG_IGN)
        return cls(socket.socket(fileno=number), processes, Counts(counts).place(place), ready)

    @property
    def threads(self) -> int:
        """Threads of one prediction: the share of one of the processes in the cores."""
        return max(1, available_threads() // self.processes)

    @property
    def folder(self) -> Path:
        """Where the processes keep figures together; it is gone with them."""
        return Path(os.environ[_METRICS])

    def ready(self) -> None:
        """Say that this process answers."""
        with suppress(OSError):  # whoever waits for it is gone
            os.write(self._ready, b"+")
        os.close(self._ready)


def _end_with_parent() -> None:
    """Let this process be told to end when the one that watches it does, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Keeps so many processes of a command running.

    SIGTERM and SIGINT end all of them, after the requests in progress. SIGHUP is passed on. SIGUSR1 replaces them
    one by one: each by a new one that answers before the old one ends.

    Args:
        command: The command, such as ``[sys.executable, "-m", "medloom.cli.main", "serve", ...]``.
        count: How many processes.
        listener: The socket that they share.
    """

    def __init__(self, command: Sequence[str], count: int, listener: socket.socket) -> None:
        self._command, self._count, self._listener = list(command), count, listener
        self._running: list[_Child] = []
        self._ending: list[_Child] = []
        self._stopping = self._rolling = False
        self._pause_s = 0.0
        self._in_terminal = has_terminal()

    def run(self, ready: Callable[[], object] = lambda: None) -> int:
        """Run until told to stop.

        Args:
            ready: Called when all of them answer.

        Returns:
            0, or the exit code of a process that could not be started in the first place.

        Raises:
            MedloomError: If no process can be started.
        """
        before = {one: signal.signal(one, self._take) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        before[_HANDED_OVER] = signal.signal(_HANDED_OVER, self._take)
        folder = TemporaryFolder("medloom-metrics-")
        self._environment, self._counts = {_METRICS: str(folder.path)}, Counts()
        try:
            return self._supervise(ready)
        finally:
            self._end_all()
            self._counts.close()
            folder.remove()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _supervise(self, ready: Callable[[], object]) -> int:
        for _ in range(self._count):
            self._running.append(self._start())
        for child in self._running:
            if not self._wait_until_ready(child) and not self._stopping:
                return child.process.wait() or 1
        ready()
        while not self._stopping:
            self._revive()
            if self._rolling:
                self._rolling = False
                self._roll()
            time.sleep(_LOOK_S)
        return 0

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        hung_up = number == signal.SIGHUP and self._in_terminal and not has_terminal()
        if hung_up or number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True
        elif number == signal.SIGHUP:
            for child in self._running:
                child.send(signal.SIGHUP)
        else:
            self._rolling = True

    def _start(self) -> _Child:
        taken = {child.place.number for child in (*self._running, *self._ending)}
        place = self._counts.place(next(number for number in count() if number not in taken))
        return _Child.start(self._command, self._listener, place, self._count, self._environment)

    def _wait_until_ready(self, child: _Child) -> bool:
        while not self._stopping:
            if child.is_ready():
                return True
            if child.process.poll() is not None:
                return False
        return False

    def _revive(self) -> None:
        """Start processes anew that ended; later and later, if they do so at once."""
        self._ending = [child for child in self._ending if not self._is_over(child)]
        for place, child in enumerate(self._running):
            code = child.process.poll()
            if code is None:
                continue
            self._is_over(child)
            lived_s = time.monotonic() - child.since
            self._pause_s = 0.0 if lived_s > _SETTLED_S else min(_LONGEST_PAUSE_S, 2 * self._pause_s + 0.5)
            _log.error("a server process ended with %d and is started again in %g s", code, self._pause_s)
            self._wait(self._pause_s)
            if not self._stopping:
                self._running[place] = self._start()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(_LOOK_S)

    def _roll(self) -> None:
        for place, old in enumerate(self._running):
            new = self._start()
            if not self._wait_until_ready(new):
                if not self._stopping:
                    _log.error("a new server process does not start; the others go on")
                new.send(signal.SIGTERM)
                self._ending.append(new)
                return
            self._running[place] = new
            old.send(_HANDED_OVER)
            self._ending.append(old)

    def _is_over(self, child: _Child) -> bool:
        if child.process.poll() is None:
            return False
        child.place.leave()
        child.close()
        mark_process_dead(child.process.pid, self._environment[_METRICS])  # type: ignore[no-untyped-call] # theirs
        return True

    def _end_all(self) -> None:
        children = [*self._running, *self._ending]
        for child in children:
            child.send(signal.SIGTERM)
        until = time.monotonic() + _END_S
        for child in children:
            try:
                child.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            child.close()


class _Child:
    """One process.

    Args:
        process: It.
        place: Where it says how many connections it has.
        ready: Where it says that it answers.
    """

    def __init__(self, process: subprocess.Popen[bytes], place: Place, ready: int) -> None:
        self.process, self.place, self._ready = process, place, ready
        self.since = time.monotonic()

    @classmethod
    def start(
        cls, command: Sequence[str], listener: socket.socket, place: Place, count: int, environment: Mapping[str, str]
    ) -> _Child:
        """Start one."""
        ours, theirs = os.pipe()
        passed = listener.fileno(), theirs, place.counts.descriptor
        part = " ".join(map(str, (*passed, count, place.number)))
        try:
            process = subprocess.Popen(  # noqa: S603 - this command once more
                command, env={**os.environ, **environment, _PART: part}, pass_fds=passed
            )
        except OSError as error:
            os.close(ours)
            raise MedloomError(f"no server process can be started: {error}") from error
        finally:
            os.close(theirs)
        return cls(process, place, ours)

    def is_ready(self) -> bool:
        """Wait a little for the word that it answers."""
        found, _, _ = select.select([self._ready], [], [], _LOOK_S)
        return bool(found) and os.read(self._ready, 1) == b"+"

    def send(self, number: int) -> None:
        """Send a signal, unless it is over."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def close(self) -> None:
        """Close its end of the pipe."""
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1


def this_command() -> list[str]:
    """Return the command of this process, to be run once more with the same arguments."""
    return [sys.executable, "-P", "-m", "medloom.cli.main", *sys.argv[1:]]
