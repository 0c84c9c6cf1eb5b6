"""What Lambda says of an invocation, and how much it takes."""

from __future__ import annotations

from typing import Protocol

from medloom.serving.admission import Limits

__all__ = ["LIMITS", "MOST_BYTES", "Context", "left_s"]

MOST_BYTES = 6 * 2**20
"""Largest event and largest answer of Lambda."""

_LONGEST_S = 900.0

LIMITS = Limits(max_body_bytes=MOST_BYTES, timeout_s=_LONGEST_S, volume_timeout_s=_LONGEST_S)
"""What a client may ask for; Lambda itself ends what takes longer than the function may."""


class Context(Protocol):
    """What Lambda says of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still work."""


def left_s(context: Context | None) -> float:
    """Return how many seconds an invocation has left, at most what a function may ever take."""
    return _LONGEST_S if context is None else min(_LONGEST_S, context.get_remaining_time_in_millis() / 1000)
