"""How far a batch is, how fast it goes and how long it will take: a bar, lines now and then, or events as JSON."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from medloom.cli.output import say
from medloom.wording import duration_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from medloom.serving.batch import Pace

__all__ = ["PaceDisplay", "pace_text"]

_PLAIN_S, _EVENT_S = 10.0, 1.0


class PaceDisplay:
    """Shows how far a batch is on stderr. A context manager.

    Args:
        as_json: Whether each line is an event for programs.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json, self._begun_s = as_json, time.monotonic()
        self._interval_s = _EVENT_S if as_json else _PLAIN_S
        self._said_s = self._begun_s
        self._last: tuple[int, int | None] = (-1, None)
        self._bar = None if as_json or not sys.stderr.isatty() else _bar()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar[0].stop()

    def __call__(self, pace: Pace) -> None:
        """Show how far it is."""
        now_s = time.monotonic()
        per_second = (pace.done - pace.before) / max(1e-9, now_s - self._begun_s)
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=pace.done, total=pace.total, rate=f"{per_second:,.1f}/s")
            return
        is_last = pace.done == pace.total
        if (now_s - self._said_s < self._interval_s and not is_last) or self._last == (pace.done, pace.total):
            return
        self._said_s, self._last = now_s, (pace.done, pace.total)
        say(json.dumps(_event(pace, per_second)) if self._as_json else pace_text(pace, per_second))


def pace_text(pace: Pace, per_second: float) -> str:
    """Return one line of how far a batch is.

    Args:
        pace: How far.
        per_second: Inputs that this run did in a second.

    Example:
        >>> from medloom.serving.batch import Pace
        >>> pace_text(Pace(done=1200, before=0, failed=2, total=10000), 40.0)
        'batch: 1,200 of 10,000, 2 failed, 40.0 a second, 3 min 40 s left'
    """
    parts = [f"batch: {pace.done:,}" + ("" if pace.total is None else f" of {pace.total:,}")]
    parts += [f"{pace.failed:,} failed"] if pace.failed else []
    if pace.done > pace.before:
        parts.append(f"{per_second:,.1f} a second")
    left = _seconds_left(pace, per_second)
    return ", ".join([*parts, *([f"{duration_text(left)} left"] if left else [])])


def _event(pace: Pace, per_second: float) -> dict[str, Any]:
    left = _seconds_left(pace, per_second)
    return {
        "event": "progress",
        **{name: getattr(pace, name) for name in ("done", "before", "failed", "total")},
        "per_second": round(per_second, 2),
        "seconds_left": None if left is None else round(left, 1),
    }


def _seconds_left(pace: Pace, per_second: float) -> float | None:
    if pace.total is None or per_second <= 0.0 or pace.done == pace.before:
        return None
    return (pace.total - pace.done) / per_second


def _bar() -> tuple[Progress, TaskID]:
    from rich.console import Console  # a tenth of a second that only a terminal pays
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("batch"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    bar.start()
    return bar, bar.add_task("batch", total=None, rate="")
