"""Work in several processes at a time, each with its own GPUs or its share of the cores.

Each process is a command of its own. What it prints is handed on line by line, so lines of several never mix. It ends
with the process that started it: its standard input is a pipe that nobody writes to and that closes when that process
is gone, however it went; see ``end_with_parent``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import IO

from medloom.recipe import Recipe

__all__ = ["Ending", "Slot", "end_with_parent", "plan_slots", "run_in_slots", "sole"]

Say = Callable[[int, str], None]

_POLL_S = 0.1
_GRACE_S = 10.0
"""For what a process that has ended had started itself."""

_WRONG_INPUT = 2
"""Exit code after which no other is started: what was wrong is wrong for all."""


@dataclass(frozen=True)
class Slot:
    """Room for one process at a time.

    Args:
        threads: Cores for it.
        gpus: The GPUs that it sees, as ``CUDA_VISIBLE_DEVICES`` calls them; empty if it needs none.
    """

    threads: int
    gpus: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of its process. ``OMP_NUM_THREADS`` stays what the user has set it to."""
        own = {"OMP_NUM_THREADS": str(self.threads), **os.environ}
        return own | ({"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {})


@dataclass(frozen=True)
class Ending:
    """How the processes ended.

    Args:
        codes: Exit code of each, the negative of the signal that killed it, or None if it was not started.
        stopped: Whether someone asked for an end before all was done.
    """

    codes: list[int | None]
    stopped: bool

    @property
    def failed(self) -> dict[int, int]:
        """Exit codes of those that went wrong; one that was asked to stop and died of it did not."""
        asked = {0, None, -signal.SIGTERM} if self.stopped else {0, None}
        return {number: code for number, code in enumerate(self.codes) if code is not None and code not in asked}


def plan_slots(recipe: Recipe, count: int, jobs: int | None = None) -> list[Slot]:
    """Share the devices of this machine out between trainings of one recipe.

    Args:
        recipe: Its ``train.device`` and ``train.devices`` say what one training takes.
        count: How many trainings there are.
        jobs: How many at a time; by default as many as find GPUs of their own, and one on a CPU. With more, GPUs are
            dealt out in turn.

    Returns:
        One slot for each training that goes on at a time, at most ``count``.

    Raises:
        RecipeError: If one training takes more GPUs than there are.
    """
    from medloom.inference.runtimes.graph import available_threads
    from medloom.training.precision import choose_device
    from medloom.training.processes import visible_gpus

    each = recipe.train.devices
    gpus = visible_gpus() if choose_device(recipe.train.device, each) == "cuda" else []
    at_a_time = max(1, min(jobs or len(gpus) // each, count))
    threads = max(1, available_threads() // at_a_time)
    if not gpus:
        return [Slot(threads)] * at_a_time
    dealt = ([gpus[(slot * each + one) % len(gpus)] for one in range(each)] for slot in range(at_a_time))
    return [Slot(threads, tuple(names)) for names in dealt]


def run_in_slots(commands: Sequence[Sequence[str]], slots: Sequence[Slot], say: Say) -> Ending:
    """Run every command, as many at a time as there are slots.

    One that fails leaves the others alone, unless its exit code is 2. SIGTERM and the first Ctrl-C ask all that run to
    stop with SIGTERM, and wait for them; a second Ctrl-C kills them.

    Args:
        commands: Program and arguments of each.
        slots: What each process gets.
        say: Called with the command's place and a line that it has printed, always in this thread.

    Returns:
        How they ended.
    """
    from medloom.training.signals import StopRequest

    pool = _Pool(deque(enumerate(commands)), list(slots), say, [None] * len(commands))
    try:
        with StopRequest() as stop:
            while pool.goes_on:
                if stop.requested and not pool.stopped:
                    pool.stop()
                pool.step()
    finally:
        pool.kill()
    return Ending(pool.codes, pool.stopped)


@dataclass
class _Job:
    """A process, its place, its slot, and who reads what it prints."""

    process: subprocess.Popen[str]
    number: int
    slot: Slot
    reader: threading.Thread

    def kill(self) -> None:
        """Kill it and what it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()

    def close(self) -> None:
        """Close its pipes; nobody writes into them any more."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@dataclass
class _Pool:
    """Commands that wait, slots that are free, and processes that run."""

    waiting: deque[tuple[int, Sequence[str]]]
    free: list[Slot]
    say: Say
    codes: list[int | None]
    running: list[_Job] = field(default_factory=list)
    printed: Queue[tuple[int, str]] = field(default_factory=Queue)
    stopped: bool = False

    @property
    def goes_on(self) -> bool:
        return bool(self.running or self.waiting)

    def step(self) -> None:
        """Start what can start, hand on what was printed, and see who has ended."""
        while self.free and self.waiting:
            self._start(*self.waiting.popleft(), self.free.pop(0))
        self._hand_on(_POLL_S)
        for job in [job for job in self.running if job.process.poll() is not None]:
            self._conclude(job)

    def stop(self) -> None:
        """Ask for an end. What has not begun does not begin."""
        self.stopped = True
        self.waiting.clear()
        for job in self.running:
            job.process.terminate()

    def kill(self) -> None:
        """Leave no process behind."""
        for job in self.running:
            job.kill()
            job.close()

    def _start(self, number: int, command: Sequence[str], slot: Slot) -> None:
        process = subprocess.Popen(  # noqa: S603 - arguments of our own, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=slot.environment,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C comes here only, and is passed on once
        )
        reader = threading.Thread(target=_read, args=(number, process.stdout, self.printed), daemon=True)
        reader.start()
        self.running.append(_Job(process, number, slot, reader))

    def _conclude(self, job: _Job) -> None:
        job.reader.join(_GRACE_S)
        if job.reader.is_alive():
            job.kill()
        job.close()
        self._hand_on(0.0)
        self.running.remove(job)
        self.free.append(job.slot)
        code = self.codes[job.number] = job.process.returncode
        if code == _WRONG_INPUT:
            self.waiting.clear()

    def _hand_on(self, wait_s: float) -> None:
        """Hand on what is there, after waiting for the first line."""
        with contextlib.suppress(Empty):
            while True:
                self.say(*self.printed.get(timeout=wait_s))
                wait_s = 0.0


def _read(number: int, stream: IO[str], printed: Queue[tuple[int, str]]) -> None:
    for line in stream:
        printed.put((number, line.rstrip()))


def end_with_parent() -> None:
    """Stop this process as SIGTERM does when the one that started it, and holds its standard input, is gone."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def sole(folder: Path, waits: Callable[[], None] | None = None) -> Iterator[None]:
    """Work in a folder as the only process that asks for it so; wait for another one to end.

    Args:
        folder: It must be there.
        waits: Called if another process is at work there.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            _lock(handle, waits)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, waits: Callable[[], None] | None) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waits:
            waits()
        fcntl.flock(handle, fcntl.LOCK_EX)
