"""Makes stretches of what a stopwatch and the machine say while a training goes on."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from medloom.machine import Used
from medloom.training.profiling.account import Gpu, Stretch, add_up, slow_steps
from medloom.training.profiling.phases import OF_A_STEP, PHASES, PROFILING, START
from medloom.training.profiling.watch import Seconds

__all__ = ["Lap", "Seen", "StretchMaker"]

_SHORTEST_S, _LONGEST_S, _MOST_STEPS = 5.0, 120.0, 1000


@dataclass(frozen=True)
class Lap:
    """What lies between two moments of the loop.

    Args:
        epoch: From 1.
        images: Of the step that it ends with, over all processes; 0 where it ends with none.
        traced: Whether operators were looked at, which takes longer than the step does.
    """

    epoch: int
    images: int = 0
    traced: bool = False


@dataclass(frozen=True)
class Seen:
    """What can be read at a moment, beside the stopwatch.

    Args:
        wall_s: The machine's clock.
        used: What the process has used.
        batches: Batches that were made so far.
        batch_s: Seconds that it took.
        checkpoints: Checkpoints written so far.
        tracker_s: Seconds of processor of the trackers' threads.
        retries: How often torch had to look for memory of the GPU twice.
    """

    wall_s: float
    used: Used
    batches: int = 0
    batch_s: float = 0.0
    checkpoints: int = 0
    tracker_s: float | None = None
    retries: int = 0


@dataclass
class StretchMaker:
    """Collects laps until they are worth a stretch.

    Args:
        session: Number of the session.
        look: Reads what there is beside the stopwatch.
    """

    session: int
    look: Callable[[], Seen]
    _begin: Seen = field(init=False)
    _laps: list[tuple[Lap, Seconds]] = field(default_factory=list)
    _started: bool = False

    def __post_init__(self) -> None:
        self._begin = self.look()

    def add(self, lap: Lap, seconds: Seconds) -> None:
        """Add a lap. The first step of a session is a part by itself: in it things are done once."""
        whole = PROFILING if lap.traced else START if lap.images and not self._started else None
        self._started = self._started or lap.images > 0
        if whole is not None:
            seconds = {**dict.fromkeys(PHASES, 0.0), **seconds}
            seconds[whole] += sum(seconds.pop(name) for name in OF_A_STEP)
            lap = Lap(lap.epoch)
        self._laps.append((lap, seconds))

    def is_due(self, now_s: float, *, ends_epoch: bool) -> bool:
        """Whether it is time for a stretch: at the end of an epoch, unless it was very short, and inside long ones.

        Args:
            now_s: The machine's clock.
            ends_epoch: Whether an epoch ends here.
        """
        lasted_s = now_s - self._begin.wall_s
        if ends_epoch:
            return lasted_s >= _SHORTEST_S
        return lasted_s >= _LONGEST_S or len(self._laps) >= _MOST_STEPS

    def finish(self, gpu: Callable[[int], Gpu | None]) -> Stretch | None:
        """Return the stretch that ends here, and begin the next; None if there is nothing in it.

        Args:
            gpu: Describes the GPU, given how often it had to look for memory twice since the beginning.
        """
        laps, self._laps = self._laps, []
        begin, self._begin = self._begin, self.look()
        if not laps:
            self._begin = begin
            return None
        return _stretch(self.session, laps, begin, self._begin, gpu)


def _stretch(
    session: int, laps: list[tuple[Lap, Seconds]], begin: Seen, end: Seen, gpu: Callable[[int], Gpu | None]
) -> Stretch:
    steps = [{name: seconds.get(name, 0.0) for name in OF_A_STEP} for lap, seconds in laps if lap.images]
    totals = [sum(step.values()) for step in steps]
    return Stretch(
        session=session,
        epochs=(laps[0][0].epoch, laps[-1][0].epoch),
        wall_s=end.wall_s - begin.wall_s,
        seconds=add_up([seconds for _, seconds in laps]),
        steps=len(steps),
        images=sum(lap.images for lap, _ in laps),
        step_s=statistics.median(totals) if totals else 0.0,
        longest_s=max(totals, default=0.0),
        slow=slow_steps(steps),
        checkpoints=end.checkpoints - begin.checkpoints,
        batches=end.batches - begin.batches,
        batch_s=end.batch_s - begin.batch_s,
        cpu_s=end.used.cpu_s - begin.used.cpu_s,
        waited_s=_since(begin.used.waited_s, end.used.waited_s),
        throttled_s=_since(begin.used.throttled_s, end.used.throttled_s),
        tracker_s=_since(begin.tracker_s, end.tracker_s),
        faults=None if end.used.faults is None else end.used.faults - (begin.used.faults or 0),
        own_bytes=end.used.own_bytes,
        swapped_bytes=end.used.swapped_bytes,
        gpu=gpu(end.retries - begin.retries),
    )


def _since(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else max(0.0, end - begin)
