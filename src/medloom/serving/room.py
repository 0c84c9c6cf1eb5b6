"""Memory for decoded pixels: many small images at a time, but no more large ones than there is room for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from medloom.serving.admission import Admission

__all__ = ["Room"]


class Room:
    """Holds decoded images up to so many bytes together; one that is larger has it for itself.

    Whoever waits for room keeps its place among those that decode, so that what is decoded and not yet in the room
    is bounded as well.

    Args:
        most_bytes: What all images may take together.
        decoders: How many are decoded at the same time.
    """

    def __init__(self, most_bytes: int, decoders: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._left = threading.Condition()
        self._places = threading.BoundedSemaphore(decoders)

    @contextmanager
    def decoding(self, admission: Admission) -> Iterator[None]:
        """Wait for a place to decode, which counts as time in the queue; a request whose deadline passes gives up."""
        with admission.timed("queue"):
            self._places.acquire()
        try:
            admission.check()
            yield
        finally:
            self._places.release()

    def enter(self, size_bytes: int, *, more: bool = False) -> None:
        """Wait until there is room, and take it.

        Args:
            size_bytes: How much.
            more: Whether the request holds something already: then it does not wait, for two that wait for each other
                would do so for ever; what one request may hold is limited elsewhere.
        """
        with self._left:
            while not more and self._held_bytes and self._held_bytes + size_bytes > self._most_bytes:
                self._left.wait()
            self._held_bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        """Give it back."""
        with self._left:
            self._held_bytes -= size_bytes
            self._left.notify_all()
