"""Answers that lie in files, as a batch transform of SageMaker leaves them: bodies without their headers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Unpack

from medloom.client.answers import Received, checked, received
from medloom.client.payload import Options, Sendable
from medloom.client.wire import Response
from medloom.errors import ServerError

__all__ = ["StoredAnswers", "refusal_in", "stored"]

_JSON, _MULTIPART, _PROBLEM = "application/json", "multipart/mixed", "application/problem+json"
_SERVER = "the container"


class StoredAnswers:
    """Gives what is in stored answers to whoever asks a server elsewhere; what is sent to it is an answer."""

    def received(
        self, image: Sendable, forms: Sequence[str] = (), optional: Sequence[str] = (), **options: Unpack[Options]
    ) -> Received:
        """Return the answer whose bytes these are; see ``Client.received``.

        Raises:
            MedloomError: What was refused raises what a server's refusal does.
        """
        if not isinstance(image, bytes):
            raise ServerError("a stored answer is bytes")
        return received(checked(stored(image), _SERVER), _SERVER)


def stored(content: bytes) -> Response:
    """Return a stored answer as it came: the boundary of parts is their first line, a refusal says so in itself.

    Args:
        content: The body.
    """
    if content.startswith(b"--"):
        boundary = content.partition(b"\r\n")[0].removeprefix(b"--").decode("latin-1")
        return Response(HTTPStatus.OK, {"content-type": f"{_MULTIPART}; boundary={boundary}"}, content)
    refused = _refused(content)
    if refused is None:
        return Response(HTTPStatus.OK, {"content-type": _JSON}, content)
    return Response(int(refused["status"]), {"content-type": _PROBLEM}, content)


def refusal_in(content: bytes) -> str | None:
    """Return in one word why a stored answer is none; None where it is one.

    Example:
        >>> refusal_in(b'{"refused": true, "status": 400, "code": "truncated", "message": "it ends early"}')
        'truncated'
        >>> refusal_in(b'{"probabilities": {"nevus": 0.9}}') is None
        True
    """
    refused = _refused(content)
    return None if refused is None else str(refused["code"])


def _refused(content: bytes) -> dict[str, Any] | None:
    """The problem in a stored answer; see ``medloom.serving.records``."""
    if content.lstrip()[:1] != b"{":  # pictures and arrays
        return None
    try:
        said = json.loads(content)
    except ValueError:
        return None
    is_refused = isinstance(said, dict) and said.get("refused") is True and isinstance(said.get("status"), int)
    return said if is_refused and isinstance(said.get("code"), str) else None
