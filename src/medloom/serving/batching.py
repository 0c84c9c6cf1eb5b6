"""Images of several requests go through a network together: a few threads run every network, on all cores.

How many images go together, and how many batches run side by side, is what was found to be the fastest on this machine;
see ``medloom.serving.pace``. While batches run, others gather and are the next one, so nobody waits for company when
nothing else is asked. Only where larger batches are faster, and more images are known to be on their way, a batch waits
for them a little. Slices of volumes stand in a line of their own: where single images wait as well, both have turns.

Shapes: N images, C channels, h and w of the network's image, F columns of metadata.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from medloom.inference import Runtime
from medloom.inference.runtimes import run_with_features
from medloom.inference.runtimes.graph import available_threads
from medloom.serving.pace import MOST_STREAMS, Arrangement, Pace, calibrate

__all__ = ["Batcher", "Batching", "Ran"]

Floats32 = NDArray[np.float32]

_UNMEASURED = Arrangement(1, 2)
"""Where the cores allow it: while one batch waits for its last thread, the other computes."""

_QUIET_S, _AT_LAST_S = 0.25, 10.0
"""A step of measuring takes as long as a large batch, and whoever asks meanwhile waits for it. So it is taken when
nobody has asked for a while; after some seconds whenever nobody waits."""


@dataclass(frozen=True)
class Batching:
    """Bounds of batches.

    Args:
        most_images: Largest batch; None for what is found to be the fastest on this machine, 16 at most.
        most_delay_s: How long a batch waits for images that are on their way.
        most_streams: Batches that run at the same time at most; None for as many as there are cores, 8 at most.
    """

    most_images: int | None = None
    most_delay_s: float = 0.005
    most_streams: int | None = None


@dataclass(frozen=True)
class Ran:
    """What came of one call.

    Args:
        answer: What the runtime gave for it.
        images: How many images went through the network together.
        queue_s: How long it waited.
        run_s: How long the batch took.
        features: What the deepest layer makes of its images, where that was asked for and the runtime says it.
    """

    answer: Floats32
    images: int
    queue_s: float
    run_s: float
    features: Floats32 | None = None


@dataclass(eq=False)
class _Item:
    runtime: Runtime
    batch: Floats32
    table: Floats32 | None
    check: Callable[[], None]
    features: bool = False
    result: Future[Ran] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)

    @property
    def key(self) -> tuple[int, tuple[int, ...], tuple[int, ...] | None]:
        """What must be alike for two to go together."""
        return id(self.runtime), self.batch.shape[1:], None if self.table is None else self.table.shape[1:]


@dataclass(frozen=True)
class _Measured:
    """A network that is measured, and when that is no longer put off for those who ask now and then."""

    runtime: Runtime
    steps: Iterator[Pace]
    until_s: float


class Batcher:
    """Runs networks in a few threads. Close it, or use it in a ``with`` block.

    Args:
        batching: Bounds of batches.

    Example:
        >>> with Batcher() as batcher:  # doctest: +SKIP
        ...     batcher.run(predictor.runtime, batch_nchw).answer.shape
        (1, 1, 96, 96)
    """

    def __init__(self, batching: Batching | None = None) -> None:
        self._batching = batching or Batching()
        self._lines: tuple[deque[_Item], deque[_Item]] = (deque(), deque())
        self._turn = 0
        self._coming: WeakKeyDictionary[Runtime, int] = WeakKeyDictionary()
        self._paces: WeakKeyDictionary[Runtime, Pace] = WeakKeyDictionary()
        self._measuring: deque[_Measured] = deque()
        self._asked_s = -np.inf
        self._found = Pace({})
        lock = threading.Lock()
        self._changed, self._more = threading.Condition(lock), threading.Condition(lock)
        self._running, self._alone, self._closed = 0, False, False
        self._most_streams = min(self._batching.most_streams or available_threads(), MOST_STREAMS)
        self._threads: list[threading.Thread] = []
        self._grow(_UNMEASURED.streams)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """Images that wait for their batch."""
        return sum(len(item.batch) for line in self._lines for item in tuple(line))

    def run(
        self,
        runtime: Runtime,
        batch_nchw: Floats32,
        table_nf: Floats32 | None = None,
        *,
        bulk: bool = False,
        expected: bool = False,
        features: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> Ran:
        """Run a network and wait for its answer, from any thread.

        Args:
            runtime: The network.
            batch_nchw: ``(N, C, h, w)`` float32.
            table_nf: ``(N, F)`` float32, where the model takes some.
            bulk: Whether it is one of many pieces of work for one request, such as the slices of a volume.
            expected: Whether it is the one that ``expect`` announced.
            features: Whether what the deepest layer makes of the images is wanted too.
            check: Called just before the batch is run; what it raises is raised here, and the rest goes on.
        """
        item = _Item(runtime, batch_nchw, table_nf, check, features)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._lines[bulk].append(item)
            self._asked_s = item.since
            if expected:
                self._coming[runtime] = self._coming.get(runtime, 0) - 1
            self._changed.notify()
            self._more.notify_all()
        return item.result.result()

    def expect(self, runtime: Runtime, images: int) -> None:
        """Say that an image more (or fewer, if negative) is on its way to a network."""
        with self._changed:
            self._coming[runtime] = self._coming.get(runtime, 0) + images
            self._more.notify_all()

    def calibrate(self, runtime: Runtime, shape: Sequence[int], table_features: int = 0) -> None:
        """Measure how fast a network is, by and by, whenever nobody waits.

        Args:
            runtime: The network.
            shape: C, h, w.
            table_features: F; 0 if it takes no metadata.
        """
        with self._changed:
            steps = calibrate(runtime, tuple(shape), table_features, self._most_streams)
            self._measuring.append(_Measured(runtime, steps, time.perf_counter() + _AT_LAST_S))
            self._changed.notify()

    def pace(self, runtime: Runtime) -> Pace:
        """Return how fast a network is; empty as long as it has not been measured."""
        return self._paces.get(runtime, Pace({}))

    def best(self, runtime: Runtime) -> Arrangement:
        """Return how many images of a network go together, in how many streams."""
        images, streams = self.pace(runtime).best or _UNMEASURED
        return Arrangement(self._batching.most_images or images, min(streams, self._most_streams))

    def close(self) -> None:
        """End the threads, after what waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _grow(self, streams: int) -> None:
        """Have a thread for each stream."""
        while len(self._threads) < min(streams, self._most_streams):
            self._threads.append(threading.Thread(target=self._work, name="medloom-model", daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        """Wait for work; None at the end."""
        with self._changed:
            while not self._may_begin():
                if self._closed and not any(self._lines):
                    self._changed.notify_all()
                    return None
                rest_s = self._rest_s()
                if rest_s is not None and rest_s <= 0:
                    self._running, self._alone = 1, True
                    return self._measure
                self._changed.wait(rest_s)
            self._running += 1
            batch = self._gathered()
            if self._may_begin():
                self._changed.notify()
        return lambda: self._run(batch)

    def _rest_s(self) -> float | None:
        """Seconds after which the next step may be measured; None if nothing is to be, or a batch runs."""
        if not self._measuring or self._running or self._closed:
            return None
        return min(self._asked_s + _QUIET_S, self._measuring[0].until_s) - time.perf_counter()

    def _may_begin(self) -> bool:
        """Whether a batch waits, and fewer run than are the fastest together."""
        lead = self._lines[self._turn] or self._lines[1 - self._turn]
        return bool(lead) and not self._alone and self._running < self.best(lead[0].runtime).streams

    def _run(self, batch: list[_Item]) -> None:
        _run(batch)
        with self._changed:
            self._running -= 1

    def _gathered(self) -> list[_Item]:
        """Take the next batch from the lines, and wait a little for more where that pays."""
        lead = self._turn if self._lines[self._turn] else 1 - self._turn
        self._turn = 1 - lead
        first = self._lines[lead].popleft()
        batch, most = [first], self.best(first.runtime).images
        until = time.perf_counter() + min(self._batching.most_delay_s, self.pace(first.runtime).image_s or np.inf)
        while True:
            for line in (self._lines[lead], self._lines[1 - lead]):
                _fill(batch, line, most)
            left = until - time.perf_counter()
            if sum(len(one.batch) for one in batch) >= most or self._coming.get(first.runtime, 0) <= 0 or left <= 0:
                return batch
            self._more.wait(left)

    def _measure(self) -> None:
        """Take one step of what is measured, while no batch runs."""
        runtime = self._measuring[0].runtime
        pace = next(self._measuring[0].steps, None)
        with self._changed:
            self._running, self._alone = 0, False
            if pace is not None:
                self._found = pace
                return
            self._measuring.popleft()
            self._paces[runtime], self._found = self._found, Pace({})
            self._grow(self.best(runtime).streams)


def _fill(batch: list[_Item], line: deque[_Item], most: int) -> None:
    """Move items that can go with the first one from a line into a batch; the others keep their places."""
    room = most - sum(len(one.batch) for one in batch)
    for item in [one for one in line if one.key == batch[0].key]:
        if len(item.batch) > room:
            return
        line.remove(item)
        batch.append(item)
        room -= len(item.batch)


def _run(batch: list[_Item]) -> None:
    """Run what is still wanted; one by one if it fails together, so that each gets what is its own."""
    wanted = [item for item in batch if _wanted(item)]
    if not wanted:
        return
    start = time.perf_counter()
    try:
        answer, features = _together(wanted)
    except BaseException as error:
        if len(wanted) == 1:
            wanted[0].result.set_exception(error)
            return
        for item in wanted:
            _run([item])
        return
    took, at = time.perf_counter() - start, 0
    for item in wanted:
        own = slice(at, at + len(item.batch))
        at += len(item.batch)
        described = None if features is None or not item.features else features[own]
        item.result.set_result(Ran(answer[own], len(answer), start - item.since, took, described))


def _wanted(item: _Item) -> bool:
    try:
        item.check()
    except Exception as error:
        item.result.set_exception(error)
        return False
    return True


def _together(items: Sequence[_Item]) -> tuple[Floats32, Floats32 | None]:
    first = items[0]
    described = any(item.features for item in items)
    if len(items) == 1:
        return _asked(first.runtime, first.batch, first.table, features=described)
    tables = [item.table for item in items if item.table is not None]
    batch = np.concatenate([item.batch for item in items])
    answer, features = _asked(first.runtime, batch, np.concatenate(tables) if tables else None, features=described)
    if len(answer) != len(batch):
        raise ValueError("the network gives another number of answers than it was given images")
    return answer, features


def _asked(
    runtime: Runtime, batch: Floats32, table: Floats32 | None, *, features: bool
) -> tuple[Floats32, Floats32 | None]:
    return run_with_features(runtime, batch, table) if features else (runtime.run(batch, table), None)
