"""Large answers in JSON are compressed where the client asks for that, and never on the event loop.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
"""

from __future__ import annotations

import asyncio
import re
import zlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medloom.serving.problems import JSON

__all__ = ["Compress", "encoding_for"]

_LEAST_BYTES = 4096
"""Smaller answers are sent sooner than they are compressed."""

_LEVEL = 5
_WINDOWS = {"gzip": 31, "deflate": zlib.MAX_WBITS}
"""How zlib is told to write each encoding; the one that is named first is taken where a client likes both as much."""

_QUALITY = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)", re.IGNORECASE)


def encoding_for(accept: str) -> str | None:
    """Return in which encoding a client wants an answer; None for none.

    Args:
        accept: An ``Accept-Encoding`` header.

    Example:
        >>> encoding_for("deflate;q=0.5, gzip"), encoding_for("br"), encoding_for("identity, gzip;q=0.5")
        ('gzip', None, None)
    """
    wanted: dict[str, float] = {}
    for one in accept.lower().split(","):
        name, _, parameter = (part.strip() for part in one.partition(";"))
        found = _QUALITY.fullmatch(parameter)
        if name and (found or not parameter):
            wanted[name] = float(found[1]) if found else 1.0
    qualities = {name: wanted.get(name, wanted.get("*", 0.0)) for name in _WINDOWS}
    best = max(qualities, key=lambda name: qualities[name])
    return best if qualities[best] > 0 and qualities[best] >= wanted.get("identity", 0.0) else None


class Compress:
    """Middleware: sends an answer in JSON of 4 KiB and more in the encoding that the client asks for.

    Args:
        app: What is asked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        encoding = encoding_for(Headers(scope=scope).get("accept-encoding", ""))
        await self._app(scope, receive, _Sending(send, encoding).send)


class _Sending:
    """Holds the beginning of an answer in JSON until its body is there."""

    def __init__(self, send: Send, encoding: str | None) -> None:
        self._send, self._encoding = send, encoding
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_json(message):
            self._held = message
            return
        if self._held is not None:
            start, self._held = self._held, None
            message = await self._packed(start, message)
            await self._send(start)
        await self._send(message)

    async def _packed(self, start: Message, message: Message) -> Message:
        body = message.get("body", b"")
        if message.get("more_body") or len(body) < _LEAST_BYTES:
            return message
        headers = MutableHeaders(scope=start)
        headers.add_vary_header("Accept-Encoding")
        if self._encoding is None:
            return message
        packed = await asyncio.to_thread(_pack, body, self._encoding)
        headers["Content-Encoding"], headers["Content-Length"] = self._encoding, str(len(packed))
        return {**message, "body": packed}


def _is_json(start: Message) -> bool:
    headers = Headers(raw=list(start.get("headers", ())))
    return headers.get("content-type", "").partition(";")[0] == JSON and "content-encoding" not in headers


def _pack(body: bytes, encoding: str) -> bytes:
    packing = zlib.compressobj(_LEVEL, wbits=_WINDOWS[encoding])
    return packing.compress(body) + packing.flush()
