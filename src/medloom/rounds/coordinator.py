"""Publishes a round, waits until every shard is there, and refuses what does not belong to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from medloom.errors import TrainingError
from medloom.rounds.arrays import Arrays, CorruptError, pack
from medloom.rounds.protocol import Contribution, Failure, Manifest, Order, Shard
from medloom.rounds.store import Store
from medloom.wording import counted

__all__ = ["Account", "Coordinator", "Lost", "NotFiniteError", "Outcome", "RoundError", "Rules", "Workers"]

_LOOK_S = 0.05
"""Longest time between two looks at the store, for workers who tell nobody that they are done."""

_MOST_SHORT = 1000


@dataclass(frozen=True)
class Lost:
    """An order of which nothing will come.

    Args:
        order: The order.
        reason: Why, in a sentence.
    """

    order: Order
    reason: str


class Workers(Protocol):
    """Who carries out orders: processes of this machine, or functions somewhere."""

    def begin(self, order: Order) -> None:
        """Have an order carried out, sooner or later; its result goes to the store."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Lost]:
        """Return as soon as one may have written something, or after a time; say which orders are lost."""
        ...

    def give_up(self, order: Order) -> None:
        """Let go of an order that took too long; a result that comes all the same does no harm."""
        ...


class RoundError(TrainingError):
    """A shard was not to be had.

    Args:
        shard: Its number.
        text: What happened.
    """

    def __init__(self, shard: Shard, text: str) -> None:
        super().__init__(text)
        self.shard = shard


class NotFiniteError(RoundError):
    """Every worker that tried made NaN or infinity of a shard."""


@dataclass(frozen=True)
class Rules:
    """When a round goes on.

    Args:
        quorum: Share of the samples that suffices once the others are late or were tried ``attempts`` times; 1: all.
        lease_s: Seconds after which a shard is late, and asked for again.
        attempts: How often a shard is asked for.
    """

    quorum: float = 1.0
    lease_s: float = 300.0
    attempts: int = 3


@dataclass
class Account:
    """What happened in the rounds of a training.

    Args:
        rounds: That were finished.
        orders: That workers were given.
        again: Those of them for a shard that was asked for before.
        refused: Results that were not taken, by the reason.
        short: Rounds that went on with fewer samples than they had: ``round``, ``samples`` and ``present``; the first
            thousand of them.
        shorts: How many there were.
    """

    rounds: int = 0
    orders: int = 0
    again: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    short: list[dict[str, int]] = field(default_factory=list)
    shorts: int = 0

    def refuse(self, reason: str) -> None:
        """Count a result that is not taken."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def close(self, manifest: Manifest, present: int) -> None:
        """Count a round."""
        self.rounds += 1
        if present < manifest.size:
            self.shorts += 1
            if len(self.short) < _MOST_SHORT:
                self.short.append({"round": manifest.number, "samples": manifest.size, "present": present})

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Take it back."""
        return cls(**plain)


@dataclass(frozen=True)
class Outcome:
    """What a round gave.

    Args:
        parts: Of the shards that are there, in the order of their numbers.
        missing: Shards that the round went on without.
    """

    parts: tuple[Contribution, ...]
    missing: tuple[Shard, ...] = ()

    @property
    def size(self) -> int:
        """Samples that are in it."""
        return sum(part.size for part in self.parts)


