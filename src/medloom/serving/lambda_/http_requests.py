"""Requests of function URLs and of API Gateway, answered by the application of ``medloom serve``.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.types import Message

from medloom.serving.http.app import create_app
from medloom.serving.lambda_.context import MOST_BYTES
from medloom.serving.problems import Problem
from medloom.serving.service import Service

__all__ = ["Requests", "is_request"]

_MARGIN_S = 1.0
"""What is left for saying that there was not time enough."""

_ENVELOPE_BYTES = 2**14
"""What an answer takes beside its body."""

_TEXTS = ("application/json", "application/problem+json", "text/")


def is_request(event: object) -> bool:
    """Whether an event is a request, of format 2.0 or 1.0."""
    about = event.get("requestContext") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(about, Mapping):
        return False
    return isinstance(about.get("http"), Mapping) or "httpMethod" in event


class Requests:
    """Answers requests.

    Args:
        service: What answers.
        runner: Its event loop.
    """

    def __init__(self, service: Service, runner: asyncio.Runner) -> None:
        self._app = create_app(service)
        self._runner = runner

    def answer(self, event: Mapping[str, Any], left_s: float) -> dict[str, Any]:
        """Answer a request.

        Args:
            event: For which ``is_request`` holds.
            left_s: Seconds of the invocation; a client that does not say how long it waits waits as long.

        Returns:
            ``statusCode``, ``headers``, ``body`` and ``isBase64Encoded``.
        """
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
    about = event["requestContext"]
    http = about.get("http")
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
    if len(shown.encode()) > MOST_BYTES - _ENVELOPE_BYTES:
        hint = "Ask for another form by Accept, such as image/png, or send fewer slices."
        problem = Problem(413, "answer_too_large", "the answer is larger than the 6 MB that Lambda hands on", hint)
        refused = problem.response()
        return _plain(refused.status_code, list(refused.raw_headers), bytes(refused.body))
    return {"statusCode": status, "headers": said, "body": shown, "isBase64Encoded": not is_text}
