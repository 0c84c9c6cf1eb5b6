"""Rules about gradients that grow or vanish."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from medloom.training.diagnosis.records import History, Layer, Sample
from medloom.training.diagnosis.rule import Sign, since_step

__all__ = ["ExplodingGradients", "VanishingGradients"]


@dataclass(frozen=True)
class ExplodingGradients:
    """The gradient's norm, before clipping, stays large and has grown.

    Args:
        norm: From which norm on.
        growth: By which factor above the first sampled step.
        times: In how many sampled steps in a row.
    """

    norm: float = 100.0
    growth: float = 10.0
    times: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether the latest steps were all like that."""
        steps, first = history.latest(self.times), history.first
        if not steps or first is None:
            return None
        least = min(one.norm for one in steps)
        if not self.norm < least < float("inf") or least < self.growth * first.norm:
            return None
        largest = max(steps[-1].layers, key=lambda name: steps[-1].layers[name].gradient)
        text = f"gradients explode: their norm is {steps[-1].norm:.3g}, in the first step it was {first.norm:.3g}"
        return since_step(text, "lower train.optimizer.lr, warm up for longer, or set train.clip", steps, largest)


@dataclass(frozen=True)
class VanishingGradients:
    """The gradient of a layer, beside its weights, is next to nothing compared with that of the others, or of all.

    Args:
        share: Below which share of the median over the layers.
        floor: Below which gradient, beside the weights, in all of them.
        times: In how many sampled steps in a row.
    """

    share: float = 1e-5
    floor: float = 1e-9
    times: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether a layer was like that in all of the latest steps."""
        steps = history.latest(self.times)
        weak = [self._weak(one) for one in steps]
        if not steps or not all(weak):
            return None
        names = [name for name in weak[0] if all(name in one for one in weak)]
        if not names:
            return None
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        text = f"gradients vanish: those of {names[0]}{more} are next to nothing"
        advice = "take a network with shortcuts or normalisation, an activation that does not saturate, or another"
        return since_step(text, f"{advice} initialisation", steps, names[0])

    def _weak(self, sample: Sample) -> list[str]:
        sizes = {name: _relative(layer) for name, layer in sample.layers.items() if layer.weight > 0}
        if not sizes:
            return []
        limit = max(self.floor, self.share * median(sizes.values()))
        return [name for name, size in sizes.items() if size < limit]


def _relative(layer: Layer) -> float:
    return layer.gradient / layer.weight
