"""What only some answers need is made ready while nobody waits, so that the first of them does not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from medloom.errors import MissingExtraError
from medloom.serving.admission import Gate

__all__ = ["WhenIdle"]

_REST_S = 1.0


class WhenIdle:
    """Calls something once, in a thread of its own, when nothing was asked for a while. Use it in a ``with`` block.

    Args:
        gate: Knows whether something is asked.
        call: What is called; where it needs what is not installed, the answer that needs it says so.
        rest_s: Between two looks, at both of which nothing is asked.

    Example:
        >>> with WhenIdle(service.gate, make_ready):  # doctest: +SKIP
        ...     serve(app, listener)
    """

    def __init__(self, gate: Gate, call: Callable[[], object], rest_s: float = _REST_S) -> None:
        self._gate, self._call, self._rest_s = gate, call, rest_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="medloom-idle", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        rested = False
        while not self._closed.wait(self._rest_s):
            rests = self._gate.inside == 0
            if rests and rested:
                with suppress(MissingExtraError):
                    self._call()
                return
            rested = rests
