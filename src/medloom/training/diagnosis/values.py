"""Rules about numbers that are none, and about the weights a training begins with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medloom.training.diagnosis.records import Activation, History, Layer
from medloom.training.diagnosis.rule import Sign, since_epoch, since_step

__all__ = ["NonFinite", "PoorInitialisation", "non_finite_step"]

_LOWER = "lower train.optimizer.lr, set train.clip, or train.precision=32 where it is lower; look at the images"


@dataclass(frozen=True)
class NonFinite:
    """Numbers that are NaN or infinite: in activations, in gradients, or in the loss on validation.

    A training step whose loss or gradient is not finite ends the training by itself; ``non_finite_step`` says where.

    Args:
        times: Sampled steps in a row, where the loss is scaled and an overflow now and then is part of it.
    """

    times: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether the latest step or epoch has such numbers."""
        return self._in_validation(history) if history.moment == "epoch" else self._in_step(history)

    def _in_validation(self, history: History) -> Sign | None:
        last = history.epochs[-1]
        if last.line.get("val_loss", 0.0) is not None:
            return None
        return since_epoch("the loss on validation is not a finite number", _LOWER, last)

    def _in_step(self, history: History) -> Sign | None:
        latest = history.latest(1)
        for name, activation in latest[0].activations.items():
            if not activation.finite:
                return since_step(f"activations of {name} are not finite numbers", _LOWER, latest, name)
        steps = history.latest(self.times) if history.setup.scaled else latest
        broken = [[name for name, layer in one.layers.items() if not math.isfinite(layer.gradient)] for one in steps]
        if not steps or not all(broken):
            return None
        return since_step(f"the gradient of {broken[-1][0]} is not finite", _LOWER, steps, broken[-1][0])


def non_finite_step(step: int, epoch: int, layers: list[str]) -> Sign:
    """Return what is said of a step that ended the training.

    Args:
        step: From 1.
        epoch: From 1.
        layers: Those whose gradient is not finite, in the order of the network; empty where only the loss is.
    """
    first = layers[-1] if layers else None  # what went wrong first in the backward pass is what comes last in order
    where = f"the gradient, in {len(layers)} layers back from {first}," if layers else "the loss"
    return Sign(f"{where} was not finite and the training ended", _LOWER, first, epoch, step)


@dataclass(frozen=True)
class PoorInitialisation:
    """A network that begins badly: signals that fade or blow up with depth, or layers of equal weights.

    Args:
        factor: How much more or less the activations of a layer may spread than a spread of 1.
    """

    factor: float = 1e4

    def look(self, history: History) -> Sign | None:
        """See how the first sampled step was, once."""
        first = history.first
        if first is None or len(history.samples) > 1 or first.step > 1:
            return None
        for name, activation in first.activations.items():
            if word := self._wrong(activation):
                text = f"at the beginning the activations of {name} {word} (standard deviation {activation.spread:.1e})"
                advice = "take an initialisation that suits the activation, normalise between layers, or check the"
                return since_step(text, f"{advice} normalisation of the images", [first], name)
        same = [name for name, layer in first.layers.items() if _is_one_value(layer)]
        if len(same) < 2:  # one such layer is how some networks begin their head, or a branch
            return None
        text = f"{len(same)} layers, such as {same[0]}, begin with weights that are all the same"
        return since_step(text, "initialise them with random numbers", [first], same[0])

    def _wrong(self, activation: Activation) -> str:
        if activation.dead >= 1 or not activation.finite:  # said by other rules
            return ""
        if activation.spread > self.factor:
            return "blow up"
        return "hardly differ" if activation.units > 1 and activation.spread < 1 / self.factor else ""


def _is_one_value(layer: Layer) -> bool:
    return layer.size > 1 and layer.spread <= 1e-7 * max(layer.weight, 1e-30)
