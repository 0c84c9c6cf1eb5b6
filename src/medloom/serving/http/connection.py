"""One HTTP connection: closed with a reason when headers are late or too large, chunks too small, or it is not HTTP.

The parser is llhttp, by way of httptools, and the protocol uvicorn's. Neither has a limit of time or size; both are
here, and so are two rules of HTTP that they leave to others: one ``Host``, and nothing after an expectation that was
not met. A parser that reads on differently than the one of a proxy in front of it lets requests be smuggled, so
whatever is not exactly right is refused and the connection closed.

Source: https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from medloom.serving.problems import Problem

__all__ = ["Connection", "Settings"]

_PIECE = 16 * 2**10
_MOST_HEADERS = 64 * 2**10
_MOST_FRAMING = 64 * 2**10
"""Most bytes of chunk headers beyond those of content: every chunk costs time to read, however small."""

_VERSIONS = ("1.0", "1.1")

_REST_S = 10.0
"""For how long what is left of a body is read whose request has been answered."""

_LINGER_S, _MOST_DROPPED = 0.8, 64 * 2**20
"""For how long, and how many bytes, what a client still sends is taken and dropped after it was told that it ends: a
connection that is closed with bytes unread is reset, and the client may lose the answer."""

_GRACE_S = 0.5
"""For how long a connection that rests is kept when the server goes down: a request may be on its way."""

_NEW_S = 3.0
"""And one on which nothing has come yet: whoever connects means to ask, and may be on a busy machine."""

_WRITE_S = 60.0
"""For how long a client may take none of its answer."""


class Settings(Config):
    """Uvicorn's settings with more for ``Connection``."""

    header_timeout_s = 10.0
    """Seconds after which the headers must have arrived."""

    refused: Callable[[Problem], object] | None = None
    """Is told of what was refused before it was a request."""

    ended: Callable[[], object] | None = None
    """Is told of each connection that is lost."""


class _Awaited(Enum):
    """What comes next."""

    FIRST = "the first request of the connection"
    NEXT = "another request, if any"
    HEADERS = "the rest of the headers"
    BODY = "the body"


class _NotHTTPError(Exception):
    """A request that breaks a rule; raised within the parser."""