class Coordinator:
    """Has rounds carried out, one after the other.

    A result is taken if it is whole, of this round, begun with its weights, of the right size and finite, and the first
    of its shard. Everything else is refused and counted, and the shard is asked for again.

    Args:
        store: Where rounds are written.
        workers: Who carries out orders.
        rules: When a round goes on.
        account: What happened so far.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        store: Store,
        workers: Workers,
        rules: Rules,
        account: Account | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.workers, self.rules, self.clock = store, workers, rules, clock
        self.account = account or Account()

    def run(self, manifest: Manifest, weights: Arrays) -> Outcome:
        """Publish a round and wait for it.

        Its files are deleted when it is over.

        Args:
            manifest: The round.
            weights: What the workers begin with.

        Raises:
            RoundError: If a shard was not to be had; with the reason of the last attempt.
            NotFiniteError: If that reason is NaN or infinity.
            TrainingError: If another training writes into the same place.
        """
        order = Order(manifest.folder, 0, 0)
        self._publish(order.weights, pack(weights, {}))
        self._publish(order.manifest, manifest.data)
        barrier = _Barrier(self, manifest)
        try:
            barrier.look()  # at what is there of a coordinator that was killed
            while not barrier.passes():
                barrier.ask()
                lost = self.workers.wait(barrier.seconds_left())
                barrier.look()
                barrier.count_lost(lost)
                barrier.count_late()
        finally:
            barrier.leave()
        outcome = barrier.outcome()
        self.account.close(manifest, outcome.size)
        self.store.delete(manifest.folder)
        return outcome

    def _publish(self, key: str, data: bytes) -> None:
        if not self.store.put(key, data) and self.store.get(key) != data:
            raise TrainingError(f"{key} is there already, and is another: two trainings must not write into one place")


@dataclass
class _Waited:
    """A shard that is waited for."""

    shard: Shard
    attempt: int = 0
    until: float = 0.0
    late: bool = False
    reason: str = ""
    finite: bool = True
    idle: bool = True
    over: bool = False

    @property
    def running(self) -> bool:
        """Whether a worker has it."""
        return not self.idle and not self.over


class _Barrier:
    """One round, until all of it is there."""

    def __init__(self, coordinator: Coordinator, manifest: Manifest) -> None:
        self.store, self.workers = coordinator.store, coordinator.workers
        self.rules, self.account, self.clock = coordinator.rules, coordinator.account, coordinator.clock
        self.manifest = manifest
        self.waited = {shard.number: _Waited(shard) for shard in manifest.shards}
        self.taken: dict[int, Contribution] = {}
        self._seen: set[str] = set()

    def passes(self) -> bool:
        """Return whether the round is over; raise if it never will be."""
        missing = self._missing()
        if not missing:
            return True
        enough = self._present() >= self.rules.quorum * self.manifest.size and bool(self.taken)
        if enough and self.rules.quorum < 1.0 and all(one.late or one.over for one in missing):
            return True
        for one in missing:
            if one.over and not self._may_reach(missing):
                self._raise(one)
        return False

    def seconds_left(self) -> float:
        """Return how long to wait for news at most: until a shard is late, and never long."""
        until = min((one.until for one in self._missing() if one.running), default=0.0)
        return max(0.0, min(_LOOK_S, until - self.clock()))

    def look(self) -> None:
        """Look at every file that was not there before."""
        for key in self.store.list(self.manifest.folder):
            if key not in self._seen and "/shard_" in key:
                self._seen.add(key)
                self._look_at(key)

    def count_lost(self, lost: Sequence[Lost]) -> None:
        """Note which orders came to nothing without a word of the worker."""
        for one in lost:
            waited = self.waited.get(one.order.shard)
            if waited and one.order == self._order(waited) and one.order.shard not in self.taken:
                self._fail(waited, one.reason)

    def count_late(self) -> None:
        """Let go of orders of which nothing came in time."""
        for one in self._missing():
            if one.running and self.clock() >= one.until:
                self.workers.give_up(self._order(one))
                one.late = True
                self._fail(one, f"nothing came of it within {self.rules.lease_s:g} seconds")

    def ask(self) -> None:
        """Ask for what nobody has, for the first time or again, as long as it may be tried."""
        for one in self._missing():
            if one.idle and not one.over:
                self._ask(one)

    def leave(self) -> None:
        """Let go of what is still waited for."""
        for one in self._missing():
            if one.running:
                self.workers.give_up(self._order(one))

    def outcome(self) -> Outcome:
        """Return what is there."""
        parts = tuple(self.taken[number] for number in sorted(self.taken))
        return Outcome(parts, tuple(one.shard for one in self._missing()))

    def _missing(self) -> list[_Waited]:
        return [one for number, one in self.waited.items() if number not in self.taken]

    def _present(self) -> int:
        return sum(part.size for part in self.taken.values())

    def _may_reach(self, missing: Sequence[_Waited]) -> bool:
        """Whether the quorum can still be reached by those that are not over."""
        left = sum(one.shard.size for one in missing if not one.over)
        reached = self._present() + left
        return reached > 0 and self.rules.quorum < 1.0 and reached >= self.rules.quorum * self.manifest.size

    def _order(self, one: _Waited) -> Order:
        return Order(self.manifest.folder, one.shard.number, one.attempt)

    def _ask(self, one: _Waited) -> None:
        one.attempt += 1
        while self._seen & {self._order(one).result, self._order(one).failure}:  # of a coordinator before this one
            one.attempt += 1
        self.account.orders += 1
        self.account.again += one.attempt > 1
        one.until, one.idle = self.clock() + self.rules.lease_s, False
        self.workers.begin(self._order(one))

    def _fail(self, one: _Waited, reason: str, *, final: bool = False, finite: bool = True) -> None:
        one.reason, one.finite, one.idle = reason, finite, True
        one.over = final or one.attempt >= self.rules.attempts

    def _look_at(self, key: str) -> None:
        place = _place(key)
        waited = self.waited.get(place[0]) if place else None
        if place is None or waited is None:
            self.account.refuse("misplaced")
            return
        current = place[1] == waited.attempt
        data = self.store.get(key)
        if key.endswith(".failed.json"):
            failure = Failure.of(data)
            if current and place[0] not in self.taken:
                self._fail(waited, failure.reason, final=failure.final)
            return
        refusal = self._take(waited.shard, data)
        if refusal:
            self.account.refuse(refusal)
            if current and place[0] not in self.taken:
                self._fail(waited, f"its result was refused: {refusal}", finite=refusal != "not finite")

    def _take(self, shard: Shard, data: bytes) -> str:
        """Take a result; return why not, or nothing."""
        try:
            part = Contribution.of(data)
        except CorruptError:
            return "corrupt"
        if part.weights != self.manifest.weights or part.manifest != self.manifest.sha256:
            return "stale"
        if part.shard != shard.number or part.size != shard.size or not self._is_alike(part):
            return "misplaced"
        if shard.number in self.taken:
            return "double"
        if not _is_finite(part):
            return "not finite"
        self.taken[shard.number] = part
        return ""

    def _is_alike(self, part: Contribution) -> bool:
        """Whether it holds what the others hold."""
        other = next(iter(self.taken.values()), part)
        return _shapes(part) == _shapes(other)

    def _raise(self, one: _Waited) -> None:
        shard, samples = one.shard, counted(one.shard.size, "sample")
        if not one.finite:
            raise NotFiniteError(shard, f"a worker made NaN or infinity of {samples}")
        tried = counted(one.attempt, "attempt")
        raise RoundError(
            shard,
            f"round {self.manifest.number} of the training: no worker made anything of shard {shard.number}, "
            f"{samples}, in {tried}. The last one: {one.reason}",
        )


def _shapes(part: Contribution) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (array.dtype.str, array.shape) for name, array in part.arrays.items()}


def _is_finite(part: Contribution) -> bool:
    numbers = (array for array in part.arrays.values() if np.issubdtype(array.dtype, np.floating))
    return bool(np.isfinite(part.weight) and part.weight >= 0 and all(np.isfinite(array).all() for array in numbers))


def _place(key: str) -> tuple[int, int] | None:
    """Shard and attempt of a key."""
    shard, _, attempt = key.rpartition("/")
    numbers = shard.rpartition("shard_")[2], attempt.removeprefix("attempt_").partition(".")[0]
    return (int(numbers[0]), int(numbers[1])) if all(one.isdecimal() for one in numbers) else None
