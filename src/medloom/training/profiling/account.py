"""What is kept of how a training spends its time, as plain data: in stretches, of an epoch or a few each.

The rules read nothing else, and ``profile.json`` holds it whole, so a training that is continued continues its account.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from medloom.training.profiling.phases import OF_A_STEP, PHASES

__all__ = ["Account", "Gpu", "Session", "Slow", "Stretch", "add_up", "slow_steps"]

_MOST_STRETCHES, _MOST_POINTS = 200, 400
_SLOW_TIMES, _SLOW_S = 2.0, 0.005
_REGULAR = 0.75

Point = dict[str, float]


@dataclass(frozen=True)
class Slow:
    """Steps that took more than twice as long as the usual one.

    Args:
        steps: How many.
        lost_s: Seconds that they took longer, together.
        phase: The part that took most of that; None where there are none.
        every: Steps from one to the next where it is nearly always as many, else None.
    """

    steps: int = 0
    lost_s: float = 0.0
    phase: str | None = None
    every: int | None = None


@dataclass(frozen=True)
class Gpu:
    """A GPU in a stretch.

    Args:
        busy: Mean share of the time in which it computed, from 0 to 1; None where its driver does not say.
        reserved_bytes: Memory that torch holds of it at the end.
        peak_bytes: The most that tensors took.
        total_bytes: What it has.
        retries: How often torch had to give memory back to find some.
    """

    busy: float | None
    reserved_bytes: int
    peak_bytes: int
    total_bytes: int
    retries: int = 0


@dataclass(frozen=True)
class Stretch:
    """Some time of a training without a gap.

    What the system does not say is None.

    Args:
        session: Number of the session that it is of, from 0.
        epochs: First and last epoch that it touches, from 1.
        wall_s: Seconds by the machine's clock.
        seconds: The same, divided into parts.
        steps: Whole steps, without the first of a session.
        images: Images in them, over all processes.
        step_s: Median seconds of a step.
        longest_s: Seconds of the longest step.
        slow: Steps that took much longer than the others.
        checkpoints: Checkpoints written.
        batches: Batches made from the store.
        batch_s: Seconds that making them took, in the loop or in the thread that works ahead of it.
        cpu_s: Seconds of processor.
        waited_s: Seconds in which the loop's thread waited for a free core.
        throttled_s: Seconds in which the control group had used up its share of the cores.
        tracker_s: Seconds of processor of the trackers' threads.
        faults: Pages read from a disk.
        own_bytes: Memory of the process at the end, without mapped files.
        swapped_bytes: Of it on a disk.
        gpu: The GPU, if there is one.
    """

    session: int
    epochs: tuple[int, int]
    wall_s: float
    seconds: Mapping[str, float]
    steps: int
    images: int
    step_s: float
    longest_s: float
    slow: Slow = Slow()
    checkpoints: int = 0
    batches: int = 0
    batch_s: float = 0.0
    cpu_s: float = 0.0
    waited_s: float | None = None
    throttled_s: float | None = None
    tracker_s: float | None = None
    faults: int | None = None
    own_bytes: int | None = None
    swapped_bytes: int | None = None
    gpu: Gpu | None = None

    @property
    def in_steps_s(self) -> float:
        """Seconds in steps."""
        return sum(self.seconds.get(name, 0.0) for name in OF_A_STEP)

    def share(self, *parts: str, of_steps: bool = True) -> float:
        """Return the share of some parts in the time of the steps, or in all of it."""
        whole = self.in_steps_s if of_steps else self.wall_s
        return sum(self.seconds.get(name, 0.0) for name in parts) / whole if whole > 0 else 0.0

    def joined(self, other: Stretch) -> Stretch:
        """Return this stretch and the one right after it as one."""
        steps = self.steps + other.steps
        weighed = self.step_s * self.steps + other.step_s * other.steps
        summed = {name: _sum(getattr(self, name), getattr(other, name)) for name in _ADDED}
        return Stretch(
            session=self.session,
            epochs=(self.epochs[0], other.epochs[1]),
            seconds=add_up([self.seconds, other.seconds]),
            step_s=weighed / steps if steps else 0.0,
            longest_s=max(self.longest_s, other.longest_s),
            slow=_joined_slow(self.slow, other.slow),
            own_bytes=other.own_bytes,
            swapped_bytes=other.swapped_bytes,
            gpu=_joined_gpu(self.gpu, other.gpu),
            **summed,
        )

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Stretch:
        """Take back what ``asdict`` gave."""
        gpu = plain.get("gpu")
        nested = {"slow": Slow(**plain["slow"]), "gpu": None if gpu is None else Gpu(**gpu)}
        return cls(**{**plain, **nested, "epochs": tuple(plain["epochs"])})


_ADDED = (
    *("wall_s", "steps", "images", "checkpoints", "batches", "batch_s"),
    *("cpu_s", "waited_s", "throttled_s", "tracker_s", "faults"),
)


@dataclass(frozen=True)
class Session:
    """One command that trained, on the machine that it ran on.

    Args:
        device: ``cpu`` or ``cuda``.
        processes: Processes that shared each batch.
        threads: Threads that each computes with on the CPU.
        cores: Cores that they may use.
        memory_bytes: Memory that they may use; None where nobody knows.
        batch_size: Images of a step, over all processes.
        store: Where batches come from: ``mapped`` files in the loop, mapped files ``ahead`` of it, or the ``device``.
        trackers: Names of the trackers.
    """

    device: str
    processes: int
    threads: int
    cores: int
    memory_bytes: int | None
    batch_size: int
    store: str = "mapped"
    trackers: tuple[str, ...] = ()


@dataclass
class Account:
    """How a training spends its time, over all its sessions.

    Args:
        level: ``light`` or ``full``, of the newest session.
        sessions: Every command that trained.
        stretches: In order.
        use: The machine over time: ``at_s`` counts the seconds of training, the rest is in per cent and megabytes.
        operators: Of a few steps, what took most of the time; empty in a light account.
        trace: The file that shows those steps, from the run directory; None without.
    """

    level: str = "light"
    sessions: list[Session] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    use: list[Point] = field(default_factory=list)
    operators: list[dict[str, Any]] = field(default_factory=list)
    trace: str | None = None

    @property
    def wall_s(self) -> float:
        """Seconds of training."""
        return sum(stretch.wall_s for stretch in self.stretches)

    def add(self, stretch: Stretch) -> None:
        """Add a stretch; what follows the last step belongs to the one before. Of very many, neighbours become one."""
        last = self.stretches[-1] if self.stretches else None
        if last is not None and stretch.steps == 0 and last.session == stretch.session:
            self.stretches[-1] = last.joined(stretch)
        else:
            self.stretches.append(stretch)
        if len(self.stretches) > _MOST_STRETCHES:
            self.stretches = _in_pairs(self.stretches)

    def add_use(self, points: Sequence[Point]) -> None:
        """Add points in time; of very many every second is kept."""
        self.use += points
        if len(self.use) > _MOST_POINTS:
            self.use = self.use[::2]

    def session_of(self, stretch: Stretch) -> Session:
        """Return the session that a stretch is of."""
        return self.sessions[stretch.session]

    def plain(self) -> dict[str, Any]:
        """Return plain types, with sums that a reader looks for first."""
        steps, images = (sum(getattr(one, name) for one in self.stretches) for name in ("steps", "images"))
        seconds, in_steps = add_up([one.seconds for one in self.stretches]), self.in_steps_s
        return {
            "level": self.level,
            "wall_s": round(self.wall_s, 6),
            "seconds": {name: round(seconds[name], 6) for name in PHASES if name in seconds},
            "parts": {name: {"called": called, "of_a_step": name in OF_A_STEP} for name, called in PHASES.items()},
            "steps": steps,
            "step_s": round(in_steps / steps, 6) if steps else None,
            "images_per_s_in_steps": round(images / in_steps, 2) if in_steps > 0 else None,
            "sessions": [asdict(one) for one in self.sessions],
            "stretches": [_rounded(asdict(one)) for one in self.stretches],
            "use": self.use,
            "operators": self.operators,
            "trace": self.trace,
        }

    @property
    def in_steps_s(self) -> float:
        """Seconds in steps, without the first of each session."""
        return sum(stretch.in_steps_s for stretch in self.stretches)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Account:
        """Take back what ``plain`` returned."""
        kept = {one.name for one in fields(cls)}
        sessions = [Session(**{**one, "trackers": tuple(one["trackers"])}) for one in plain["sessions"]]
        stretches = [Stretch.of(one) for one in plain["stretches"]]
        rest = {name: value for name, value in plain.items() if name in kept}
        return cls(**{**rest, "sessions": sessions, "stretches": stretches})


def add_up(all_seconds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of several accounts, part by part.

    Example:
        >>> add_up([{"data": 1.0}, {"data": 0.5, "backward": 2.0}])
        {'data': 1.5, 'backward': 2.0}
    """
    names = [name for name in PHASES if any(name in seconds for seconds in all_seconds)]
    return {name: sum(seconds.get(name, 0.0) for seconds in all_seconds) for name in names}


