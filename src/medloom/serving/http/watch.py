"""What operators see of requests: each is one `Finished`, told to logs, metrics and traces when it is over.

Clients choose paths, methods, headers and bodies, and may write a patient's name into any of them. So what is told
holds nothing of theirs but what is one of a few words that Medloom knows.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medloom.inference.prepared import Prepared
from medloom.serving.http.security import HEALTH
from medloom.serving.problems import ACCEPTED, Problem
from medloom.serving.service import Seen

__all__ = ["Finished", "Listener", "Watch", "WatchRequests", "WatchedImage"]

_log = logging.getLogger(__name__)

OTHER = "other"
_ROUTINE = HEALTH | {"/metrics"}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_CONTENT_TYPES = frozenset({*ACCEPTED, "multipart/form-data"})
_REQUEST_ID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.IGNORECASE)
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_MOST_PIXELS = 2**16
_LONGEST_PROBLEM = 16 * 2**10


@dataclass(frozen=True)
class WatchedImage:
    """One image of a request.

    Args:
        model: Name of the model.
        code: ``ok``, or why it was not answered.
        stages: Seconds in each stage.
        batch_size: Images that went through the network together.
        content_type: What it was said to be, if that is a type that is known.
        size_bytes: Size as it came.
        mean: Of the pixels as decoded, of a large image of 65,536 that are spaced evenly; None of a volume.
        std: Standard deviation of the same.
    """

    model: str
    code: str
    stages: Mapping[str, float]
    batch_size: int
    content_type: str
    size_bytes: int
    mean: float | None = None
    std: float | None = None


@dataclass
class Finished:
    """One request that is over.

    Args:
        request_id: The client's own if it is a UUID, else that of its trace, else made.
        traceparent: The client's W3C trace context, or empty.
        method: One that is known, or ``other``.
        began_s: When it began, in seconds since 1970.
        content_type: Of the body, if it is one that is known; else ``other``, or empty if there is none.
        route: Template of its path, as ``/models/{model}``, or ``unmatched``.
        status: What was answered; 0 if nothing.
        code: ``ok``, or that of the problem.
        seconds: How long it took.
        bytes_in: Of the body, as far as it was read.
        bytes_out: Of the answer's body.
        images: Those that were looked at.
        refused: Why, where it was refused before an image was looked at.
    """

    request_id: str
    traceparent: str
    method: str
    began_s: float
    content_type: str = ""
    route: str = "unmatched"
    status: int = 0
    code: str = "ok"
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    images: list[WatchedImage] = field(default_factory=list)
    refused: str = ""

    @property
    def was_none(self) -> bool:
        """Whether it was refused before it was a request, as when its headers never came."""
        return not self.status and bool(self.refused)

    @property
    def codes(self) -> frozenset[str]:
        """Those of its images."""
        return frozenset(image.code for image in self.images)

    @property
    def is_routine(self) -> bool:
        """Whether it asked how the server is, as is done every few seconds, and got its answer."""
        return self.status < 400 and self.route in _ROUTINE


class Listener(Protocol):
    """Is told of each request that is over."""

    def finished(self, done: Finished) -> None:
        """Look at it, from the event loop, so without waiting; what is raised here harms no request."""


class Watch:
    """Brings together what the application says of a request and what the service says of its images.

    It is an observer of the service; ``WatchRequests`` is its middleware.

    Args:
        listeners: Who is told.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._open: dict[str, Finished] = {}

    @property
    def in_progress(self) -> int:
        """How many requests are neither answered nor refused yet."""
        return len(self._open)

    def seen(self, seen: Seen) -> None:
        """Note one image of a request that is in progress."""
        request = self._open.get(seen.request_id)
        if not seen.model:
            self._refuse(request, seen.code)
        elif request is not None:
            mean, std = (None, None) if seen.prepared is None else _moments(seen.prepared)
            kind = _known_type(seen.content_type)
            request.images.append(
                WatchedImage(
                    seen.model, seen.code, dict(seen.stages), seen.batch_size, kind, seen.size_bytes, mean, std
                )
            )

    def _refuse(self, request: Finished | None, code: str) -> None:
        """Note why a request was refused, or tell at once of what never became one."""
        if request is not None:
            request.refused = code
        else:
            self._tell(Finished(str(uuid.uuid4()), "", OTHER, time.time(), code=code, refused=code))

    def begin(self, scope: Scope) -> Finished:
        """Note that a request began, and give it an id that no other in progress has."""
        headers = Headers(scope=scope)
        traceparent = headers.get("traceparent", "")
        trace = _TRACEPARENT.fullmatch(traceparent)
        given = headers.get("x-request-id", "")
        request_id = given.lower() if _REQUEST_ID.fullmatch(given) else trace[1] if trace else ""
        if not request_id or request_id in self._open:
            request_id = str(uuid.uuid4())
        method = scope["method"] if scope["method"] in _METHODS else OTHER
        kind = _known_type(headers.get("content-type", ""))
        request = Finished(request_id, traceparent if trace else "", method, time.time(), kind)
        self._open[request_id] = request
        return request

    def end(self, request: Finished) -> None:
        """Tell that a request is over."""
        self._open.pop(request.request_id, None)
        self._tell(request)

    def _tell(self, request: Finished) -> None:
        for listener in self._listeners:
            try:
                listener.finished(request)
            except Exception as error:  # whatever it is, the server goes on
                _log.error("%s failed to look at a request: %s", type(listener).__name__, type(error).__name__)


