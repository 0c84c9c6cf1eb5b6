"""Limits how often a listener is told of batches."""

from __future__ import annotations

import time

from medloom.events import BatchEnded, Event, Listener, Stop

__all__ = ["Throttle"]

_INTERVAL_S = 0.2


class Throttle:
    """Hands on the last batch of every epoch and those before it a few times a second, and every other event.

    Args:
        listener: Who is told.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._latest = 0.0

    def __call__(self, event: Event) -> Stop | None:
        """Tell the listener, unless it was told of a batch a moment ago."""
        now = time.monotonic()
        if isinstance(event, BatchEnded) and event.step < event.steps and now - self._latest < _INTERVAL_S:
            return None
        self._latest = now
        return self._listener(event)
