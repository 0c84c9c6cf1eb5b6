"""Clocks that a training is timed by. Neither of them makes anyone wait.

On a CPU that is the machine's clock. A GPU works behind the program that feeds it, so there a mark is an event that the
GPU itself stamps when it comes to it; it is read one or two steps later, when the loop has waited for the GPU anyway.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch

__all__ = ["Clock", "DeviceClock", "HostClock", "clock_for"]


class Clock(Protocol):
    """Makes marks, and says how far they lie apart."""

    def mark(self) -> Any:  # noqa: ANN401 - a number or an event, which only the clock itself reads
        """Return a mark of this moment."""

    def is_passed(self, mark: Any) -> bool:  # noqa: ANN401
        """Whether the time of a mark, and so of all before it, can be read."""

    def seconds(self, begin: Any, end: Any) -> float:  # noqa: ANN401
        """Return the seconds between two marks that are passed."""

    def wait(self) -> None:
        """Let every mark be passed; only at the very end."""


class HostClock:
    """The clock of the machine."""

    mark = staticmethod(time.perf_counter)

    def is_passed(self, mark: float) -> bool:
        """Always."""
        return True

    def seconds(self, begin: float, end: float) -> float:
        """Return the difference."""
        return end - begin

    def wait(self) -> None:
        """Nothing to wait for."""


class DeviceClock:
    """The clock of a GPU, as its events tell it.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> Any:  # noqa: ANN401 - torch has no types for its events
        """Put an event behind what the GPU has been given to do."""
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def is_passed(self, mark: Any) -> bool:  # noqa: ANN401
        """Ask, without waiting, whether the GPU has come to it."""
        return bool(mark.query())

    def seconds(self, begin: Any, end: Any) -> float:  # noqa: ANN401
        """Return the time between two events on the GPU."""
        return float(begin.elapsed_time(end)) / 1000

    def wait(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize(self._device)


def clock_for(device: torch.device) -> Clock:
    """Return the clock of a device."""
    return DeviceClock(device) if device.type == "cuda" else HostClock()