def slow_steps(steps: Sequence[Mapping[str, float]]) -> Slow:
    """Return what is known of the steps that took more than twice as long as the usual one.

    Args:
        steps: Seconds by part of each step, in order.

    Example:
        >>> found = slow_steps([{"data": 0.5 if number % 5 == 0 else 0.1, "forward": 0.1} for number in range(20)])
        >>> found.steps, round(found.lost_s, 3), found.phase, found.every
        (4, 1.6, 'data', 5)
    """
    if len(steps) < 2:
        return Slow()
    totals = [sum(step.values()) for step in steps]
    usual = statistics.median(totals)
    slow = [number for number, total in enumerate(totals) if total > _SLOW_TIMES * usual and total - usual > _SLOW_S]
    if not slow:
        return Slow()
    names = [name for name in PHASES if any(name in step for step in steps)]
    usually = {name: statistics.median(step.get(name, 0.0) for step in steps) for name in names}
    longer = {name: sum(steps[number].get(name, 0.0) - usually[name] for number in slow) for name in names}
    lost_s = sum(totals[number] - usual for number in slow)
    return Slow(len(slow), lost_s, max(longer, key=lambda name: longer[name]), _period(slow))


def _period(numbers: Sequence[int]) -> int | None:
    gaps = [later - earlier for earlier, later in itertools.pairwise(numbers)]
    if len(gaps) < 2:
        return None
    usual = statistics.mode(gaps)
    return usual if usual > 1 and gaps.count(usual) >= _REGULAR * len(gaps) else None