class Connection(HttpToolsProtocol):
    """Uvicorn's connection with limits of its own.

    Headers must have arrived some time after the connection, and later after the first byte of each further request;
    between requests uvicorn's own limit holds.

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
        self._refused, self._ended = config.refused, config.ended
        self._header_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._awaited = _Awaited.FIRST
        self._last = self._over = False
        self._dropped = 0
        self._header_bytes = self._framing = self._body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own, too
        """Start the time limit."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes, a few at a time, and see whether headers are still awaited."""
        self._unset_keepalive_if_required()
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            if self._over:
                self._drop(len(data) - start)
                break
            self._take(data[start : start + _PIECE])
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limits."""
        for timer in (self._header_timer, self._rest_timer, self._linger_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self._ended is not None:
            self._ended()

    def pause_writing(self) -> None:
        """Give a client that does not read its answer some time."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(_WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def shutdown(self) -> None:
        """Answer what has come or is on its way, and close; a new connection sends its request in a moment."""
        self._last = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self._awaited is not _Awaited.HEADERS:
            self.loop.call_later(_NEW_S if self._awaited is _Awaited.FIRST else _GRACE_S, self._end)

    def _end(self) -> None:
        rests = self._awaited in (_Awaited.FIRST, _Awaited.NEXT) and (
            self.cycle is None or self.cycle.response_complete
        )
        if rests and not self.transport.is_closing():
            self.transport.close()

    def on_message_begin(self) -> None:
        """Note that the headers of a request come."""
        self._awaited = _Awaited.HEADERS
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a body comes, unless the request is none that HTTP knows.

        Raises:
            _NotHTTPError: If it has no ``Host``, or several, or is of another version.
        """
        version, hosts = self.parser.get_http_version(), sum(name == b"host" for name, _ in self.headers)
        if version not in _VERSIONS or hosts > 1 or (not hosts and version == "1.1"):
            raise _NotHTTPError
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and not self._last
        self._awaited = _Awaited.BODY
        self._header_bytes = self._framing = 0

    def on_body(self, body: bytes) -> None:
        """Count what is content."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._awaited = _Awaited.NEXT
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Read what is left of the body for a while; not where the client was told nothing and may send none."""
        if self._over and not self.pipeline:
            self._leave()
            return
        unread = self._awaited is _Awaited.BODY and not self.pipeline
        if unread and self.expect_100_continue:
            self.transport.close()
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._rest_timer = self.loop.call_later(_REST_S, self.transport.close)

    def _take(self, data: bytes) -> None:
        """Take bytes, and refuse headers that are too large and a body in chunks that are too small."""
        self._header_bytes += len(data)
        known = self._body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # which is never taken: the request is answered as it is
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(Problem(400, "bad_request", "the request is not sound HTTP", close=True))
            return
        if self._awaited is not _Awaited.BODY:
            self._framing = 0
            if self._awaited is _Awaited.NEXT:
                self._header_bytes = 0
            elif self._header_bytes > _MOST_HEADERS:
                said = f"the headers are larger than {_MOST_HEADERS} bytes"
                self._refuse(Problem(431, "headers_too_large", said, close=True))
            return
        self._framing = max(0, self._framing + len(data) - 2 * (self._body_bytes - known))
        if self._framing > _MOST_FRAMING:
            self._refuse(Problem(400, "bad_request", "the chunks of the body are too small", close=True))

    @property
    def _waits_for_headers(self) -> bool:
        """Whether headers are awaited; empty lines between requests are no rest."""
        if self.transport.is_closing() or self._over:
            return False
        if self._awaited is _Awaited.NEXT:
            return self.cycle.response_complete and self.timeout_keep_alive_task is None
        return self._awaited in (_Awaited.FIRST, _Awaited.HEADERS)

    def _watch(self) -> None:
        """Run the time limit while headers are awaited; a part of them does not stop it."""
        if not self._waits_for_headers:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self._header_timeout_s, self._cut)

    def _cut(self) -> None:
        self._header_timer = None
        if not self.transport.is_closing():
            message = f"the headers did not arrive within {self._header_timeout_s:g} s"
            self._refuse(Problem(408, "too_slow", message, close=True))

    @property
    def _may_answer(self) -> bool:
        """Whether nothing else is being answered: neither an earlier request nor, in part, this one."""
        if self._awaited is _Awaited.BODY:
            return not self.cycle.response_started and not self.pipeline
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, problem: Problem) -> None:
        """Read no further, answer with the reason, and close; what came before on the connection is answered first."""
        self._over = True
        if self._refused is not None:
            self._refused(problem)
        if self._may_answer:
            self._write(problem)
        elif self._awaited is _Awaited.BODY and self.pipeline:
            self.pipeline.popleft()  # its headers were sound and its body is not; nobody began to answer it
        elif self.cycle.response_complete:
            self._leave()

    def _write(self, problem: Problem) -> None:
        """Answer with a problem and close; whoever reads the body of the request learns that there is no more."""
        if self._awaited is _Awaited.BODY:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = problem.response()
        lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", bytes(answer.body)]))
        self._leave()

    def _leave(self) -> None:
        """Say that nothing more comes, and close when the client has read that, or a little later."""
        if self.transport.is_closing() or self._linger_timer is not None:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._linger_timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _drop(self, size_bytes: int) -> None:
        """Take no notice of bytes; of very many not even that."""
        self._dropped += size_bytes
        if self._dropped > _MOST_DROPPED:
            if self._linger_timer is not None:
                self.transport.close()
            else:
                self.flow.pause_reading()
