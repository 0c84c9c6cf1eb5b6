"""Workers for rounds: some that follow a script in a time of their own, and what real processes compute in tests."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medloom.rounds.arrays import Arrays, digest
from medloom.rounds.coordinator import Lost
from medloom.rounds.protocol import Manifest, Order, Shard, cut
from medloom.rounds.store import FolderStore
from medloom.rounds.working import carry_out

RATE = 0.05


def samples(count: int = 41, features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and what is to be found in them, in float64."""
    generator = np.random.default_rng(3)
    inputs = generator.normal(size=(count, features))
    return inputs, inputs @ generator.normal(size=features) + generator.normal(size=count)


def gradient(weights: np.ndarray, inputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of the mean squared error."""
    return 2.0 * inputs.T @ (inputs @ weights - truth) / len(truth)


def make_compute(seed: int | None = None) -> Callable[[Manifest, Shard, Arrays], tuple[Arrays, float, dict[str, Any]]]:
    """What a worker computes: a gradient, unless the seed lets it die or hang in this attempt."""
    inputs, truth = samples()

    def compute(manifest: Manifest, shard: Shard, weights: Arrays) -> tuple[Arrays, float, dict[str, Any]]:
        fate = random.Random(f"{seed} {manifest.number} {shard.number}").random() if seed is not None else 1.0
        mark = Path(manifest.work.get("marks", ""), f"{manifest.number}-{shard.number}")
        if fate < 0.15 and not mark.exists():
            mark.touch()
            if fate < 0.01:
                threading.Event().wait()  # until someone has enough of it
            if fate > 0.08:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a fault of this worker")
        rows = list(manifest.batches[0][slice(*shard.parts[0])])
        return {"w": gradient(weights["w"], inputs[rows], truth[rows])}, float(len(rows)), {"loss": 0.0}

    return compute


def manifest_of(weights: Arrays, batch: list[int], shards: int, number: int = 0, **work: Any) -> Manifest:
    """A round on one batch."""
    return Manifest(number, digest(weights), (tuple(batch),), cut([len(batch)], shards), work)


@dataclass
class Scripted:
    """Workers in a time of their own: what each does with an order, and after how many seconds.

    Args:
        store: Where rounds are.
        script: By shard and attempt: the seconds, and what is done; by default the order is carried out at once.
        tells: Whether the coordinator is told of what was written.
    """

    store: FolderStore
    script: dict[tuple[int, int], tuple[float, Callable[[Order], Lost | None] | None]] = field(default_factory=dict)
    tells: bool = True
    now: float = 0.0
    waits: int = 0
    orders: list[Order] = field(default_factory=list)
    given_up: list[Order] = field(default_factory=list)
    _coming: list[tuple[float, Order, Callable[[Order], Lost | None]]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def begin(self, order: Order) -> None:
        self.orders.append(order)
        seconds, act = self.script.get((order.shard, order.attempt), (0.0, None))
        self._coming.append((self.now + seconds, order, act or self.carry_out))

    def carry_out(self, order: Order) -> None:
        carry_out(self.store, order, make_compute())

    def wait(self, timeout_s: float) -> list[Lost]:
        """Let time pass until the next thing happens, or the time is over."""
        self.waits += 1
        until = self.now + timeout_s
        due = sorted((at for at, *_ in self._coming if at <= until))
        self.now = due[0] if due and self.tells else until
        lost = []
        for one in [one for one in self._coming if one[0] <= self.now]:
            self._coming.remove(one)
            lost.append(one[2](one[1]))
        return [one for one in lost if one is not None]

    def give_up(self, order: Order) -> None:
        self.given_up.append(order)
