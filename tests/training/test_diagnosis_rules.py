"""Each rule fires on what it is for, and on nothing that is healthy."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from medloom.registry import RULES, load
from medloom.training.diagnosis.values import non_finite_step
from support.seen import (
    SETUP,
    activation,
    falling,
    layer,
    layers,
    of_epochs,
    of_steps,
    suspects,
    varied,
)

WORSE = [*falling(5), 0.5, 0.56, 0.6, 0.66, 0.7]
FLAT = [0.69, 0.7, 0.69, 0.695, 0.69, 0.7]
RISING = [0.4 * 0.9**n for n in range(6)] + [0.24, 0.26, 0.29, 0.32, 0.36, 0.4]
DECIDED = {"train": falling(6), "metric": [0.5] * 6}
LOSS = replace(SETUP, monitor="val_loss", larger_is_better=False)
LARGE = of_steps(6, **layers(update=2e-3))
SMALL = of_steps(6, **layers(update=1e-6))

PROVOKED = {
    "a value of validation": ("non-finite", of_epochs([0.7, 0.6], [0.7, None])),
    "an activation": ("non-finite", of_steps(**activation("act2", finite=False))),
    "a gradient": ("non-finite", of_steps(**layer("two", gradient=math.inf))),
    "many scaled gradients": ("non-finite", of_steps(setup=replace(SETUP, scaled=True), **layers(gradient=math.nan))),
    "a signal that fades": ("poor-initialisation", of_steps(1, **activation("act2", spread=1e-6))),
    "a signal that blows up": ("poor-initialisation", of_steps(1, **activation("act2", spread=1e6))),
    "equal weights": ("poor-initialisation", of_steps(1, **layers(spread=0.0))),
    "gradients that grew": ("exploding-gradients", of_steps(first={}, **layers(gradient=20.0))),
    "a gradient that is nothing": ("vanishing-gradients", of_steps(**layer("one", gradient=1e-10))),
    "no gradient anywhere": ("vanishing-gradients", of_steps(**layers(gradient=1e-14))),
    "a layer of dead units": ("dead-units", of_steps(**activation("act1", dead=0.95))),
    "most units of all layers": (
        "dead-units",
        of_steps(activations=activation("act1", dead=0.8)["activations"] | activation("act2", dead=0.7)["activations"]),
    ),
    "saturated units": ("saturated-units", of_steps(**activation("act1", saturated=0.95))),
    "weights that stand still": ("frozen-weights", of_steps(**layers(update=1e-9))),
    "one layer that stands still": ("frozen-weights", of_steps(**layer("two", update=0.0))),
    "small steps": ("learning-rate-low", of_epochs(falling(5, factor=0.99), steps=SMALL)),
    "a loss that rises": ("learning-rate-high", of_epochs(RISING, steps=LARGE)),
    "a loss far above the first": ("learning-rate-high", of_epochs([40.0, 38.0], steps=LARGE)),
    "a first epoch far above the first step": ("learning-rate-high", of_epochs([5.5], steps=of_steps(1))),
    "a loss that jumps": (
        "learning-rate-high",
        of_epochs([0.7, 0.72, 0.71, 0.75], pieces=[[0.3, 1.1] * 4] * 4, steps=LARGE),
    ),
    "a loss that stays": ("loss-not-decreasing", of_epochs(FLAT, pieces=[[loss] * 8 for loss in FLAT])),
    "a plateau": ("plateau", of_epochs(falling(14) + [0.17] * 12, metric=falling(14, 0.6, 1.02) + [0.75] * 12)),
    "overfitting": ("overfitting", of_epochs(falling(10), WORSE, [0.7] * 10)),
    "overfitting by loss": ("overfitting", of_epochs(falling(10), WORSE, WORSE, setup=LOSS)),
    "a best epoch long ago": ("overtraining", of_epochs(falling(20), metric=[0.5, 0.7, 0.9, 0.8] + [0.75] * 16)),
    "a metric that jumps": ("unstable-validation", of_epochs(falling(12), metric=[0.5, 0.8] * 6)),
    "a loss of validation that jumps": (
        "unstable-validation",
        of_epochs(falling(12), jumps := [0.5, 0.9] * 6, jumps, setup=LOSS),
    ),
    "always the frequent class": ("one-answer", of_epochs(**DECIDED, variety=varied(0.0, true=0.3, mean=0.0))),
    "one class of three": ("one-answer", of_epochs(**DECIDED, variety=varied(0.0, 0.0, 0.0))),
    "one number": ("one-answer", of_epochs(falling(6), setup=LOSS, variety=varied(0.001, true=2.0))),
    "wrong labels": ("wrong-labels", of_epochs(falling(5), metric=[0.9] * 5, suspects=suspects(3))),
}  # fmt: skip

HEALTHY = {
    "steps": of_steps(8),
    "the first step": of_steps(1),
    "large gradients that were so from the beginning": of_steps(**layers(gradient=30.0)),
    "large gradients that fall": of_steps(first=layers(gradient=300.0)),
    "small gradients everywhere, at the end": of_steps(**layers(gradient=1e-8)),
    "some dead units": of_steps(**activation("act1", dead=0.5)),
    "a single gate that is shut": of_steps(**activation("act1", saturated=1.0, units=1)),
    "a scaled gradient that overflows once": of_steps(5, setup=replace(SETUP, scaled=True)),
    "steps of the warm-up": of_steps(lr=1e-6, **layers(update=5e-10)),
    "a head that begins at zero": of_steps(1, **layer("head", weight=0.0, spread=0.0)),
    "a loss that falls": of_epochs(falling(20)),
    "a loss that falls by a little with small steps": of_epochs(falling(6, factor=0.95), steps=SMALL),
    "an epoch above the first step, once": of_epochs([0.7, 1.5], steps=LARGE),
    "a loss that falls with large steps": of_epochs(falling(12), steps=LARGE),
    "warm-up without learning": of_epochs([*FLAT[:3], *falling(4)], lr=[1e-6, 1e-5, 5e-5, 1e-3, 1e-3, 1e-3, 1e-3]),
    "too early to say": of_epochs(FLAT[:2]),
    "a plateau at the end of a cosine": of_epochs(falling(14) + [0.17] * 12, lr=[1e-3] * 14 + [5e-5] * 12),
    "a plateau at a perfect metric": of_epochs(falling(14) + [0.17] * 12, metric=[0.8] * 13 + [0.995] * 13),
    "a loss of validation that rises while the metric gets better": of_epochs(
        falling(10), WORSE, [0.6 + 0.03 * n for n in range(10)]
    ),
    "a loss of validation that stays": of_epochs(falling(20), [0.5] * 20),
    "a metric that trembles": of_epochs(falling(16), metric=[0.8, 0.84] * 8),
    "a metric that rises fast": of_epochs(falling(16), metric=[0.1 * min(n, 9) for n in range(16)]),
    "the frequent class, but ranked well": of_epochs(falling(6), metric=[0.8] * 6, variety=varied(0.0, true=0.2)),
    "validation of one class": of_epochs(**DECIDED, variety=varied(0.0, true=0.0)),
    "one class that is never said": of_epochs(**DECIDED, variety=varied(0.5, 0.5, 0.0)),
    "a sample answered otherwise": of_epochs(falling(5), metric=[0.95] * 5, suspects=suspects(1)),
    "samples answered otherwise, not surely": of_epochs(falling(5), metric=[0.95] * 5, suspects=suspects(4, 0.2)),
    "many answered otherwise": of_epochs(falling(5), metric=[0.95] * 5, suspects=suspects(20)),
    "a poor network that is sure": of_epochs(falling(5), metric=[0.7] * 5, suspects=suspects(3), others=0.5),
    "a network that knows its images by heart": of_epochs(
        falling(5, factor=0.3), metric=[0.9] * 5, suspects=suspects(3), others=0.1
    ),
}


def looked(rule, history):
    entry = RULES[rule]
    return load(entry)().look(history) if history.moment in entry.traits["at"] else None


@pytest.mark.parametrize(("rule", "history"), PROVOKED.values(), ids=list(PROVOKED))
def test_a_rule_fires_on_what_it_is_for_and_says_what_to_try(rule, history):
    sign = looked(rule, history)
    assert sign is not None
    assert sign.text
    assert sign.advice
    assert sign.text[0].islower() or sign.text[0].isdigit()
    assert not sign.text.endswith(".")


def test_every_rule_is_provoked():
    assert {rule for rule, _ in PROVOKED.values()} == set(RULES)


@pytest.mark.parametrize("history", HEALTHY.values(), ids=list(HEALTHY))
def test_every_rule_is_silent_on_what_is_healthy(history):
    assert {rule: sign.text for rule in RULES if (sign := looked(rule, history)) is not None} == {}


@pytest.mark.parametrize("name", ["a gradient that is nothing", "a layer of dead units", "gradients that grew"])
def test_once_or_twice_is_no_sign_yet(name):
    rule, history = PROVOKED[name]
    assert looked(rule, replace(history, samples=history.samples[:2])) is None


def test_a_sign_says_where_and_since_when():
    sign = looked("vanishing-gradients", PROVOKED["a gradient that is nothing"][1])
    assert (sign.layer, sign.step, sign.epoch) == ("one", 41, 3)  # of steps 1, 21, 41, 61, 81 the latest three
    assert "one" in sign.text
    overfits = looked("overfitting", PROVOKED["overfitting"][1])
    assert overfits.epoch == 5
    assert "since epoch 5" in overfits.text


def test_the_end_of_a_training_says_in_which_layer_numbers_broke_first():
    sign = non_finite_step(7, 2, ["one", "two", "head"])
    assert (sign.layer, sign.step, sign.epoch) == ("head", 7, 2)
    assert "3 layers back from head" in sign.text
    assert non_finite_step(7, 2, []).text.startswith("the loss was not finite")
