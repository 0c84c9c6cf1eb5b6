"""Requests to stop: after SIGTERM, Ctrl-C or a listener's wish the step is finished and a checkpoint written.

Elsewhere SIGTERM ends the work as Ctrl-C does, with an exception, so that what is half written is removed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest", "Terminated", "announce", "announced", "termination_raised"]

_heard: list[Callable[[str], object]] = []
"""Who is told at once that someone asked for an end, in the signal's handler."""


class Terminated(BaseException):
    """The process was sent SIGTERM while it did something that is not finished first."""


@contextmanager
def termination_raised() -> Iterator[None]:
    """Let SIGTERM raise ``Terminated`` in the block, once, unless someone listens to it already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def announced(tell: Callable[[str], object]) -> Iterator[None]:
    """Tell what is waited for when someone asks for an end.

    Args:
        tell: Called in the handler of a signal, so it must not use what the signal may have interrupted, as ``print``.
    """
    _heard.append(tell)
    try:
        yield
    finally:
        _heard.remove(tell)


def announce(text: str) -> None:
    """Say what is waited for; whoever would have read it may be gone, and the end is asked for all the same."""
    for tell in _heard:
        with suppress(OSError):
            tell(text)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


class StopRequest:
    """Whether someone asked the run to stop, and why. A context manager that listens to signals while it is open.

    A second Ctrl-C interrupts at once. Outside the main thread signals cannot be listened to.

    Args:
        forward: Called with the signal's number too, to pass it on to other processes.
        waits_for: What is finished first, for whoever asked.
    """

    def __init__(self, forward: Callable[[int], None] | None = None, waits_for: str = "this step") -> None:
        self._waits_for = waits_for
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
        if not self._signalled:
            announce(f"stopping after {self._waits_for}; press Ctrl-C again to stop at once")
        self._signalled = True
        self.ask(signal.Signals(number).name)
        if self._forward is not None:
            self._forward(number)
