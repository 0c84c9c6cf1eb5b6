"""Requests to stop: after SIGTERM, Ctrl-C or a listener's wish the step is finished and a checkpoint written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest"]


class StopRequest:
    """Whether someone asked the run to stop, and why. A context manager that listens to signals while it is open.

    A second Ctrl-C interrupts at once. Outside the main thread signals cannot be listened to.

    Args:
        forward: Called with the signal's number too, to pass it on to other processes.
    """

    def __init__(self, forward: Callable[[int], None] | None = None) -> None:
        self.reason: str | None = None
        self._forward = forward
        self._signalled = False
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether someone asked."""
        return self.reason is not None

    def ask(self, reason: str) -> None:
        """Ask the run to stop; the first reason stays."""
        self.reason = self.reason or reason

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            self.listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals (again: Lightning puts handlers of its own in place when it starts)."""
        for number in self._before:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signalled = True
        self.ask(signal.Signals(number).name)
        if self._forward is not None:
            self._forward(number)
