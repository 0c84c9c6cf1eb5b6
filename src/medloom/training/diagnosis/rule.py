"""What a rule is: something that looks at what was seen of a training and may see a sign of trouble in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from medloom.training.diagnosis.records import Epoch, History, Sample

__all__ = ["Rule", "Sign", "since_epoch", "since_step"]


@dataclass(frozen=True)
class Sign:
    """What a rule sees now.

    Args:
        text: What is wrong, as a sentence in plain words without its full stop.
        advice: What to try, in the same way.
        layer: Where, by the name of the layer in the network; None for no layer in particular.
        epoch: Since which epoch, from 1; None for the one under way.
        step: Since which step, from 1; None for the latest.
    """

    text: str
    advice: str
    layer: str | None = None
    epoch: int | None = None
    step: int | None = None


class Rule(Protocol):
    """Looks at a training after every sampled step, after every epoch, or both."""

    def look(self, history: History) -> Sign | None:
        """Return what is wrong, or None. The same history gives the same answer."""
        ...


def since_step(text: str, advice: str, samples: list[Sample], layer: str | None = None) -> Sign:
    """Return a sign that began with the first of these steps."""
    return Sign(text, advice, layer, samples[0].epoch, samples[0].step)


def since_epoch(text: str, advice: str, epoch: Epoch) -> Sign:
    """Return a sign that began with an epoch."""
    return Sign(text, advice, None, epoch.epoch, epoch.step)
