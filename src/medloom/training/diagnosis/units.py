"""Rules about units that answer the same whatever the image is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import Literal

from medloom.training.diagnosis.records import History, Sample
from medloom.training.diagnosis.rule import Sign, since_step

__all__ = ["DeadUnits", "SaturatedUnits"]


@dataclass(frozen=True)
class DeadUnits:
    """Units that give 0 for every image and every place.

    Args:
        share: From which share of the units of a layer on.
        overall: Or from which share of the units of all layers on, where there are several.
        times: In how many sampled steps in a row.
    """

    share: float = 0.9
    overall: float = 0.7
    times: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether a layer, or the whole network, was like that in all of the latest steps."""
        steps = history.latest(self.times)
        names = _in_all(steps, "dead", self.share)
        overall = [
            mean(one.dead for one in sample.activations.values()) for sample in steps if len(sample.activations) > 1
        ]
        if not names and not (overall and len(overall) == len(steps) and min(overall) >= self.overall):
            return None
        where = names[0] if names else max(steps[-1].activations, key=lambda name: steps[-1].activations[name].dead)
        share = steps[-1].activations[where].dead
        more = f"; {len(names)} layers are like that" if len(names) > 1 else ""
        text = f"{share:.0%} of the units of {where} are dead: they give 0 for every image{more}"
        advice = "lower train.optimizer.lr, warm up for longer, or take an activation such as PReLU or GELU"
        return since_step(text, advice, steps, where)


@dataclass(frozen=True)
class SaturatedUnits:
    """Units that stay at a bound of their activation, where it has next to no slope.

    Args:
        share: From which share of the units of a layer on.
        fewest: Units that a layer has at least; single gates may well be shut.
        times: In how many sampled steps in a row.
    """

    share: float = 0.9
    fewest: int = 4
    times: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether a layer was like that in all of the latest steps."""
        steps = history.latest(self.times)
        names = [name for name in _in_all(steps, "saturated", self.share) if self._is_wide(steps[-1], name)]
        if not names:
            return None
        share = steps[-1].activations[names[0]].saturated
        text = f"{share:.0%} of the units of {names[0]} are saturated: they stay at a bound of their activation"
        advice = "lower train.optimizer.lr, normalise the images or before the activation, or take ReLU or GELU"
        return since_step(text, advice, steps, names[0])

    def _is_wide(self, sample: Sample, name: str) -> bool:
        return sample.activations[name].units >= self.fewest


def _in_all(steps: list[Sample], what: Literal["dead", "saturated"], share: float) -> list[str]:
    """The layers in whose activations that share is reached in each of these steps."""
    names = list(steps[-1].activations) if steps else []
    return [
        name
        for name in names
        if all(name in one.activations and getattr(one.activations[name], what) >= share for one in steps)
    ]
