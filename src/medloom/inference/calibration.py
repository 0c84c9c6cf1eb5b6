"""What turns the probabilities of a network into ones that are kept, after the mean over the views.

A temperature and a shift for each output move the logits; an isotonic map has corners, and is level in places. Neither
puts a case behind another one. How they are fitted is in ``medloom.evaluation.calibrate``; ``docs/bundle.md`` says
every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from medloom.targets import Activation, Target

__all__ = ["Calibration", "Curve", "Method", "logit_of"]

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]

Method = Literal["temperature", "platt", "isotonic"]

_SMALLEST, _SMALLEST_REST = float(np.finfo(np.float32).tiny), 2.0**-25
"""What stands for a probability of 0, and for one minus a probability of 1: float32 has nothing between."""

_FARTHEST = 100.0
_MOST_CORNERS = 100_000


def logit_of(probability: NDArray[Any]) -> Floats64:
    """Return the logit of probabilities that came as float32; finite also for 0 and 1.

    Example:
        >>> logit_of(np.array([0.0, 0.5, 1.0], np.float32)).round(2).tolist()
        [-87.34, 0.0, 17.33]
    """
    p = probability.astype(np.float64)
    return np.asarray(np.log(np.maximum(p, _SMALLEST)) - np.log(np.maximum(1.0 - p, _SMALLEST_REST)))


def log_of(probability: NDArray[Any]) -> Floats64:
    """Return the logarithm of probabilities that came as float32; finite also for 0."""
    return np.asarray(np.log(np.maximum(probability.astype(np.float64), _SMALLEST)))


@dataclass(frozen=True)
class Curve:
    """A never falling map from a probability to another, straight between its corners and level beyond them.

    Args:
        score: Where its corners are, ascending, 0 to 1.
        probability: What it is there, never falling, 0 to 1.

    Raises:
        ValueError: If it is no such map.
    """

    score: tuple[float, ...] = (0.0, 1.0)
    probability: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        x, y = self.score, self.probability
        if not 1 <= len(x) == len(y) <= _MOST_CORNERS:
            raise ValueError("a curve of a calibration needs as many scores as probabilities")
        if not all(0.0 <= value <= 1.0 for value in (*x, *y)):
            raise ValueError("a curve of a calibration leaves 0 to 1")
        if any(a >= b for a, b in pairwise(x)) or any(a > b for a, b in pairwise(y)):
            raise ValueError("a curve of a calibration falls")

    def at(self, score: Floats64) -> Floats64:
        """Return what becomes of scores of any shape."""
        return np.asarray(np.interp(score, self.score, self.probability))

    @classmethod
    def mean(cls, curves: Sequence[Curve]) -> Self:
        """Return the mean of several maps."""
        corners = np.unique(np.concatenate([one.score for one in curves]))
        shares = np.maximum.accumulate(np.mean([one.at(corners) for one in curves], axis=0))
        return cls(tuple(corners.tolist()), tuple(shares.tolist()))


@dataclass(frozen=True)
class Calibration:
    """How the probabilities of a network are corrected.

    Args:
        method: How it was fitted.
        scale: For each output what its logit is multiplied with, one over its temperature; empty for ``isotonic``.
        shift: For each output what is added to its logit after that; empty for ``isotonic``.
        curves: For ``isotonic`` the map of each output.

    Raises:
        ValueError: If one of them is impossible.

    Example:
        >>> halved = Calibration("temperature", scale=(0.5,), shift=(0.0,))
        >>> halved(np.array([[0.9], [0.5]], np.float32), "sigmoid").round(3).ravel().tolist()
        [0.75, 0.5]
    """

    method: Method
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()
    curves: tuple[Curve, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in ("temperature", "platt", "isotonic"):
            raise ValueError(f"there is no calibration {self.method!r}")
        if (self.method == "isotonic") != bool(self.curves) or bool(self.scale) == bool(self.curves):
            raise ValueError(f"a calibration by {self.method} has " + ("curves" if self.curves else "no curves"))
        if len(self.scale) != len(self.shift):
            raise ValueError(f"{len(self.scale)} scales and {len(self.shift)} shifts of a calibration")
        if not all(0.0 < value < np.inf for value in self.scale) or not np.isfinite(self.shift).all():
            raise ValueError("a calibration has a scale that is not above 0, or a number that is not finite")

    @property
    def outputs(self) -> int:
        """How many outputs it is for."""
        return len(self.scale) or len(self.curves)

    def __call__(self, answer: Floats32, activation: Activation) -> Floats32:
        """Correct what a network answered.

        Args:
            answer: ``(N, K, ...)`` float32 probabilities.
            activation: How the network made them: over each output alone, or over all together.

        Returns:
            The same shape and dtype.
        """
        outputs = [answer[:, index] for index in range(self.outputs)]
        made = self._by_curves(outputs) if self.curves else self._by_logits(outputs, activation)
        if activation == "softmax":
            total = made[0]
            for one in made[1:]:
                total = total + one
            made = [one / total for one in made]
        return np.stack(made, axis=1).astype(np.float32)

    def _by_curves(self, outputs: list[Floats32]) -> list[Floats64]:
        pairs = zip(self.curves, outputs, strict=True)
        return [np.maximum(curve.at(one.astype(np.float64)), _SMALLEST) for curve, one in pairs]

    def _by_logits(self, outputs: list[Floats32], activation: Activation) -> list[Floats64]:
        """The sigmoid of each moved logit, or its exponential where all are divided by their sum afterwards."""
        logits = logit_of if activation == "sigmoid" else log_of
        trio = zip(self.scale, outputs, self.shift, strict=True)
        moved = [scale * logits(one) + shift for scale, one, shift in trio]
        if activation == "sigmoid":
            return [1.0 / (1.0 + np.exp(-np.clip(one, -_FARTHEST, _FARTHEST))) for one in moved]
        largest = moved[0]
        for one in moved[1:]:
            largest = np.maximum(largest, one)
        return [np.exp(one - largest) for one in moved]

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, for the bundle."""
        if self.curves:
            curves = [{"score": list(one.score), "probability": list(one.probability)} for one in self.curves]
            return {"method": self.method, "curves": curves, "smallest": [_SMALLEST, _SMALLEST_REST]}
        return {
            "method": self.method,
            "scale": list(self.scale),
            "shift": list(self.shift),
            "smallest": [_SMALLEST, _SMALLEST_REST],
            "farthest": _FARTHEST,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError: If it is no such value.
        """
        try:
            curves = tuple(_curve(one) for one in plain.get("curves", ()))
            scale, shift = (tuple(map(float, plain.get(name, ()))) for name in ("scale", "shift"))
            made = cls(plain["method"], scale, shift, curves)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("expected a calibration with its method and numbers") from error
        if made.plain() != plain:
            raise ValueError("expected a calibration with the numbers of this version of Medloom and nothing else")
        return made

    def check_fits(self, target: Target) -> None:
        """Raise if it is not for such a model.

        Raises:
            ValueError: If the target has no probabilities, or another number of outputs.
        """
        if target.activation == "identity":
            raise ValueError(f"{target.kind} has no probabilities to calibrate")
        if self.outputs != target.outputs:
            raise ValueError(f"a calibration of {self.outputs} outputs for {target.outputs}")

    @classmethod
    def mean(cls, found: Sequence[Calibration | None]) -> Calibration | None:
        """Return what corrects the mean of several networks: scales by their geometric mean, all else by its mean.

        Args:
            found: That of each network; None for one whose probabilities stay as they are.
        """
        known = [one for one in found if one is not None]
        if not known:
            return None
        first = known[0]
        if first.curves:
            curves = [one.curves if one else (Curve(),) * first.outputs for one in found]
            return cls(first.method, curves=tuple(map(Curve.mean, zip(*curves, strict=True))))
        scales = np.array([one.scale if one else np.ones(first.outputs) for one in found])
        shifts = np.array([one.shift if one else np.zeros(first.outputs) for one in found])
        scale = np.exp(np.log(scales).mean(axis=0))
        return cls(first.method, tuple(map(_short, scale)), tuple(map(_short, shifts.mean(axis=0))))


def _curve(plain: Mapping[str, Any]) -> Curve:
    return Curve(tuple(map(float, plain["score"])), tuple(map(float, plain["probability"])))


def _short(value: float) -> float:
    return round(float(value), 6)
