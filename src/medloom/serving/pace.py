"""How fast a network is on this machine: by the size of a batch, and by how many batches run at the same time.

On a processor larger batches seldom pay, for what one image makes still fits its caches; two batches side by side often
do, for one computes where the other waits for its last thread. On a graphics card it is the other way round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medloom.inference import Runtime

__all__ = ["MOST_STREAMS", "Arrangement", "Pace", "calibrate"]

MOST_STREAMS = 8
"""Batches that run at the same time at most; each keeps memory of its own for what it computes."""

_CALIBRATION_S = 1.5
"""How long a network is measured at most."""

_LONGEST_RUN_S = 0.25
"""Larger batches than this allows are not tried: somebody may be waiting."""

_GAIN = 0.1
"""More images in flight must save this share of the time for an image."""

_STALLS = 1.1
"""A batch that runs alone on all cores waits for the last of them, and a server decodes and answers on these cores:
under load it is slower than was measured, by about this much."""

_TIMES = 3
_POWERS = (1, 2, 4, 8, 16)


class Arrangement(NamedTuple):
    """How images go through a network.

    Args:
        images: In one batch.
        streams: Batches that run at the same time, each in a thread of its own.
    """

    images: int = 1
    streams: int = 1


@dataclass(frozen=True)
class Pace:
    """How fast a network is on this machine.

    Args:
        seconds: For one image, of the whole machine, by arrangement.

    Example:
        >>> Pace({Arrangement(1, 1): 0.010, Arrangement(2, 1): 0.007, Arrangement(4, 1): 0.0069}).best
        Arrangement(images=2, streams=1)
    """

    seconds: dict[Arrangement, float]

    @property
    def best(self) -> Arrangement | None:
        """The fewest images in flight that are about as fast as the fastest; None if nothing was measured.

        Of two that have as many in flight, the one with more streams.
        """
        beside = {one: seconds * (_STALLS if one.streams == 1 else 1.0) for one, seconds in self.seconds.items()}
        fastest = min(beside.values(), default=0.0)
        near = [one for one, seconds in beside.items() if seconds * (1 - _GAIN) <= fastest]
        return min(near, key=lambda one: (max(2, one.images * one.streams), -one.streams), default=None)

    @property
    def image_s(self) -> float | None:
        """Seconds of one image alone; None if it was not measured."""
        return self.seconds.get(Arrangement())


def calibrate(runtime: Runtime, shape: Sequence[int], table_features: int = 0, most_streams: int = 1) -> Iterator[Pace]:
    """Measure a network by and by: each step runs it once, and gives what is known so far.

    Args:
        runtime: The network.
        shape: C, h, w.
        table_features: F; 0 if it takes no metadata.
        most_streams: Batches at the same time that are tried.
    """
    seconds: dict[Arrangement, float] = {}
    spent_s = 0.0
    for arrangement in _rounds(seconds, min(most_streams, MOST_STREAMS)):
        if spent_s >= _CALIBRATION_S and len(seconds) > 1:  # one alone would say nothing
            return
        try:
            took = _took_s(runtime, arrangement, shape, table_features)
        except Exception:  # such as for want of memory: fewer do
            return
        spent_s += took
        one = took / (arrangement.images * arrangement.streams)
        seconds[arrangement] = min(one, seconds.get(arrangement, one))
        yield Pace(dict(seconds))


def _rounds(seconds: Mapping[Arrangement, float], most_streams: int) -> Iterator[Arrangement]:
    """What to measure, in turn; all of it once more when all was measured, for a server's first moments are busy."""
    yield from _arrangements(seconds, most_streams)
    for _ in range(_TIMES - 1):
        yield from tuple(seconds)


def _arrangements(seconds: Mapping[Arrangement, float], most_streams: int) -> Iterator[Arrangement]:
    """Single images in more and more streams, larger batches, and the best batch in two."""
    for streams in _POWERS:
        if streams <= most_streams and _has_room(seconds, Arrangement(1, streams)):
            yield Arrangement(1, streams)
    for images in _POWERS[1:]:
        if _has_room(seconds, Arrangement(images)):
            yield Arrangement(images)
    fastest = min((one for one in seconds if one.streams == 1), key=lambda one: seconds[one])
    if fastest.images > 1 and most_streams > 1:
        yield Arrangement(fastest.images, 2)


def _has_room(seconds: Mapping[Arrangement, float], wanted: Arrangement) -> bool:
    """Whether a round is not too long, if an image takes as long as it does alone."""
    alone = seconds.get(Arrangement(), 0.0)
    return wanted.images * wanted.streams * alone <= _LONGEST_RUN_S


def _took_s(runtime: Runtime, arrangement: Arrangement, shape: Sequence[int], table_features: int) -> float:
    """Run one round of an arrangement."""
    images, streams = arrangement
    batch = np.zeros((images, *shape), np.float32)
    table = np.zeros((images, table_features), np.float32) if table_features else None
    start = time.perf_counter()
    if streams == 1:
        runtime.run(batch, table)
    else:
        with ThreadPoolExecutor(streams) as threads:
            for done in [threads.submit(runtime.run, batch, table) for _ in range(streams)]:
                done.result()
    return time.perf_counter() - start
