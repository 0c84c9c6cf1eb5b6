"""This machine: each job is a process of its own, with its own GPUs or its share of the cores.

What a process prints is kept line by line, so lines of several never mix. It ends with the process that started it: its
standard input is a pipe that is never written to and that closes when that process ends, however it ends; see
``end_with_parent``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

from medloom.backends.api import State, Status
from medloom.errors import MedloomError, UserError
from medloom.jobs import ENDS_WITH_PARENT, Job

__all__ = ["LocalBackend", "Slot", "end_with_parent", "share_out"]

# -P: what lies in the folder where the user stands is not imported
_PROGRAM = (sys.executable, "-P", "-m", "medloom.cli.main")

_GRACE_S = 10.0
"""For what a process that has ended had started itself."""


@dataclass(frozen=True)
class Slot:
    """Room for one process at a time.

    Args:
        threads: Cores for it.
        gpus: The GPUs that it sees, as ``CUDA_VISIBLE_DEVICES`` calls them; empty if it needs none.
    """

    threads: int
    gpus: tuple[str, ...] = ()


def share_out(
    count: int, *, cores: int, gpus: Sequence[str] = (), gpus_each: int = 1, at_a_time: int | None = None
) -> list[Slot]:
    """Share the devices of a machine out between jobs that are alike.

    Args:
        count: How many jobs there are.
        cores: Cores of the machine.
        gpus: Its GPUs, as ``CUDA_VISIBLE_DEVICES`` calls them; empty if the jobs use none.
        gpus_each: How many of them a job takes.
        at_a_time: How many jobs at a time; by default as many as find GPUs of their own, and one without GPUs. With
            more, GPUs are dealt out in turn.

    Returns:
        One slot for each job that goes on at a time, at most ``count``.

    Example:
        >>> share_out(3, cores=8, gpus=("0", "1"))
        [Slot(threads=4, gpus=('0',)), Slot(threads=4, gpus=('1',))]
    """
    slots = max(1, min(at_a_time or len(gpus) // gpus_each, count))
    threads = max(1, cores // slots)
    if not gpus:
        return [Slot(threads)] * slots
    dealt = ([gpus[(slot * gpus_each + one) % len(gpus)] for one in range(gpus_each)] for slot in range(slots))
    return [Slot(threads, tuple(names)) for names in dealt]


class LocalBackend:
    """Runs jobs in processes on this machine, one for each slot at a time. A context manager that leaves none behind.

    Args:
        slots: What each process gets, one job at a time.
        program: What comes before a job's command; ``medloom`` itself by default.

    Example:
        >>> with LocalBackend([Slot(1)]) as backend:  # doctest: +SKIP
        ...     backend.wait(backend.submit(Job("recipes", ("recipes",))))
        Status(state=<State.DONE: 'done'>, code=0)
    """

    name = "local"

    def __init__(self, slots: Sequence[Slot], program: Sequence[str] = _PROGRAM) -> None:
        self._program = tuple(program)
        self._free = list(slots)
        self._waiting: deque[_Task] = deque()
        self._tasks: dict[str, _Task] = {}
        self._changed = threading.Condition()
        self._closed = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        self.close()

    def request(self, job: Job) -> dict[str, Any]:
        """Return the command and the environment variables of its process.

        What the caller's environment says of ``OMP_NUM_THREADS`` comes first; the slot says which GPUs.
        """
        cores = {} if job.resources.cores is None else {"OMP_NUM_THREADS": str(job.resources.cores)}
        return {
            "backend": self.name,
            "name": job.name,
            "command": [*self._program, *job.command],
            "environment": {**cores, **job.environment},
            "gpus": job.resources.gpus,
            "inputs": list(job.inputs),
            "outputs": list(job.outputs),
        }

    def submit(self, job: Job) -> str:
        """Begin a job, or let it wait for a slot.

        Raises:
            MedloomError: If the back end was closed.
        """
        with self._changed:
            if self._closed:
                raise MedloomError("the local back end was closed and takes no more jobs")
            handle = f"{self.name}-{len(self._tasks) + 1}"
            self._tasks[handle] = task = _Task(job)
            self._waiting.append(task)
            self._begin_waiting()
        return handle

    def status(self, handle: str) -> Status:
        """Return where a job stands."""
        with self._changed:
            return self._task(handle).status

    def logs(self, handle: str, after: int = 0) -> list[str]:
        """Return the lines of its standard output and error together."""
        with self._changed:
            return self._task(handle).lines[after:]

    def cancel(self, handle: str) -> None:
        """Send SIGTERM to its process, or let it not begin."""
        with self._changed:
            task = self._task(handle)
            task.cancelled = task.cancelled or not task.ended
            if task in self._waiting:
                self._waiting.remove(task)
                task.ended = True
            elif task.process is not None and not task.ended:
                task.process.terminate()
            self._changed.notify_all()

    def wait(self, handle: str, timeout_s: float | None = None) -> Status:
        """Wait until a job has ended."""
        with self._changed:
            task = self._task(handle)
            self._changed.wait_for(lambda: task.ended, timeout_s)
            return task.status

    def close(self) -> None:
        """Kill every process and what it has started; take no more jobs."""
        with self._changed:
            self._closed = True
            for task in self._waiting:
                task.cancelled = task.ended = True
            self._waiting.clear()
        for task in self._tasks.values():
            task.kill()

    def _task(self, handle: str) -> _Task:
        if handle not in self._tasks:
            raise UserError(f"there is no job {handle!r} here; jobs end with the process that began them")
        return self._tasks[handle]

    def _begin_waiting(self) -> None:
        """Begin as many as there are slots; the caller holds the lock."""
        while self._free and self._waiting:
            task = self._waiting.popleft()
            slot = self._free.pop(0)
            if not self._begin(task, slot):
                self._free.append(slot)

    def _begin(self, task: _Task, slot: Slot) -> bool:
        try:
            task.start([*self._program, *task.job.command], _environment(task.job, slot), self._changed)
        except OSError as error:  # such as too many processes
            task.lines.append(f"error: {error}")
            task.code, task.ended = 1, True
            return False
        task.watcher = threading.Thread(target=self._follow, args=(task, slot), daemon=True)
        task.watcher.start()
        return True

    def _follow(self, task: _Task, slot: Slot) -> None:
        """Wait for the end of a process and give its slot to the next."""
        code = task.finish()
        with self._changed:
            task.code, task.ended = code, True
            self._free.append(slot)
            if not self._closed:
                self._begin_waiting()
            self._changed.notify_all()


@dataclass(eq=False)
class _Task:
    """A job, its process, and who reads what it prints."""

    job: Job
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    reader: threading.Thread | None = None
    watcher: threading.Thread | None = None
    code: int | None = None
    ended: bool = False
    cancelled: bool = False

    @property
    def status(self) -> Status:
        if not self.ended:
            return Status(State.WAITING if self.process is None else State.RUNNING)
        if self.cancelled and self.code in (None, 0, -signal.SIGTERM):
            return Status(State.CANCELLED, self.code)
        return Status(State.DONE if self.code == 0 else State.FAILED, self.code)

    def start(self, command: Sequence[str], environment: dict[str, str], changed: threading.Condition) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - arguments of our own, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C comes here only, and is passed on once
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, changed), daemon=True)
        self.reader.start()

    def _read(self, stream: IO[str], changed: threading.Condition) -> None:
        for line in stream:
            with changed:
                self.lines.append(line.rstrip())

    def finish(self) -> int:
        """Wait for the process and for what it printed; return its exit code."""
        process, reader = self._running()
        code = process.wait()
        reader.join(_GRACE_S)
        if reader.is_alive():  # a process that it has started still holds the pipe
            _kill_group(process)
            reader.join()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        return code

    def kill(self) -> None:
        """Kill the process and what it has started; wait until that is done."""
        if self.process is not None and self.watcher is not None:
            if not self.ended:
                _kill_group(self.process)
            self.watcher.join()

    def _running(self) -> tuple[subprocess.Popen[str], threading.Thread]:
        if self.process is None or self.reader is None:
            raise MedloomError("a process that was not started has no end")
        return self.process, self.reader


def _environment(job: Job, slot: Slot) -> dict[str, str]:
    """The environment variables of a process. ``OMP_NUM_THREADS`` stays what the user has set it to."""
    threads = {"OMP_NUM_THREADS": str(job.resources.cores or slot.threads)}
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(slot.gpus)} if slot.gpus else {}
    return {**threads, **os.environ, **job.environment, **gpus, ENDS_WITH_PARENT: "1"}


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def end_with_parent() -> None:
    """Stop this process as SIGTERM does when the one that started it, and holds its standard input, is gone."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
