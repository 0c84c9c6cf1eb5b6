"""One HTTP connection: closed with a reason when headers are late, chunks are too small, or the bytes are not HTTP."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from medloom.serving.problems import Problem

__all__ = ["Connection", "Settings"]

_PIECE = 16 * 2**10
_MOST_FRAMING = 64 * 2**10
"""Most bytes of chunk headers beyond those of content: every chunk costs time to read, however small."""


class Settings(Config):
    """Uvicorn's settings with one more for ``Connection``."""

    header_timeout_s = 10.0
    """Seconds after which the headers must have arrived."""


class Connection(H11Protocol):
    """Uvicorn's connection with a time limit for headers, which uvicorn itself does not have.

    The time runs from the connection, and later from the first byte of each further request; between requests
    uvicorn's own limit holds.

    Args:
        config: With the limit.
        server_state: Of uvicorn.
        app_state: Of uvicorn.
        _loop: The running one.
    """

    def __init__(
        self,
        config: Settings,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timeout_s = config.header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None
        self._framing = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own, too
        """Start the time limit."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes, a few at a time, and see whether headers are still awaited."""
        for start in range(0, len(data), _PIECE):
            if not self.transport.is_closing():
                self._take(data[start : start + _PIECE])
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limit."""
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        del msg
        self._refuse(Problem(400, "bad_request", "the request is not sound HTTP", close=True))

    def _take(self, data: bytes) -> None:
        """Take bytes, and refuse a body in chunks that are too small."""
        cycle, known = self.cycle, len(self.cycle.body) if self.cycle else 0
        super().data_received(data)
        if self.cycle is not cycle or self.conn.their_state is not h11.SEND_BODY or cycle.response_complete:
            self._framing = 0
            return
        self._framing = max(0, self._framing + len(data) - 2 * (len(cycle.body) - known))
        if self._framing > _MOST_FRAMING and not self.transport.is_closing():
            self._refuse(Problem(400, "bad_request", "the chunks of the body are too small", close=True))

    def _watch(self) -> None:
        """Run the time limit while headers are awaited; a part of them does not stop it."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._unwatch()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self._header_timeout_s, self._cut)

    def _unwatch(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _cut(self) -> None:
        if not self.transport.is_closing():
            message = f"the headers did not arrive within {self._header_timeout_s:g} s"
            self._refuse(Problem(408, "too_slow", message, close=True))

    def _refuse(self, problem: Problem) -> None:
        """Answer with the reason, unless an answer was begun already, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = problem.response()
            reason = HTTPStatus(answer.status_code).phrase.encode()
            head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers, reason=reason)
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
