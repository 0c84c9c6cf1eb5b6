"""What the rules found, since when and how often, and what is written of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from medloom.training.diagnosis.records import History
from medloom.training.diagnosis.rule import Sign

__all__ = ["Finding", "Findings", "position"]


@dataclass
class Finding:
    """Something that a rule has found.

    Args:
        rule: The rule's name.
        text: What is wrong, as it was said last.
        advice: What to try.
        layer: Where; None for no layer in particular.
        epoch: Since which epoch, from 1.
        step: Since which step, from 1.
        last_epoch: In which epoch the rule fired last.
        last_step: In which step.
    """

    rule: str
    text: str
    advice: str
    layer: str | None
    epoch: int
    step: int
    last_epoch: int
    last_step: int


@dataclass
class Findings:
    """The findings of a training, and how often each rule looked and fired.

    Args:
        found: By rule, in the order in which they fired first.
        looks: How often each rule looked.
        fired: How often it found something.
    """

    found: dict[str, Finding] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)

    def note(self, rule: str, sign: Sign | None, epoch: int, step: int) -> Finding | None:
        """Write down that a rule looked, and what it found.

        Args:
            rule: Its name.
            sign: What it sees, or None.
            epoch: Where the training is, from 1.
            step: The same in steps.

        Returns:
            The finding if it is the rule's first.
        """
        self.looks[rule] = self.looks.get(rule, 0) + 1
        if sign is None:
            return None
        self.fired[rule] = self.fired.get(rule, 0) + 1
        known = self.found.get(rule)
        since = (sign.epoch or epoch, sign.step or step) if known is None else (known.epoch, known.step)
        self.found[rule] = Finding(rule, sign.text, sign.advice, sign.layer, *since, epoch, step)
        return self.found[rule] if known is None else None

    def state(self) -> dict[str, Any]:
        """Return everything as plain types, for the checkpoint."""
        return asdict(self)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Take back what ``state`` returned."""
        found = {name: Finding(**one) for name, one in state["found"].items()}
        return cls(found, dict(state["looks"]), dict(state["fired"]))

    def plain(self) -> list[dict[str, Any]]:
        """Return the findings as plain types, the first first."""
        return [asdict(one) for one in self.found.values()]


def position(history: History) -> tuple[int, int]:
    """Return the epoch and the step that were seen last, from 1."""
    last = history.samples[-1] if history.moment == "step" else history.epochs[-1]
    return last.epoch, last.step
