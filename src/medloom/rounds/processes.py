"""Workers that are processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from medloom.memory import killed_text
from medloom.rounds.coordinator import Lost
from medloom.rounds.protocol import Order
from medloom.rounds.store import Store
from medloom.rounds.working import Compute, carry_out

__all__ = ["Processes"]

_GRACE_S = 5.0
"""For a process whose line is broken to say how it ended."""


@dataclass(eq=False)
class _Worker:
    """A process and what it is at."""

    process: BaseProcess
    line: Connection
    order: Order | None = None


class Processes:
    """Processes that carry out orders, one each at a time. A context manager that leaves none behind.

    One that dies is replaced when the next order comes. They end by themselves when this process is gone, however it
    ended, and leave Ctrl-C to it.

    Args:
        count: How many at a time.
        store: Where rounds are.
        make: Makes what they compute with, once in each process; a function of a module.
        given: Its arguments.
        preload: Modules that are imported once, in the process that all are forked from.
    """

    def __init__(
        self,
        count: int,
        store: Store,
        make: Callable[..., Compute],
        given: Sequence[Any] = (),
        *,
        preload: Sequence[str] = (),
    ) -> None:
        self._context = get_context("forkserver")
        if preload:
            self._context.set_forkserver_preload(list(preload))
        self._count, self._arguments = count, (store, make, tuple(given))
        self._workers: list[_Worker] = []
        self._waiting: deque[Order] = deque()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill every process: they hold nothing that is needed."""
        self.close()

    def start(self) -> None:
        """Start all processes now, so that they get ready while others do."""
        while len(self._workers) < self._count:
            self._start()

    def begin(self, order: Order) -> None:
        """Have an order carried out by a process that has none, or by the next one that is done."""
        self._waiting.append(order)
        self._hand_out()

    def wait(self, timeout_s: float) -> list[Lost]:
        """Return as soon as a process is done or dead, or after a time; say which orders are lost."""
        lost: list[Lost] = []
        ready = wait([worker.line for worker in self._workers], timeout_s)
        for worker in [one for one in self._workers if one.line in ready]:
            lost += self._hear(worker)
        self._hand_out()
        return lost

    def give_up(self, order: Order) -> None:
        """Kill the process that has an order: it may hang."""
        if order in self._waiting:
            self._waiting.remove(order)
        for worker in [one for one in self._workers if one.order == order]:
            self._end(worker)

    def close(self) -> None:
        """Kill every process."""
        self._waiting.clear()
        for worker in list(self._workers):
            self._end(worker)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        process.start()
        theirs.close()  # so that it is told by ours when the process is gone
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _hand_out(self) -> None:
        while self._waiting:
            free = next((one for one in self._workers if one.order is None), None)
            if free is None and len(self._workers) >= self._count:
                return
            worker = free or self._start()
            worker.order = self._waiting.popleft()
            try:
                worker.line.send_bytes(json.dumps(asdict(worker.order)).encode())
            except OSError:  # it has just died, which is heard of next
                continue

    def _hear(self, worker: _Worker) -> list[Lost]:
        """Take note that a process is done with its order, or dead."""
        try:
            said = worker.line.recv_bytes().decode()
        except (EOFError, OSError):
            return self._bury(worker)
        order, worker.order = worker.order, None
        return [Lost(order, said)] if said and order else []

    def _bury(self, worker: _Worker) -> list[Lost]:
        worker.process.join(_GRACE_S)
        self._end(worker)
        code = worker.process.exitcode or 0
        reason = killed_text("the worker process", code) if code < 0 else f"the worker process ended with code {code}"
        return [] if worker.order is None else [Lost(worker.order, reason)]

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.line.close()


def _serve(line: Connection, store: Store, make: Callable[..., Compute], given: Sequence[Any]) -> None:
    """Carry out orders until the coordinator is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    compute = make(*given)
    while True:
        try:
            order = Order(**json.loads(line.recv_bytes()))
        except EOFError:
            return
        try:
            carry_out(store, order, compute)
            said = ""
        except Exception as error:  # the store cannot be written; the coordinator says so if it stays like that
            said = f"{type(error).__name__}: {error}"
        line.send_bytes(said.encode())


def _end_with_parent() -> None:
    """End at once when the process that started this one is gone, in the middle of whatever is done."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
