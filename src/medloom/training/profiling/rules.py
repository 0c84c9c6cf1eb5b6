"""Rules that say in plain words what slows a training, and what to try.

Each is a function of the account alone: it looks at every stretch of which it can say something, counts in how many of
them it holds, and says how bad it was in the usual one of those. It is worth saying when it holds in half of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from medloom.training.profiling.account import Account, Session, Stretch
from medloom.training.profiling.phases import PHASES, PROFILING
from medloom.wording import counted, duration_text, size_text

__all__ = ["RULES", "Verdict", "judge"]

_SHORTEST_S, _FEWEST_STEPS = 2.0, 5
"""A stretch that is shorter says nothing."""

_SAID = 0.5
"""Share of the stretches in which a rule holds from which it is worth saying."""

_WAITS, _AUGMENTS, _FIXED, _VALIDATES, _SAVES, _LISTENS = 0.15, 0.30, 0.35, 0.40, 0.10, 0.03
_IDLE, _BUSY, _ROOM, _FULL, _LOST = 0.50, 0.85, 0.40, 0.92, 0.05
_STARVED, _THROTTLED, _TRACKED = 0.20, 0.05, 0.25
_FAULTS_A_STEP = 1.0
_GROWS_BY, _GROWS_BYTES, _FEWEST_PAIRS = 0.01, 8_000_000, 4


@dataclass(frozen=True)
class Verdict:
    """What a rule found.

    Args:
        rule: Its name.
        title: What it looks for.
        samples: Of how many stretches it could say something.
        fired: In how many it held.
        finding: What was seen where it held; empty where it never did.
        advice: What to try, with that.
        said: Whether it held so often that it is worth saying.
    """

    rule: str
    title: str
    samples: int
    fired: int
    finding: str = ""
    advice: str = ""
    said: bool = False


Found = tuple[list[float | None], Callable[[list[float]], tuple[str, str]]]
"""For each stretch that could be judged how bad it was, None where the rule does not hold; and what to say of those."""

Rule = Callable[[Account], Found]


def judge(account: Account) -> list[Verdict]:
    """Return what every rule says of a training, in a fixed order.

    Args:
        account: How the training spent its time.
    """
    return [_verdict(name, account) for name in RULES]


def _verdict(name: str, account: Account) -> Verdict:
    title, rule = RULES[name]
    judged, words = rule(account)
    held = [value for value in judged if value is not None]
    if not held:
        return Verdict(name, title, len(judged), 0)
    finding, advice = words(held)
    return Verdict(name, title, len(judged), len(held), finding, advice, len(held) >= _SAID * len(judged))


def _long_enough(account: Account) -> list[Stretch]:
    lasted = [(one, one.wall_s - one.seconds.get(PROFILING, 0.0)) for one in account.stretches]
    return [one for one, seconds in lasted if seconds >= _SHORTEST_S and one.steps >= _FEWEST_STEPS]


def _over(limit: float, values: Iterable[float]) -> list[float | None]:
    return [value if value > limit else None for value in values]


def _usual(values: Sequence[float]) -> str:
    return f"{100 * statistics.median(values):.0f} %"


def waits_for_data(account: Account) -> Found:
    """A step waits for its batch."""
    stretches = _long_enough(account)
    shares = _over(_WAITS, (one.share("data") for one in stretches))
    worst = [one for one, share in zip(stretches, shares, strict=True) if share is not None]

    def words(held: list[float]) -> tuple[str, str]:
        return f"{_usual(held)} of a step waits for its batch", _on_data(account.sessions[-1], worst)

    return shares, words


def _on_data(session: Session, stretches: Sequence[Stretch]) -> str:
    """What helps, which depends on where batches come from; there are no worker processes, so none to add."""
    steps = sum(one.steps for one in stretches)
    faults = sum(one.faults or 0 for one in stretches) / max(1, steps)
    if faults > _FAULTS_A_STEP:
        return (
            f"the pixel store is read from the disk ({faults:,.0f} pages a step), because it does not fit into the "
            "memory that is free: leave more free, keep the cache (MEDLOOM_CACHE) on a faster disk, or take a smaller "
            "preprocess.size"
        )
    if session.store == "ahead":
        busy = sum(one.batch_s for one in stretches)
        computed = sum(one.in_steps_s - one.seconds.get("data", 0.0) for one in stretches)
        threads = max(2, math.ceil(busy / computed)) if computed > 0 else 2
        return (
            f"one thread makes the batches ahead, and {threads} would be needed, because the pixel store does not fit "
            "into half of the GPU's free memory; with a smaller preprocess.size, or more of that memory free, it is "
            "kept on the GPU and nothing is copied"
        )
    if session.store == "device":
        return "batches are taken from the GPU's own memory, so it is the program before it that is late: see the CPU"
    return (
        "batches are copied out of mapped files that are in memory already, in the loop itself, so more workers would "
        "not help: fewer channels (data.channels, data.context) or a smaller preprocess.size make them smaller"
    )


def augmentation_is_long(account: Account) -> Found:
    """Augmentation takes much of a step."""
    shares = _over(_AUGMENTS, (one.share("augment") for one in _long_enough(account)))

    def words(held: list[float]) -> tuple[str, str]:
        return (
            f"{_usual(held)} of a step is augmentation",
            "set the probability of the slow steps of augment to 0 (elastic, blur and bias_field cost most), or take a "
            "lighter augment.preset",
        )

    return shares, words


def gpu_is_idle(account: Account) -> Found:
    """The GPU computes for less than half of the time."""
    known = [(1 - busy) for busy in _busy(account)]
    idle = _over(1 - _IDLE, known)

    def words(held: list[float]) -> tuple[str, str]:
        return (
            f"the GPU is idle for {_usual(held)} of the time",
            "the parts of a step say what it waits for; where it is none of them, the program cannot feed it fast "
            "enough: take a larger train.batch_size, or train.compile=true",
        )

    return idle, words


def _busy(account: Account) -> list[float]:
    gpus = [one.gpu for one in _long_enough(account)]
    return [gpu.busy for gpu in gpus if gpu is not None and gpu.busy is not None]


def gpu_memory_grows(account: Account) -> Found:
    """The memory that the GPU holds grows from stretch to stretch."""
    grown = _grown(account, lambda one: None if one.gpu is None else one.gpu.reserved_bytes)

    def words(held: list[float]) -> tuple[str, str]:
        return (
            f"the GPU's memory grew by {size_text(int(sum(held)))} after the beginning",
            "something is kept from step to step, such as by a loss or a hook of your own that keeps tensors with "
            "their gradients: keep numbers (tensor.item(), tensor.detach())",
        )

    return grown, words


def memory_grows(account: Account) -> Found:
    """The memory of the process grows from stretch to stretch; pages of mapped files, the pixel store, do not count."""
    grown = _grown(account, lambda one: one.own_bytes)

    def words(held: list[float]) -> tuple[str, str]:
        return (
            f"the memory of the process grew by {size_text(int(sum(held)))} after the beginning",
            "something is kept from step to step, such as by a hook, a loss or a listener of your own",
        )

    return grown, words


def _by_session(account: Account) -> list[list[Stretch]]:
    """Stretches of each session, without its first, in which everything is allocated."""
    numbers = range(len(account.sessions))
    return [[one for one in account.stretches if one.session == number][1:] for number in numbers]


def _growth(values: Sequence[int]) -> list[float | None]:
    """Bytes by which each value lies above all before it, None where that is little."""
    highest = values[0] if values else 0
    found: list[float | None] = []
    for value in values[1:]:
        grown = value - highest
        found.append(float(grown) if grown > max(_GROWS_BYTES, _GROWS_BY * highest) else None)
        highest = max(highest, value)
    return found


def _grown(account: Account, held: Callable[[Stretch], int | None]) -> list[float | None]:
    """By how much memory grew in each stretch; nothing where they are too few to say whether it goes on."""
    series = ([size for one in part if (size := held(one)) is not None] for part in _by_session(account))
    grown = [growth for values in series for growth in _growth(values)]
    return grown if len(grown) >= _FEWEST_PAIRS else []


def batch_is_small(account: Account) -> Found:
    """What a step does once, however many images it has, takes much of it, and there is room for more images."""
    fixed = [one.share("optimizer", "loop", "callbacks") for one in _long_enough(account) if _room(one)]

    def words(held: list[float]) -> tuple[str, str]:
        batch = account.sessions[-1].batch_size
        return (
            f"{_usual(held)} of a step is what it does once however many images it has",
            f"try train.batch_size={2 * batch} instead of {batch}; a larger batch may need a larger "
            "train.optimizer.lr, and its result is another one",
        )

    return _over(_FIXED, fixed), words


def _room(stretch: Stretch) -> bool:
    gpu = stretch.gpu
    if gpu is None:
        return True
    return gpu.peak_bytes < _ROOM * gpu.total_bytes and (gpu.busy is None or gpu.busy < _BUSY)


def batch_is_large(account: Account) -> Found:
    """Memory is nearly full: of the GPU, or of the machine."""
    fullness = [_fullness(account.session_of(one), one) for one in _long_enough(account)]
    known = [value for value in fullness if value is not None]

    def words(held: list[float]) -> tuple[str, str]:
        session = account.sessions[-1]
        where = "the GPU's" if session.device == "cuda" else "the"
        batch = session.batch_size
        return (
            f"{_usual([min(1.0, value) for value in held])} of {where} memory is taken",
            f"a little more and the training ends for lack of it: try train.batch_size={max(1, batch // 2)} instead of "
            f"{batch}",
        )

    return _over(_FULL, known), words


def _fullness(session: Session, stretch: Stretch) -> float | None:
    """Share of the memory that is taken; over 1 where it was not enough for a moment."""
    if stretch.gpu is not None:
        return 1.01 if stretch.gpu.retries else stretch.gpu.peak_bytes / stretch.gpu.total_bytes
    if stretch.own_bytes is None or session.memory_bytes is None:
        return None
    return session.processes * (stretch.own_bytes + (stretch.swapped_bytes or 0)) / session.memory_bytes


def saves_often(account: Account) -> Found:
    """Checkpoints take much of the time."""
    stretches = _long_enough(account)
    shares = _over(_SAVES, (one.share("checkpoint", of_steps=False) for one in stretches))
    worst = [one for one, share in zip(stretches, shares, strict=True) if share is not None]

    def words(held: list[float]) -> tuple[str, str]:
        written = sum(one.checkpoints for one in worst)
        epochs = sum(one.epochs[1] - one.epochs[0] + 1 for one in worst)
        each = sum(one.seconds.get("checkpoint", 0.0) for one in worst) / max(1, written)
        finding = f"{_usual(held)} of the time goes into checkpoints, {duration_text(each)} each"
        if written > 2 * epochs:
            return finding, "write fewer inside an epoch: a larger train.checkpoint_minutes, or an empty one"
        return finding, (
            "there is one at the end of every epoch, and epochs are short: keep the run on a faster disk (--runs)"
        )

    return shares, words


def has_slow_steps(account: Account) -> Found:
    """Now and then a step takes more than twice as long as the others."""
    stretches = _long_enough(account)
    lost = _over(_LOST, (one.slow.lost_s / one.in_steps_s if one.in_steps_s > 0 else 0.0 for one in stretches))
    worst = [one for one, share in zip(stretches, lost, strict=True) if share is not None]

    def words(held: list[float]) -> tuple[str, str]:
        slow, steps = sum(one.slow.steps for one in worst), sum(one.steps for one in worst)
        most = max(worst, key=lambda one: one.slow.lost_s).slow
        times = statistics.median(one.longest_s / one.step_s for one in worst if one.step_s > 0)
        regular = f", every {most.every}th" if most.every else ""
        finding = (
            f"one step in {max(1, round(steps / slow))}{regular} takes up to {times:.1f} times as long as the others, "
            f"and {_usual(held)} of the time is lost by that"
        )
        return finding, _on_slow(most.phase)

    return lost, words


def _on_slow(phase: str | None) -> str:
    part = PHASES.get(phase or "", "")
    further = {
        "data": "the pixel store is read from the disk: leave more memory free for it",
        "listeners": "a listener or a tracker works in the loop: leave it out for a comparison",
        "callbacks": "a rule or hook that looks at tensors works in some steps only: let it look less often",
    }
    also = further.get(phase or "", "something else on this machine works now and then, or steps are of several sizes")
    return f"most of it is in: {part}; {also}"


def cpu_is_crowded(account: Account) -> Found:
    """More threads compute than there are cores: of this training, or of others beside it."""
    stretches = _long_enough(account)
    judged = [_crowding(account.session_of(one), one) for one in stretches]

    def words(held: list[float]) -> tuple[str, str]:
        session = account.sessions[-1]
        wanted = session.threads * session.processes
        if wanted > session.cores:
            each = max(1, session.cores // session.processes)
            return (
                f"{counted(session.processes, 'process', 'processes')} with {counted(session.threads, 'thread')} share "
                f"{counted(session.cores, 'core')}",
                f"set OMP_NUM_THREADS={each} in the environment, or fewer train.devices or --jobs",
            )
        return (
            f"the loop waits for a free core for {_usual(held)} of the time",
            "others use this machine too, or its container may use less than it shows: run fewer things beside it"
            + (f", or set OMP_NUM_THREADS below {session.threads}" if session.threads > 1 else ""),
        )

    return judged, words


def _crowding(session: Session, stretch: Stretch) -> float | None:
    waited = (stretch.waited_s or 0.0) / stretch.wall_s
    throttled = (stretch.throttled_s or 0.0) / stretch.wall_s
    if waited > _STARVED or throttled > _THROTTLED or session.threads * session.processes > session.cores:
        return max(waited, throttled)
    return None


def listeners_are_slow(account: Account) -> Found:
    """Progress, trackers or other listeners hold the loop up, or trackers take much of the processor beside it."""
    stretches = _long_enough(account)
    held_up = [one.share("listeners", of_steps=False) for one in stretches]
    beside = [(one.tracker_s or 0.0) / one.wall_s for one in stretches]
    pairs = zip(held_up, beside, strict=True)
    judged = [max(wait, work) if wait > _LISTENS or work > _TRACKED else None for wait, work in pairs]

    def words(held: list[float]) -> tuple[str, str]:
        names = account.sessions[-1].trackers
        who = f"trackers ({', '.join(names)})" if names else "what listens to this training"
        if max(held_up) > _LISTENS:
            return f"the loop waits for {_usual(held)} of the time for {who}", "leave one out for a comparison"
        return (
            f"the threads of {who} take {_usual(held)} of a core beside the loop",
            "`medloom track RUN` sends all of it afterwards: set tracking.trackers=[] while it trains",
        )

    return judged, words


def validation_is_long(account: Account) -> Found:
    """Validation takes much of the time."""
    shares = _over(_VALIDATES, (one.share("validation", of_steps=False) for one in _long_enough(account)))

    def words(held: list[float]) -> tuple[str, str]:
        return (
            f"{_usual(held)} of the time is validation",
            "there is one after every epoch: a smaller validation part (split), or a larger "
            "train.validation_batch_size where its batches are small",
        )

    return shares, words


RULES: dict[str, tuple[str, Rule]] = {
    "data-bound": ("Steps wait for their batch", waits_for_data),
    "augmentation": ("Augmentation takes much of a step", augmentation_is_long),
    "gpu-idle": ("The GPU is idle", gpu_is_idle),
    "gpu-memory-grows": ("The GPU's memory grows", gpu_memory_grows),
    "memory-grows": ("The memory of the process grows", memory_grows),
    "batch-small": ("The batch is too small for the device", batch_is_small),
    "batch-large": ("The batch is nearly too large for the memory", batch_is_large),
    "checkpoints": ("Checkpoints take much of the time", saves_often),
    "slow-steps": ("One slow step in n", has_slow_steps),
    "cpu-crowded": ("Too few free cores", cpu_is_crowded),
    "trackers": ("Trackers or listeners are slow", listeners_are_slow),
    "validation": ("Validation takes much of the time", validation_is_long),
}
"""Every rule by its name."""