def _in_pairs(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Put neighbours of the same session together."""
    found: list[Stretch] = []
    whole = True
    for stretch in stretches:
        if not whole and found[-1].session == stretch.session:
            found[-1], whole = found[-1].joined(stretch), True
        else:
            found.append(stretch)
            whole = False
    return found


def _joined_slow(one: Slow, other: Slow) -> Slow:
    phase = max(one, other, key=lambda slow: slow.lost_s).phase
    every = one.every if one.every == other.every else None
    return Slow(one.steps + other.steps, one.lost_s + other.lost_s, phase, every)


def _joined_gpu(one: Gpu | None, other: Gpu | None) -> Gpu | None:
    if one is None or other is None:
        return other
    known = [gpu.busy for gpu in (one, other) if gpu.busy is not None]
    busy = statistics.fmean(known) if known else None
    peak = max(one.peak_bytes, other.peak_bytes)
    return Gpu(busy, other.reserved_bytes, peak, other.total_bytes, one.retries + other.retries)


def _sum(one: float | None, other: float | None) -> Any:  # noqa: ANN401 - whole numbers stay whole
    return None if one is None or other is None else one + other


def _rounded(value: Any) -> Any:  # noqa: ANN401
    """Numbers to a microsecond: the file is read by people too."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return round(value, 6) if isinstance(value, float) else value
