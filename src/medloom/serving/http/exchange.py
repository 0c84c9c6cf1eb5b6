"""One request from its admission to its answer, the same for every protocol."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from medloom.serving.admission import Admission
from medloom.serving.problems import Problem
from medloom.serving.service import Answer, Service

__all__ = ["SECONDS", "answered", "exchange"]

SECONDS = r"(?=.*[1-9])[0-9]{1,5}(\.[0-9]{1,6})?"
"""How long a client may say that it waits: some time, as a plain number."""

_log = logging.getLogger(__name__)


async def exchange(
    request: Request,
    service: Service,
    work: Callable[[Request, Admission], Awaitable[Response]],
    say: Callable[[Problem], Response] = Problem.response,
) -> Response:
    """Let a request in, have it answered, and say why where it is not.

    Args:
        request: Nothing of its body has been read. A middleware may name it in ``request.state.request_id``, and its
            sender in ``request.state.client``.
        service: Whose gate it enters.
        work: Reads the body and makes the response; may raise a `Problem`.
        say: Says a problem in the words of the protocol.
    """
    request_id = getattr(request.state, "request_id", "")
    admission: Admission | None = None
    try:
        with service.gate.enter(
            request_id=request_id, client=_client(request), timeout_s=_timeout_s(request)
        ) as admission:
            return await work(request, admission)
    except Problem as problem:
        refusal = problem
    except Exception as error:
        _log.error("a request failed: %s", type(error).__name__)
        refusal = Problem(500, "internal", "the request failed")
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    service.refused(refusal, admission or Admission(request_id), declared)
    return say(refusal)


def answered(answer: Answer) -> Response:
    """Return an answer as a response."""
    return Response(answer.content, headers=dict(answer.headers), media_type=answer.media_type)


def _client(request: Request) -> str:
    """Who sent it: as a middleware says, else the address."""
    named = getattr(request.state, "client", "")
    return str(named) or (request.client.host if request.client else "")


def _timeout_s(request: Request) -> float | None:
    """How long the client waits, in seconds; None if it does not say.

    Raises:
        Problem: 400 if it says something else.
    """
    given = request.headers.getlist("x-request-timeout")
    if not given:
        return None
    if len(given) > 1 or not re.fullmatch(SECONDS, given[0]):
        said = "X-Request-Timeout must be one number of seconds above 0, such as 5 or 0.5"
        raise Problem(400, "bad_timeout", said, close=True)
    return float(given[0])
