"""Refusals as JSON bodies that say why.

Source: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from medloom.data.whole import ZIP_TYPES
from medloom.errors import DecodeError, InputError
from medloom.imaging import CONTENT_TYPES
from medloom.serving.media_types import OCTETS

__all__ = ["ACCEPTED", "JSON", "MULTIPART", "Problem", "of_decode_error", "of_input_error"]

JSON = "application/json"
MULTIPART = "multipart/form-data"

ACCEPTED = (*CONTENT_TYPES, ZIP_TYPES[0], OCTETS, JSON, MULTIPART)
"""Media types that a request may send: an image or volume, a zip with a DICOM series, bytes whose format is found out,
or some of them with metadata."""

_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

_LINGER_S, _LINGER_BYTES = 0.8, 64 * 2**20
"""For how long, and how many bytes, what a client still sends after its answer is read before the connection closes."""


class Problem(Exception):
    """A request that gets no prediction.

    Args:
        status: HTTP status.
        code: One word for programs.
        message: What came and what was expected.
        hint: What to do about it.
        close: Close the connection, because the body was not read to its end.
        accepted: Media types that would do; for 415 those that a request may send.
        retry_after_s: When it may be sent again; said with 429 and 503.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str | None = None,
        *,
        close: bool = False,
        accepted: Sequence[str] | None = None,
        retry_after_s: int = 1,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.close = close
        self.retry_after_s = retry_after_s
        self.accepted = ACCEPTED if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE else accepted

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, with the media types that would do, where that helps."""
        said = {
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "accepted": list(self.accepted) if self.accepted else None,
        }
        return {key: value for key, value in said.items() if value is not None}

    def response(self, more: Mapping[str, Any] | None = None) -> Response:
        """Return the answer as ``application/problem+json``.

        Args:
            more: What else its body says.
        """
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, **self.plain(), **(more or {})}
        return self.answer(body, "application/problem+json")

    def answer(self, body: Mapping[str, Any], media_type: str = JSON) -> Response:
        """Return the answer in the words of some protocol, with everything that is not in its body."""
        headers = {"Connection": "close"} if self.close else {}
        if self.status in _LATER:
            headers["Retry-After"] = str(self.retry_after_s)
        kind = _LastResponse if self.close else Response
        return kind(json.dumps(body), self.status, headers, media_type=media_type)


class _LastResponse(Response):
    """Answers, and then reads for a short time what the client still sends.

    A connection that is closed with bytes unread is reset, and the client loses the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await _drop(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop(receive: Receive) -> None:
    """Read what is left of a body, up to a limit."""
    dropped, more = 0, True
    while more and dropped < _LINGER_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = message.get("more_body", False)


def of_decode_error(error: DecodeError, declared: str) -> Problem:
    """Return the problem for bytes that are not an acceptable image.

    An NPY whose header does not fit its bytes is understood but wrong: 422 instead of 400.
    """
    lies = CONTENT_TYPES.get(declared) == "npy" and error.code in ("corrupt", "truncated")
    return Problem(422 if lies else error.http, error.code, error.message, error.hint)


def of_input_error(error: InputError) -> Problem:
    """Return the problem for a sound image that is not what the model takes."""
    return Problem(422, "wrong_input", str(error))
