"""Work on samples in several processes, in order.

The processes are forked from a server that has imported what they need. ``expect_workers`` starts it while the files
are still being listed; without it each process would begin with most of a second of imports.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import forkserver, get_context
from typing import Any, TypeVar

from medloom.data.pseudonyms import Entry
from medloom.errors import MedloomError

__all__ = ["Job", "expect_workers", "in_order"]

Job = Sequence[tuple[int, Entry]]
"""Samples with their rows."""

Found = TypeVar("Found")

_PRELOADED = ["__main__", "medloom.data.preloaded"]

_PIECE = 16
"""Samples that a worker takes at a time."""

_AHEAD = 2
"""Pieces in flight for each worker: enough to keep it busy, few enough to bound the memory."""

_MOST_WAITING = 64
"""Pieces that are done, or begun, before the first of them is."""

_WORTH_PROCESSES = 512
"""Samples from which other processes save more time than they take to start."""


def expect_workers(workers: int, files: int) -> None:
    """Start what worker processes are forked from, if there may be enough to do for several; returns at once.

    Args:
        workers: Processes that will work, this one included.
        files: How many files there are; no fewer than samples, but for files with pages.
    """
    if workers == 1 or files < _WORTH_PROCESSES:
        return
    with suppress(OSError):  # then it starts with the first worker, or that says why it does not
        _preload()
        forkserver.ensure_running()


def in_order(work: Callable[[Job], list[Found]], entries: Sequence[Entry], workers: int) -> Iterator[Found]:
    """Give the results in the order of the samples, with a bounded number in flight.

    Args:
        work: From samples with their rows to their results; can be sent to other processes.
        entries: The samples.
        workers: Processes, this one included; a small set is worked on in this one alone.

    Raises:
        MedloomError: If a process was killed.
    """
    jobs = _pieces(entries)
    if workers == 1 or len(entries) < _WORTH_PROCESSES:
        for job in jobs:
            yield from work(job)
        return
    # Threads would wait for each other: most of the work on a small image is Python's.
    _preload()
    try:
        others, context = workers - 1, get_context("forkserver")
        with ProcessPoolExecutor(others, context, _receive, (work,)) as pool, _ended_at_once(pool):
            yield from _shared(pool, work, jobs, others * _AHEAD)
    except BrokenProcessPool as error:
        raise MedloomError(
            "a process that decoded images was killed, perhaps because memory ran out; try again with --workers 1"
        ) from error


def _preload() -> None:
    """Let the server import what is needed here, unless a program that uses this one has made a list of its own."""
    if getattr(forkserver._forkserver, "_preload_modules", None) == ["__main__"]:  # as Python begins
        forkserver.set_forkserver_preload(_PRELOADED)


def _shared(
    pool: ProcessPoolExecutor, work: Callable[[Job], list[Found]], jobs: Iterator[Job], ahead: int
) -> Iterator[Found]:
    """Results in order. This process works too: while the others start, and whenever the next result is not due."""
    waiting = deque[Future[list[Found]]]()
    while True:
        busy = sum(not one.done() for one in waiting)
        waiting.extend(pool.submit(_do, job) for job in islice(jobs, max(0, ahead - busy)))
        if not waiting:
            return
        if waiting[0].done() or len(waiting) >= _MOST_WAITING or (mine := next(jobs, None)) is None:
            yield from waiting.popleft().result()
        else:
            waiting.append(_done(work(mine)))


def _done(found: list[Found]) -> Future[list[Found]]:
    future = Future[list[Found]]()
    future.set_result(found)
    return future


@contextmanager
def _ended_at_once(pool: ProcessPoolExecutor) -> Iterator[None]:
    """If the work is stopped, do not wait for what the processes are at: nothing of it is kept."""
    try:
        yield
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()
        raise


def _pieces(entries: Sequence[Entry]) -> Iterator[Job]:
    """Parts of the work; the pages of a file stay together, because a worker keeps the file that it reads."""
    piece: list[tuple[int, Entry]] = []
    for row, entry in enumerate(entries):
        if len(piece) >= _PIECE and entry.item.images != piece[-1][1].item.images:
            yield piece
            piece = []
        piece.append((row, entry))
    if piece:
        yield piece


_received: list[Callable[[Job], list[Any]]] = []
"""In a process of the pool: what it works with."""


def _receive(work: Callable[[Job], list[Any]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one answers Ctrl-C
    _received.append(work)


def _do(job: Job) -> list[Any]:
    return _received[-1](job)
