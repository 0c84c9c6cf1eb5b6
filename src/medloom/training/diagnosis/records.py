"""What the rules look at: statistics of sampled steps and of epochs, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal, Self

from medloom.training.answers import Variety
from medloom.training.diagnosis.suspects import Suspect
from medloom.training.ledger import Line

__all__ = ["Activation", "Epoch", "History", "Layer", "Sample", "Setup"]

Moment = Literal["step", "epoch"]

_RECENT = 16
"""So many samples of steps are kept beside the first."""


@dataclass(frozen=True)
class Layer:
    """A layer's weights in one step.

    Args:
        weight: Root mean square of the weights before the step.
        spread: Their standard deviation; 0 where all are the same.
        gradient: Root mean square of the gradient, before it is clipped.
        update: Root mean square of what the step changed.
        size: How many weights there are.
    """

    weight: float
    spread: float
    gradient: float
    update: float
    size: int

    @property
    def ratio(self) -> float:
        """How large the change is beside the weights; healthy is about 1e-3."""
        return self.update / self.weight if self.weight > 0 else 0.0


@dataclass(frozen=True)
class Activation:
    """What an activation function gave in one step, of a thinned sample of its values.

    Args:
        mean: Their mean.
        spread: Their standard deviation.
        dead: Share of units that were 0 for every image and place.
        saturated: Share of units that were at a bound of the function nearly everywhere; 0 where it has none.
        units: How many units there are.
        finite: Whether all were.
    """

    mean: float
    spread: float
    dead: float
    saturated: float
    units: int
    finite: bool


@dataclass(frozen=True)
class Sample:
    """One sampled step.

    Args:
        step: From 1, over the whole training.
        epoch: From 1.
        loss: Of the batch.
        lr: The learning rate.
        layers: By name, in the order of the network; those that were trained.
        activations: By name, in the order in which they were computed; empty where they are not sampled.
    """

    step: int
    epoch: int
    loss: float
    lr: float
    layers: Mapping[str, Layer] = field(default_factory=dict)
    activations: Mapping[str, Activation] = field(default_factory=dict)

    @property
    def norm(self) -> float:
        """Norm of the gradient of all these layers, before it is clipped."""
        return float(sum(layer.gradient**2 * layer.size for layer in self.layers.values()) ** 0.5)

    @property
    def ratio(self) -> float:
        """Median over the layers of how large the step's change is beside the weights."""
        return median(layer.ratio for layer in self.layers.values()) if self.layers else 0.0


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Args:
        epoch: From 1.
        step: Steps of the training so far.
        line: Its line of ``metrics.jsonl``; None where a value was not finite.
        losses: Mean training loss of up to eight equal pieces of the epoch, in order.
        variety: How much the answers in validation differ.
        suspects: Validation samples whose label may be wrong, the most suspicious first.
        others: Mean cross-entropy of those that are not answered surely otherwise; None for numbers.
    """

    epoch: int
    step: int
    line: Line
    losses: Sequence[float] = ()
    variety: Sequence[Variety] = ()
    suspects: Sequence[Suspect] = ()
    others: float | None = None

    def value(self, name: str) -> float | None:
        """Return a value of the line."""
        found = self.line.get(name)
        return None if found is None else float(found)


@dataclass(frozen=True)
class Setup:
    """What of the recipe the rules take into account.

    Args:
        epochs: Epochs of the run.
        steps_per_epoch: Steps of an epoch.
        lr: The largest learning rate.
        monitor: Key, in the line of an epoch, of the metric that picks the best one.
        larger_is_better: Whether a larger value of it is better.
        scaled: Whether the loss is scaled, so that gradients may overflow now and then and the step is skipped.
    """

    epochs: int
    steps_per_epoch: int
    lr: float
    monitor: str
    larger_is_better: bool
    scaled: bool = False


@dataclass
class History:
    """What was seen of a training so far.

    Args:
        setup: What of the recipe matters.
        moment: Whether a step or an epoch was seen last.
        first: The first sampled step, which is the network as it was initialised.
        samples: The latest sampled steps, the oldest first.
        epochs: Every epoch.

    Example:
        >>> seen = History(Setup(9, 5, 1e-3, "val_loss", False))
        >>> seen.epochs.append(Epoch(1, 5, {"epoch": 1, "val_loss": 0.5}))
        >>> seen.values("val_loss")
        [0.5]
    """

    setup: Setup
    moment: Moment = "epoch"
    first: Sample | None = None
    samples: list[Sample] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Add a sampled step."""
        self.moment = "step"
        self.first = self.first or sample
        self.samples = [*self.samples, sample][-_RECENT:]

    def end_epoch(self, epoch: Epoch) -> None:
        """Add an epoch."""
        self.moment = "epoch"
        self.epochs.append(epoch)

    def latest(self, count: int) -> list[Sample]:
        """Return the latest ``count`` sampled steps, or none where there are fewer."""
        return self.samples[-count:] if len(self.samples) >= count else []

    def values(self, name: str) -> list[float]:
        """Return a value of every epoch that has it."""
        return [value for epoch in self.epochs if (value := epoch.value(name)) is not None]

    def gains(self) -> list[float]:
        """Return the monitored metric of every epoch that has it, turned so that larger is better."""
        sign = 1.0 if self.setup.larger_is_better else -1.0
        return [sign * value for value in self.values(self.setup.monitor)]

    def at_full_rate(self, share: float = 0.1) -> list[Epoch]:
        """Return the epochs whose learning rate was at least a share of the largest: neither warm-up nor the end."""
        return [epoch for epoch in self.epochs if (epoch.value("lr") or 0.0) >= share * self.setup.lr]

    def state(self) -> dict[str, Any]:
        """Return everything but the setup as plain types, for the checkpoint."""
        plain = asdict(self)
        del plain["setup"]
        return plain

    @classmethod
    def restored(cls, setup: Setup, state: Mapping[str, Any]) -> Self:
        """Take back what ``state`` returned."""
        first = state["first"]
        return cls(
            setup,
            state["moment"],
            None if first is None else _sample(first),
            [_sample(one) for one in state["samples"]],
            [_epoch(one) for one in state["epochs"]],
        )


def _sample(plain: Mapping[str, Any]) -> Sample:
    layers = {name: Layer(**one) for name, one in plain["layers"].items()}
    activations = {name: Activation(**one) for name, one in plain["activations"].items()}
    return Sample(**{**plain, "layers": layers, "activations": activations})


def _epoch(plain: Mapping[str, Any]) -> Epoch:
    variety = tuple(Variety(**one) for one in plain["variety"])
    suspects = tuple(Suspect(**one) for one in plain["suspects"])
    return Epoch(**{**plain, "losses": tuple(plain["losses"]), "variety": variety, "suspects": suspects})
