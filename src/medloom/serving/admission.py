"""Who comes in: requests are refused before their body is read where they could not be answered in time.

A request that is let in has an `Admission`: its deadline, after which nothing more is begun for it, and the time that
each stage took. Requests that only send their body do not count as waiting, so that slow senders keep nobody out.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from medloom.serving.problems import Problem

__all__ = ["Admission", "Gate", "Limits"]

_FEW = 8
"""With as few at work nobody is refused by a guess of how long they take."""

_TOGETHER = 8
"""Images of one request that are at work at the same time."""

_WEIGHT = 0.1
"""Of the newest answer in the mean time between two."""

_LONGEST_RETRY_S = 30


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Limits:
    """How much a client may ask for.

    Args:
        max_body_bytes: Largest body.
        header_timeout_s: Headers must have arrived by then; looked at by ``medloom.serving.http.server``.
        body_timeout_s: A body must have arrived by then.
        volume_timeout_s: A volume must have been predicted by then; hosts such as SageMaker give 60 s.
        timeout_s: A request that does not say how long it waits (``X-Request-Timeout``) is given as long.
        queue: Requests whose body is there and that have no answer yet; more are refused.
        reading: Requests that may send their body at the same time, beside those.
        per_client: Requests of one client at the same time; None for as many as there is place for.
        max_bodies_bytes: What the bodies of all requests that have no answer yet may take together.
        concurrency: Requests at work at the same time: decoded, prepared, in a batch or encoded.
        decoders: Images decoded at the same time.
        max_pixels_bytes: What decoded images may take together.
    """

    max_body_bytes: int = 25 * 2**20
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    volume_timeout_s: float = 50.0
    timeout_s: float = 55.0
    queue: int = 64
    reading: int = 256
    per_client: int | None = None
    max_bodies_bytes: int = 512 * 2**20
    concurrency: int = 32
    decoders: int = field(default_factory=lambda: max(2, _cores()))
    max_pixels_bytes: int = 512 * 2**20


@dataclass
class Admission:
    """One request that was let in.

    Args:
        request_id: What logs and traces call it.
        client: Who sent it, as far as limits for each client tell clients apart.
        deadline: Time of ``time.monotonic`` after which nobody waits for the answer.
        stages: Seconds that each stage took so far.
        told: Whether observers have been told of what came of it.
        working: Whether its body is there.
        held_bytes: Of its body, as far as it has arrived.
        gate: Where it was let in; None if nobody was asked.
        began: Time of ``time.perf_counter`` when it was let in.
        turns: Lets a few of its images work at the same time, so that a request with many leaves room for others.
    """

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    client: str = ""
    deadline: float = math.inf
    stages: dict[str, float] = field(default_factory=dict)
    told: bool = False
    working: bool = False
    held_bytes: int = 0
    gate: Gate | None = None
    began: float = field(default_factory=time.perf_counter)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_TOGETHER))

    def hold(self, size_bytes: int) -> None:
        """Count bytes of its body, until it is answered.

        Raises:
            Problem: 503 if all bodies together are too large.
        """
        if self.gate is not None:
            self.gate.hold(size_bytes)
        self.held_bytes += size_bytes

    def check(self) -> None:
        """Raise if nobody waits for the answer any more.

        Raises:
            Problem: 503, ``too_late``.
        """
        if time.monotonic() > self.deadline:
            hint = "Send it again later, or with a longer X-Request-Timeout."
            raise Problem(503, "too_late", "the request could not be answered in the time that it was given", hint)

    def add(self, stage: str, seconds: float) -> None:
        """Add to the time of a stage."""
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    @contextmanager
    def timed(self, stage: str, without: Sequence[str] = ()) -> Iterator[None]:
        """Add the time of a block to a stage.

        Args:
            stage: Its name.
            without: Stages that are measured within the block, whose time does not count twice.
        """
        start, before = time.perf_counter(), self._sum(without)
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start - (self._sum(without) - before))

    def server_timing(self) -> str:
        """Return how long each stage took so far and the whole, in milliseconds, as browsers show it.

        What is no stage's is time in which the request waited for a thread, for its turn, or for memory.

        Source: https://www.w3.org/TR/server-timing/#the-server-timing-header-field
        """
        whole = time.perf_counter() - self.began
        return ", ".join(f"{name};dur={1e3 * took:.1f}" for name, took in {**self.stages, "total": whole}.items())

    def _sum(self, stages: Sequence[str]) -> float:
        return sum(self.stages.get(stage, 0.0) for stage in stages)


class Gate:
    """Lets requests in, as many as can be answered; nobody when the server is going down. Of one thread alone.

    Args:
        limits: How many.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.draining = False
        self.inside = 0
        self.working_now = 0
        self._limits = limits or Limits()
        self._clients: Counter[str] = Counter()
        self._bodies_bytes = 0
        self._interval_s, self._last = 0.0, 0.0

    @contextmanager
    def enter(self, *, request_id: str = "", client: str = "", timeout_s: float | None = None) -> Iterator[Admission]:
        """Count one request in and out.

        Args:
            request_id: What logs and traces call it; one is made up if there is none.
            client: Who sent it.
            timeout_s: How long it waits.

        Raises:
            Problem: 503 while draining, if there are too many, or if those before it take too long; 429 if there are
                too many of its client. Nothing of its body need be read.
        """
        timeout_s = self._limits.timeout_s if timeout_s is None else timeout_s
        self._refuse(client, timeout_s)
        self.inside += 1
        self._clients[client] += 1
        admission = Admission(request_id or uuid.uuid4().hex, client, time.monotonic() + timeout_s, gate=self)
        try:
            yield admission
        finally:
            self.inside -= 1
            self._bodies_bytes -= admission.held_bytes
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    @contextmanager
    def working(self, admission: Admission) -> Iterator[None]:
        """Count a request whose body is there, until its answer is; once for all of its images.

        Raises:
            Problem: 503 if there are too many by now.
        """
        if admission.working:
            yield
            return
        if self.working_now >= self._limits.queue:
            raise self._overloaded()
        if not self.working_now:
            self._last = time.monotonic()
        self.working_now += 1
        admission.working = True
        try:
            yield
        finally:
            self.working_now -= 1
            admission.working = False
            now = time.monotonic()
            self._interval_s += _WEIGHT * (now - self._last - self._interval_s)
            self._last = now

    def hold(self, size_bytes: int) -> None:
        """Take bytes of a body into account, until the request that they belong to leaves.

        Raises:
            Problem: 503 if all bodies together are too large.
        """
        if self._bodies_bytes + size_bytes > self._limits.max_bodies_bytes:
            raise self._overloaded(close=True)
        self._bodies_bytes += size_bytes

    def _refuse(self, client: str, timeout_s: float) -> None:
        limits = self._limits
        if self.draining:
            raise Problem(503, "going_down", "the server is going down", "Send the request again.", close=True)
        if limits.per_client is not None and self._clients[client] >= limits.per_client:
            said = f"{limits.per_client} requests of this client are being answered already"
            raise Problem(429, "too_many", said, "Wait for an answer before sending the next request.")
        if self.working_now >= limits.queue or self.inside >= limits.queue + limits.reading:
            raise self._overloaded()
        if self.working_now > _FEW and self._wait_s > timeout_s:
            raise self._overloaded()

    @property
    def _wait_s(self) -> float:
        """How long those that are at work will take, by the pace of the last answers."""
        return self.working_now * self._interval_s

    def _overloaded(self, *, close: bool = False) -> Problem:
        after = min(_LONGEST_RETRY_S, max(1, math.ceil(self._wait_s)))
        said = "more is asked than can be answered now"
        return Problem(503, "overloaded", said, "Send it again later.", close=close, retry_after_s=after)
