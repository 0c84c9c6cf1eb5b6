"""Clocks that move when they are told to, and what a process has used."""

from __future__ import annotations

from dataclasses import dataclass

from medloom.machine import Used


@dataclass
class FakeClock:
    """A clock that stands still unless it is moved; one that is behind can be read only up to a moment."""

    now: float = 0.0
    behind: bool = False
    read_to: float = 0.0

    def mark(self) -> float:
        return self.now

    def is_passed(self, mark: float) -> bool:
        return not self.behind or mark <= self.read_to

    def seconds(self, begin: float, end: float) -> float:
        assert self.is_passed(end), "read too early"
        return end - begin

    def wait(self) -> None:
        self.read_to = self.now


def used(cpu_s: float = 0.0, **values: float) -> Used:
    names = ("waited_s", "faults", "read_bytes", "own_bytes", "swapped_bytes", "throttled_s")
    return Used(cpu_s, **{name: values.get(name, 0) for name in names})  # type: ignore[arg-type]
