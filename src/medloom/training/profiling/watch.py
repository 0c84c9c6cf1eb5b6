"""A stopwatch for nested work: every moment belongs to one part, the innermost, so the parts add up to the whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from medloom.training.profiling.clocks import Clock
from medloom.training.profiling.phases import LOOP, OF_A_STEP, VALIDATION

__all__ = ["Seconds", "Watch"]

Seconds = dict[str, float]
"""Seconds by part."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Span = tuple[str, Any, Any]


class Watch:
    """Notes when parts begin and end.

    What is noted is handed out in laps, each as soon as its end can be read from the clock.

    Args:
        clock: Makes the marks.

    Attributes:
        running: Whether marks are taken.
        shown: Shows a part to someone else too, such as in a trace; None for nobody.

    Example:
        >>> from medloom.training.profiling.clocks import HostClock
        >>> watch = Watch(HostClock())
        >>> watch.start()
        >>> with_sum = watch.around("augment", sum)
        >>> with_sum([1, 2])
        3
        >>> watch.lap("first")
        >>> [(name, sorted(seconds)) for name, seconds in watch.finished()]
        [('first', ['augment', 'loop'])]
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.running = False
        self.shown: Callable[[str], AbstractContextManager[object]] | None = None
        self._shown: list[AbstractContextManager[object] | None] = []
        self._stack = [LOOP]
        self._current = LOOP
        self._latest: Any = None
        self._spans: list[_Span] = []
        self._laps: deque[tuple[Any, list[_Span]]] = deque()

    def start(self) -> None:
        """Begin; what was begun and not ended before counts from here."""
        self._latest = self.clock.mark()
        self.running = True

    def stop(self) -> None:
        """End; marks after this are not taken."""
        self.running = False

    def begin(self, phase: str) -> None:
        """Begin a part inside the one that is at work. The steps of a validation are one part."""
        inside = self._stack[0] == VALIDATION and phase in OF_A_STEP[:6]
        self._stack.append(VALIDATION if inside else phase)
        self._turn()
        shown = None if self.shown is None else self.shown(self._stack[-1])
        self._shown.append(shown)
        if shown is not None:
            shown.__enter__()

    def end(self) -> None:
        """End the part that was begun last."""
        if self._shown:
            shown = self._shown.pop()
            if shown is not None:
                shown.__exit__(None, None, None)
            self._stack.pop()
            self._turn()

    def rest(self, phase: str) -> None:
        """Say what goes on where no part is at work: the loop, or a validation."""
        self._stack[0] = phase
        self._turn()

    def around(self, phase: str, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Return a function that does the same and counts as this part."""

        def marked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            self.begin(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self.end()

        return marked

    def lap(self, name: object) -> None:
        """End a lap here.

        Args:
            name: What it is called when it is handed out.
        """
        self._close()
        self._laps.append((name, self._spans))
        self._spans = []

    def finished(self) -> list[tuple[Any, Seconds]]:
        """Return the laps whose time can be read by now, in order, each with its seconds by part."""
        found = []
        while self._laps and (not self._laps[0][1] or self.clock.is_passed(self._laps[0][1][-1][2])):
            name, spans = self._laps.popleft()
            found.append((name, self._sum(spans)))
        return found

    def _turn(self) -> None:
        """Let the part on top be the one at work."""
        if self.running and self._stack[-1] != self._current:
            self._close()
        self._current = self._stack[-1]

    def _close(self) -> None:
        now = self.clock.mark()
        self._spans.append((self._current, self._latest, now))
        self._latest = now

    def _sum(self, spans: list[_Span]) -> Seconds:
        found: Seconds = {}
        for phase, begin, end in spans:
            found[phase] = found.get(phase, 0.0) + self.clock.seconds(begin, end)
        return found
