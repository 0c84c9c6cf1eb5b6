"""Lightning's profiler, to which the loop tells everything that it begins and ends."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import Callback
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.utilities.model_helpers import is_overridden

from medloom.training.profiling.phases import phase_of
from medloom.training.profiling.watch import Watch

__all__ = ["Actions"]


class Actions(Profiler):
    """Passes on to a stopwatch what the actions of the loop are.

    Args:
        watch: The stopwatch.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._hooks: frozenset[str] = frozenset()
        self._phases: dict[str, str | None] = {}

    def know(self, callbacks: Sequence[Callback]) -> None:
        """Take which hooks of callbacks do something; Lightning calls all of them."""
        hooks = [name for name in vars(Callback) if name.startswith("on_")]
        self._hooks = frozenset(
            f"{one.state_key}.{hook}" for one in callbacks for hook in hooks if is_overridden(hook, one, Callback)
        )

    def start(self, action_name: str) -> None:
        """Begin the part that an action is."""
        phase = self._phase(action_name)
        if phase is not None:
            self._watch.begin(phase)

    def stop(self, action_name: str) -> None:
        """End it."""
        if self._phase(action_name) is not None:
            self._watch.end()

    def _phase(self, action: str) -> str | None:
        """What is told once is known: the same forty names come in every step."""
        try:
            return self._phases[action]
        except KeyError:
            return self._phases.setdefault(action, phase_of(action, self._hooks))
