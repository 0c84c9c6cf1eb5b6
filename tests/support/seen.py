"""Trainings as rules see them, made up: healthy unless something is said."""

from __future__ import annotations

from dataclasses import replace

from medloom.training.answers import Variety
from medloom.training.diagnosis.records import Activation, Epoch, History, Layer, Sample, Setup
from medloom.training.diagnosis.suspects import Suspect

SETUP = Setup(epochs=40, steps_per_epoch=20, lr=1e-3, monitor="auc", larger_is_better=True)
LAYER = Layer(weight=0.05, spread=0.05, gradient=1e-3, update=5e-5, size=1000)
ACTIVATION = Activation(mean=0.4, spread=0.7, dead=0.05, saturated=0.0, units=32, finite=True)


def sample(number=1, *, loss=0.6, lr=1e-3, layers=None, activations=None) -> Sample:
    """The ``number``-th sampled step, of every 20th."""
    step = 20 * (number - 1) + 1
    layers = dict.fromkeys(("one", "two", "three", "head"), LAYER) | (layers or {})
    activations = dict.fromkeys(("act1", "act2"), ACTIVATION) | (activations or {})
    return Sample(step, (step - 1) // 20 + 1, loss, lr, layers, activations)


def of_steps(count=5, *, setup=SETUP, first=None, lr=1e-3, **changed) -> History:
    """Sampled steps; the first is healthy unless ``first`` says what it is."""
    history = History(setup)
    for number in range(1, count + 1):
        history.add(sample(number, lr=lr, **(changed if number > 1 or first is None else first)))
    return history


def layers(**changes) -> dict:
    """Every layer with something changed."""
    return {"layers": {name: replace(LAYER, **changes) for name in ("one", "two", "three", "head")}}


def layer(name, **changes) -> dict:
    """One layer with something changed."""
    return {"layers": {name: replace(LAYER, **changes)}}


def activation(name, **changes) -> dict:
    """One activation with something changed."""
    return {"activations": {name: replace(ACTIVATION, **changes)}}


def varied(*answered, true=0.5, mean=0.5, samples=40) -> list[Variety]:
    """How much answers differ, of each class."""
    names = "abcdefgh"
    return [Variety(name, value, true, mean, samples) for name, value in zip(names, answered, strict=False)]


def of_epochs(
    train,
    val=None,
    metric=None,
    *,
    setup=SETUP,
    lr=1e-3,
    pieces=None,
    variety=None,
    suspects=(),
    others=0.1,
    steps=None,
) -> History:
    """Epochs by their losses and the monitored metric, after some sampled steps."""
    history = replace(steps or of_steps(6), setup=setup, epochs=[])
    val, metric = val or train, metric or [0.6 + 0.3 * (n / len(train)) for n in range(len(train))]
    rates = lr if isinstance(lr, list) else [lr] * len(train)
    for n, loss in enumerate(train):
        line = {"epoch": n + 1, "train_loss": loss, "val_loss": val[n], setup.monitor: metric[n], "lr": rates[n]}
        own = pieces[n] if pieces else [loss * (1.02 - 0.005 * place) for place in range(8)]
        history.end_epoch(Epoch(n + 1, 20 * (n + 1), line, own, variety or varied(0.5), suspects, others))
    return history


def suspects(count, probability=0.01) -> tuple[Suspect, ...]:
    """Validation samples that the network is sure of otherwise."""
    return tuple(Suspect(place, "a", "b", probability, 0.98) for place in range(count))


def falling(count=12, begin=0.7, factor=0.9) -> list[float]:
    """A loss that falls."""
    return [begin * factor**n for n in range(count)]
