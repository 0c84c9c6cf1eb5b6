"""AWS Lambda: requests of function URLs and of API Gateway, answered by the application of ``medloom serve``.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any, Protocol, Self
from urllib.parse import unquote, urlencode

from starlette.types import Message

from medloom.errors import UserError
from medloom.serving.admission import Limits
from medloom.serving.http.app import create_app
from medloom.serving.problems import Problem
from medloom.serving.service import Service

__all__ = ["LIMITS", "Context", "Function"]

_MOST_BYTES = 6 * 2**20
"""Largest event and largest answer of Lambda."""

_LONGEST_S = 900.0
_MARGIN_S = 1.0
"""What is left for saying that there was not time enough."""

_ENVELOPE_BYTES = 2**14
"""What an answer takes beside its body."""

LIMITS = Limits(max_body_bytes=_MOST_BYTES, timeout_s=_LONGEST_S, volume_timeout_s=_LONGEST_S)
"""What a client may ask for; Lambda itself ends what takes longer than the function may."""

_TEXTS = ("application/json", "application/problem+json", "text/")


class Context(Protocol):
    """What Lambda says of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still work."""


class Function:
    """Answers the events of one function; close it, or use it in a ``with`` block.

    Args:
        service: What answers; its limits should be `LIMITS`, and its images decoded behind a fence.

    Example:
        >>> function = Function(Service.of(predictor, manifest, LIMITS))  # doctest: +SKIP
        >>> function.answer(event, context)["statusCode"]  # doctest: +SKIP
        200
    """

    def __init__(self, service: Service) -> None:
        self._app = create_app(service)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its event loop."""
        self._runner.close()

    def answer(self, event: Mapping[str, Any], context: Context | None = None) -> dict[str, Any]:
        """Answer a request.

        Args:
            event: As a function URL, an HTTP API (formats 2.0 and 1.0) or a REST API hands it over.
            context: Of the invocation; a client that does not say how long it waits waits as long as it has left.

        Returns:
            ``statusCode``, ``headers``, ``body`` and ``isBase64Encoded``.

        Raises:
            UserError: If the event is no such request, so that nobody takes it for done.
        """
        left_s = _LONGEST_S if context is None else min(_LONGEST_S, context.get_remaining_time_in_millis() / 1000)
        scope = _scope(event, max(0.1, left_s - _MARGIN_S))
        try:
            body = _body(event)
        except (ValueError, binascii.Error):
            refused = Problem(400, "bad_body", "the body of the event is not sound base64").response()
            return _plain(refused.status_code, list(refused.raw_headers), bytes(refused.body))
        scope["headers"].append((b"content-length", str(len(body)).encode()))
        return self._runner.run(self._asked(scope, body))

    async def _asked(self, scope: dict[str, Any], body: bytes) -> dict[str, Any]:
        """Ask the application, as a server of ASGI does."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start = next(one for one in sent if one["type"] == "http.response.start")
        return _plain(start["status"], start["headers"], b"".join(one.get("body", b"") for one in sent))


def _scope(event: Mapping[str, Any], left_s: float) -> dict[str, Any]:
    """Return what ASGI calls a request, without its length.

    Source: https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope
    """
    about = event.get("requestContext")
    http = about.get("http") if isinstance(about, Mapping) else None
    if not isinstance(about, Mapping) or (http is None and "httpMethod" not in event):
        raise UserError(
            "the event is no request of a function URL or of API Gateway, which has requestContext.http or httpMethod; "
            "connect the function to one of these"
        )
    path = str(event["rawPath"] if http else event["path"])
    stage = about.get("stage")
    if http and stage and path.startswith(f"/{stage}/"):
        path = path.removeprefix(f"/{stage}")
    headers = _headers(event)
    if not any(name == b"x-request-timeout" for name, _ in headers):
        headers.append((b"x-request-timeout", f"{left_s:.3f}".encode()))
    source = http or about.get("identity") or {}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": http["method"] if http else event["httpMethod"],
        "scheme": "https",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": (event.get("rawQueryString") or "" if http else urlencode(_query(event))).encode(),
        "headers": headers,
        "client": (str(source.get("sourceIp") or ""), 0),
        "server": ("lambda", 443),
    }


def _headers(event: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The headers without the length, which is that of the event's own text in base64."""
    several = event.get("multiValueHeaders") or {key: [value] for key, value in (event.get("headers") or {}).items()}
    pairs = ((key.lower(), value) for key, values in several.items() for value in values)
    return [
        (key.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for key, value in pairs
        if key not in ("content-length", "transfer-encoding")
    ]


def _query(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The query of format 1.0, whose values are decoded."""
    several = event.get("multiValueQueryStringParameters")
    if several:
        return [(key, value) for key, values in several.items() for value in values]
    return list((event.get("queryStringParameters") or {}).items())


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    return base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()


def _plain(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> dict[str, Any]:
    """Return an answer as Lambda takes it; one that it would not take is refused with the reason."""
    said: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        text = value.decode("latin-1")
        said[name] = f"{said[name]}, {text}" if name in said else text
    is_text = said.get("content-type", "").startswith(_TEXTS) and "content-encoding" not in said
    shown = body.decode() if is_text else base64.b64encode(body).decode()
    if len(shown.encode()) > _MOST_BYTES - _ENVELOPE_BYTES:
        hint = "Ask for another form by Accept, such as image/png, or send fewer slices."
        problem = Problem(413, "answer_too_large", "the answer is larger than the 6 MB that Lambda hands on", hint)
        refused = problem.response()
        return _plain(refused.status_code, list(refused.raw_headers), bytes(refused.body))
    return {"statusCode": status, "headers": said, "body": shown, "isBase64Encoded": not is_text}
