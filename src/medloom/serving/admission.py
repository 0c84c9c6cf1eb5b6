"""Who comes in: how much a client may ask for, how many requests are inside, and that none comes in when all goes down.

A request is admitted before its body is read, and what it takes from then on is measured in its `Admission`.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from medloom.serving.problems import Problem

__all__ = ["Admission", "Gate", "Limits"]


@dataclass(frozen=True)
class Limits:
    """How much a client may ask for.

    Args:
        max_body_bytes: Largest body.
        header_timeout_s: Headers must have arrived by then; looked at by ``medloom.serving.http.server``.
        body_timeout_s: A body must have arrived by then.
        volume_timeout_s: A volume must have been predicted by then; hosts such as SageMaker give 60 s.
        concurrency: Predictions at the same time; the others wait.
    """

    max_body_bytes: int = 25 * 2**20
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    volume_timeout_s: float = 50.0
    concurrency: int = 2


@dataclass
class Admission:
    """One request that was let in.

    Args:
        request_id: What logs and traces call it.
        client: Who sent it, as far as limits for each client tell clients apart.
        deadline: Time of ``time.monotonic`` after which nobody waits for the answer.
        stages: Seconds that each stage took so far.
        told: Whether observers have been told of what came of it.
    """

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    client: str = ""
    deadline: float = math.inf
    stages: dict[str, float] = field(default_factory=dict)
    told: bool = False

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - start


class Gate:
    """Counts the requests in progress, and refuses new ones when the server is going down."""

    def __init__(self) -> None:
        self.draining = False
        self.inside = 0

    @contextmanager
    def enter(self, *, request_id: str = "", client: str = "") -> Iterator[Admission]:
        """Count one request in and out.

        Args:
            request_id: What logs and traces call it; one is made up if there is none.
            client: Who sent it.

        Raises:
            Problem: 503 while draining.
        """
        if self.draining:
            raise Problem(503, "going_down", "the server is going down", "Send the request again.", close=True)
        self.inside += 1
        try:
            yield Admission(request_id or uuid.uuid4().hex, client)
        finally:
            self.inside -= 1
