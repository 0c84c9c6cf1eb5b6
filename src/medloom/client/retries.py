"""When a request is sent again: only while nobody has answered it, and not before the server wants it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from medloom.client.wire import NoAnswer, Request, Response, Steps, Wait
from medloom.wording import counted

__all__ = ["Retries"]

_AGAIN = frozenset({429, 502, 503, 504})
"""Statuses that say that another time may do: shed, or somebody on the way could not reach the server."""

_FIRST_S, _LONGEST_S = 0.25, 8.0


@dataclass(frozen=True)
class Retries:
    """How often and for how long a request is tried.

    An answer is an answer: what was refused for what it is, or answered, is never sent again. Where the server says
    ``Retry-After``, it is not asked earlier.

    Args:
        times: Most requests beyond the first.
        patience_s: Longest time to wait in all, in seconds; a ``Retry-After`` beyond it ends the tries at once.
    """

    times: int = 5
    patience_s: float = 60.0

    def sent(self, request: Request) -> Steps[Response | NoAnswer]:
        """Send a request until it is answered for good, or patience ends."""
        waited = 0.0
        for attempt in range(self.times + 1):
            answer = yield request
            if answer is None or not _may_change(answer):
                break
            pause = _pause_s(answer, attempt)
            if attempt == self.times or waited + pause > self.patience_s:
                break
            waited += pause
            yield Wait(pause)
        return answer if answer is not None else NoAnswer("nothing was sent", again=False)


def said_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in ``Retry-After``, which may be a number or a date; None where it is not there or neither.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def after(headers: Mapping[str, str]) -> str:
    """Return in words when a server wants to be asked again; empty if it does not say."""
    seconds = said_to_wait(headers)
    return "" if seconds is None else f"; it asks for {counted(round(seconds), 'second')} of patience"


def _may_change(answer: Response | NoAnswer) -> bool:
    return answer.again if isinstance(answer, NoAnswer) else answer.status in _AGAIN


def _pause_s(answer: Response | NoAnswer, attempt: int) -> float:
    """As long as the server says; else longer each time, and never in step with other clients."""
    said = said_to_wait(answer.headers) if isinstance(answer, Response) else None
    longest = min(_LONGEST_S, _FIRST_S * 2.0**attempt)
    jitter = random.uniform(0.5, 1.0) * longest  # noqa: S311 - no secret
    return jitter if said is None else said + random.uniform(0.0, 0.25) * longest  # noqa: S311 - no secret
