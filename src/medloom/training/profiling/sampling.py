"""The machine over time: processor, memory and GPU, read now and then by a thread that does nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from medloom.machine import Meter, gpu_use

__all__ = ["Sampling", "mean_busy", "reading_of"]

Point = dict[str, float]

_MANY = 400
"""Points after which they are taken half as often, so that a long training has no large file."""

_NAMES = {
    "process_cpu_utilization_percentage": "process_cpu",
    "cpu_utilization_percentage": "machine_cpu",
    "process_memory_usage_megabytes": "process_mb",
    "system_memory_usage_megabytes": "machine_mb",
    "gpu_0_utilization_percentage": "gpu",
    "gpu_0_memory_usage_megabytes": "gpu_mb",
}


def reading_of(gpu: str | None) -> Callable[[], Mapping[str, float]]:
    """Return a function that reads the use of the machine, and of one GPU.

    Args:
        gpu: Its UUID; None where none trains.
    """
    meter = Meter()

    def read() -> Mapping[str, float]:
        return {**meter.read(), **({} if gpu is None else gpu_use(gpu))}

    return read


class Sampling:
    """Takes points from a thread of its own until it is closed; it ends at the first error, which harms nobody.

    Args:
        read: Reads the use of the machine.
        every_s: Seconds from one point to the next.
        begun_s: What the first moment counts as, in seconds of training.
    """

    def __init__(self, read: Callable[[], Mapping[str, float]], every_s: float, begun_s: float = 0.0) -> None:
        self._read = read
        self._every_s = every_s
        self._zero_s = time.monotonic() - begun_s
        self._points: list[Point] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="medloom-profile", daemon=True)
        self._thread.start()

    def take(self) -> list[Point]:
        """Return the points since the last call."""
        points, self._points = self._points, []
        return points

    def close(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join(self._every_s)

    def _work(self) -> None:
        taken = 0
        try:
            while not self._ended.wait(self._every_s):
                at_s = time.monotonic() - self._zero_s
                read = self._read()
                point = {name: read[known] for known, name in _NAMES.items() if known in read}
                self._points.append({"at_s": round(at_s, 2), **point})
                taken += 1
                self._every_s *= 2 if taken % _MANY == 0 else 1
        except Exception:  # a training does not end for its statistics
            return


def mean_busy(points: Sequence[Mapping[str, float]]) -> float | None:
    """Return the mean share of the time in which the GPU computed; None where its driver did not say.

    Example:
        >>> mean_busy([{"gpu": 50.0}, {"gpu": 100.0}, {}])
        0.75
    """
    known = [point["gpu"] for point in points if "gpu" in point]
    return sum(known) / len(known) / 100 if known else None