class WatchRequests:
    """Middleware, the outermost: tells a `Watch` of each request, and lets no exception out.

    A server that is given an exception logs its message, and that may hold what a client sent.

    Args:
        app: What is asked. It finds the request's id in ``request.state.request_id``, and clients find it in the
            header ``X-Request-Id``.
        watch: Who is told.
    """

    def __init__(self, app: ASGIApp, watch: Watch) -> None:
        self._app = app
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and tell how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = self._watch.begin(scope)
        scope.setdefault("state", {})["request_id"] = request.request_id
        exchange, started = _Exchange(request, receive, send), time.perf_counter()
        try:
            await self._pass_on(scope, exchange)
        finally:
            request.seconds = time.perf_counter() - started
            route = scope.get("route")
            request.route = getattr(route, "path", "") or request.route
            request.code = exchange.code()
            self._watch.end(request)

    async def _pass_on(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # nothing else would answer
            _log.error("a request failed: %s", type(error).__name__)
            if exchange.request.status:
                raise _BrokenOffError from None
            await Problem(500, "internal", "the request failed", close=True).response()(
                scope, exchange.receive, exchange.send
            )


class _BrokenOffError(Exception):
    """An answer ended before it was whole; whoever sends it must close the connection."""


class _Exchange:
    """Looks at what a request and its answer say while they pass."""

    def __init__(self, request: Finished, receive: Receive, send: Send) -> None:
        self.request = request
        self._receive, self._send = receive, send
        self._problem: bytearray | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        self.request.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.request.status = message["status"]
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request.request_id
            if headers.get("content-type", "").startswith("application/problem+json"):
                self._problem = bytearray()
        else:
            body = message.get("body", b"")
            self.request.bytes_out += len(body)
            if self._problem is not None and len(self._problem) < _LONGEST_PROBLEM:
                self._problem += body
        await self._send(message)

    def code(self) -> str:
        """``ok``, the code of the problem that was answered, or that the client was gone before there was one."""
        if self._problem is not None:
            try:
                return str(json.loads(self._problem)["code"])
            except (ValueError, KeyError, TypeError):
                pass
        if not self.request.status:
            return "client_gone"
        if self.request.status < 400:
            return "ok"
        return self.request.refused or next(iter(self.request.codes - {"ok"}), f"http_{self.request.status}")


def _known_type(content_type: str) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type if not media_type or media_type in _CONTENT_TYPES else OTHER


def _moments(prepared: Prepared) -> tuple[float, float]:
    """Mean and standard deviation of an image's values as decoded."""
    pixels = prepared.pixels.reshape(-1, prepared.pixels.shape[-1])
    values = pixels[:: 1 + len(pixels) // _MOST_PIXELS]
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
