"""A delivery of messages: work on each while there is time, and say which are to come again."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from medloom.errors import ServerError, UserError
from medloom.serving.lambda_.events import Delivery, Message, Stored
from medloom.serving.lambda_.storage import Outcome
from medloom.wording import counted

__all__ = ["Clock", "answer_delivery"]

_LEAST_S = 2.0
"""With less left no object is begun."""

_TIMES = 2.0
"""As often what the longest object took has to be left to begin another."""

_NO_TIME, _UNREAD, _BEHIND, _PASSED_BY = "no_time", "unread", "waits_in_order", "passed_by"

_log = logging.getLogger(__name__)


@dataclass
class Clock:
    """Says whether there is time for another object.

    Args:
        left_s: Says how many seconds the invocation has left.
    """

    left_s: Callable[[], float]
    longest_s: float = 0.0

    def has_time(self) -> bool:
        """Whether another object may be begun."""
        return self.left_s() >= _LEAST_S + _TIMES * self.longest_s

    def took(self, seconds: float) -> None:
        """Remember how long an object took."""
        self.longest_s = max(self.longest_s, seconds)


@dataclass
class _Report:
    """What became of a delivery so far."""

    codes: Counter[str] = field(default_factory=Counter)
    again: list[str] = field(default_factory=list)
    set_up: str = ""
    failed: int = 0

    def add(self, outcome: Outcome) -> None:
        self.codes[outcome.code] += 1
        self.failed += outcome.is_failed
        self.set_up = self.set_up or outcome.set_up


def answer_delivery(delivery: Delivery, work: Callable[[Stored, float], Outcome], clock: Clock) -> dict[str, Any]:
    """Work on every object of a delivery, one after the other.

    Args:
        delivery: From ``read_delivery``.
        work: Answers an object within some seconds.
        clock: Says whether there is time for another.

    Returns:
        For a queue ``batchItemFailures``, which names the messages that are to come again; else how many objects came
        to which end.

    Raises:
        UserError: If the function is set up so that it could do nothing at all.
        ServerError: If something is to come again of an event that is no queue's, so that it all comes again; what is
            done is then passed over.
    """
    report, stopped = _Report(), set[str]()
    for message in delivery.messages:
        outcomes = (
            [Outcome(_BEHIND, is_failed=True)]
            if delivery.in_order and message.group in stopped
            else _worked(message, work, clock)
        )
        for outcome in outcomes:
            report.add(outcome)
        if any(outcome.is_failed for outcome in outcomes):
            report.again.append(message.message_id)
            stopped.add(message.group)
    said = ", ".join(f"{code} {count}" for code, count in sorted(report.codes.items()))
    level = logging.ERROR if report.failed else logging.INFO
    _log.log(level, "%s, %s: %s", delivery.kind, counted(len(delivery.messages), "message"), said or "nothing to do")
    _raise_if_set_up_wrong(report)
    if delivery.by_message:
        return {"batchItemFailures": [{"itemIdentifier": one} for one in report.again]}
    if report.failed:
        raise ServerError(
            f"{counted(report.failed, 'object')} could not be answered now ({said}); the event is to come again"
        )
    return dict(report.codes)


def _worked(message: Message, work: Callable[[Stored, float], Outcome], clock: Clock) -> Sequence[Outcome]:
    """What became of each object of a message; after one for which there is no time none is begun."""
    if message.unread:
        _log.error("a message is left to its queue: %s", message.unread)
        return [Outcome(_UNREAD, is_failed=True)]
    outcomes = [Outcome(_PASSED_BY)] * message.passed_by
    for stored in message.objects:
        if not clock.has_time():
            outcomes.append(Outcome(_NO_TIME, is_failed=True))
            continue
        began = time.monotonic()
        outcomes.append(work(stored, clock.left_s() - _LEAST_S / 2))
        clock.took(time.monotonic() - began)
    return outcomes


def _raise_if_set_up_wrong(report: _Report) -> None:
    """Fail loudly where nothing can succeed; where some could, the others are named, and the log says why."""
    if not report.set_up:
        return
    _log.error("%s", report.set_up)
    if report.failed + report.codes[_PASSED_BY] == report.codes.total():
        raise UserError(report.set_up)
