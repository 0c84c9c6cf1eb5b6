"""A polite end: SIGTERM and the first Ctrl-C let the step finish and the checkpoint be written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest"]


class StopRequest:
    """Whether someone asked the run to stop. A context manager that listens while it is open.

    A second Ctrl-C interrupts at once. Outside the main thread nothing can be listened to.

    Args:
        forward: Called with the signal's number too, to pass it on to other processes.
    """

    def __init__(self, forward: Callable[[int], None] | None = None) -> None:
        self.requested = False
        self._forward = forward
        self._before: dict[int, Any] = {}

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
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        if self._forward is not None:
            self._forward(number)
