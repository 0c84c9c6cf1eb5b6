"""One HTTP connection, which is cut when the headers of a request do not arrive in time."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from medloom.serving.problems import Problem

__all__ = ["Connection"]


class Connection(H11Protocol):
    """Uvicorn's connection with a limit for headers, which uvicorn has not: it waits for slow ones for ever.

    The time runs from the connection, and later from the first byte of each further request; between requests
    uvicorn's own limit holds.

    Args:
        header_timeout_s: Headers must have arrived by then.
        options: For uvicorn.
    """

    def __init__(self, *, header_timeout_s: float, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**options)
        self._header_timeout_s = header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the time run."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether headers are still awaited."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Let the time run while headers are awaited; what has come of them does not stop it."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._unwatch()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self._header_timeout_s, self._cut)

    def _unwatch(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _cut(self) -> None:
        if self.transport.is_closing():
            return
        message = f"the headers did not arrive within {self._header_timeout_s:g} s"
        answer = Problem(408, "too_slow", message, close=True).response()
        head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers, reason=b"Request Timeout")
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
