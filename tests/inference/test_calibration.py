import dataclasses
import json

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from sklearn.metrics import roc_auc_score

from medloom.inference.calibration import Calibration, Curve
from medloom.targets import Target


def probabilities(outputs, n=500, together=False, seed=0):
    z = np.random.default_rng(seed).normal(0, 3, (n, outputs))
    return (softmax(z, axis=1) if together else expit(z)).astype(np.float32)


def test_a_temperature_and_a_shift_are_those_of_the_logit():
    p = probabilities(2)
    found = Calibration("platt", (0.5, 2.0), (1.0, -0.3))(p, "sigmoid")
    assert found == pytest.approx(expit(logit(p.astype(float)) * [0.5, 2.0] + [1.0, -0.3]), abs=1e-6)
    assert found.dtype == np.float32


def test_of_classes_the_probabilities_add_up_to_one_and_are_those_of_the_softmax():
    p = probabilities(4, together=True)
    found = Calibration("platt", (0.4,) * 4, (0.0, 1.0, -1.0, 0.5))(p, "softmax")
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    assert found == pytest.approx(softmax(0.4 * np.log(p.astype(float)) + [0.0, 1.0, -1.0, 0.5], axis=1), abs=1e-6)


@pytest.mark.parametrize("scale", [0.05, 0.4, 1.0, 1.5])
def test_a_temperature_leaves_the_order_of_cases_and_the_largest_class_as_they_were(scale):
    p = probabilities(1, 4000)
    truth = np.random.default_rng(1).random(4000) < p[:, 0]
    found = Calibration("temperature", (scale,), (0.0,))(p, "sigmoid")
    assert roc_auc_score(truth, found[:, 0]) == roc_auc_score(truth, p[:, 0])
    several = probabilities(3, together=True)
    changed = Calibration("temperature", (scale,) * 3, (0.0,) * 3)(several, "softmax")
    assert (changed.argmax(axis=1) == several.argmax(axis=1)).all()


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_certain_probabilities_stay_finite(activation):
    p = np.array([[0.0, 1.0], [1.0, 0.0], [1e-40, 1.0]], np.float32)
    for one in (Calibration("platt", (20.0, 0.05), (100.0, -100.0)), Calibration("isotonic", curves=(Curve(),) * 2)):
        found = one(p, activation)
        assert np.isfinite(found).all()
        assert ((found >= 0) & (found <= 1)).all()


def test_an_image_alone_gets_what_it_gets_among_others():
    maps = probabilities(3 * 40, 6, seed=3).reshape(6, 3, 5, 8)
    for activation in ("sigmoid", "softmax"):
        one = Calibration("platt", (0.7, 0.9, 1.3), (0.1, -0.4, 0.0))
        whole = one(maps, activation)
        assert whole.shape == maps.shape
        for number in range(6):
            np.testing.assert_array_equal(one(maps[number : number + 1], activation)[0], whole[number])


@pytest.mark.parametrize(
    "one",
    [
        Calibration("temperature", (0.5,), (0.0,)),
        Calibration("platt", (0.123456, 2.0), (1e-6, -3.5)),
        Calibration("isotonic", curves=(Curve(), Curve((0.25, 0.5), (0.1, 0.1)))),
    ],
)
def test_a_calibration_goes_into_a_bundle_and_comes_back(one):
    assert Calibration.from_plain(json.loads(json.dumps(one.plain()))) == one


@pytest.mark.parametrize(
    "change",
    [
        {"method": "magic"},
        {"scale": [0.0]},
        {"scale": [-1.0]},
        {"scale": [float("nan")]},
        {"scale": [1.0, 1.0]},
        {"shift": [float("inf")]},
        {"smallest": [0.0, 0.0]},
        {"more": 1},
        {"curves": [{"score": [0, 1], "probability": [0, 1]}]},
        {"method": "isotonic"},
        {"scale": "half"},
    ],
)
def test_an_impossible_calibration_is_refused(change):
    with pytest.raises(ValueError, match=r"calibration|float"):
        Calibration.from_plain({**Calibration("temperature", (0.5,), (0.0,)).plain(), **change})


@pytest.mark.parametrize(
    ("score", "probability"), [((0.5, 0.2), (0, 1)), ((0, 1), (1, 0)), ((0, 2), (0, 1)), ((0,), (0, 1)), ((), ())]
)
def test_a_map_that_falls_or_leaves_the_scale_is_refused(score, probability):
    with pytest.raises(ValueError, match="calibration"):
        Curve(score, probability)


def test_a_calibration_for_other_outputs_or_for_numbers_is_refused():
    one = Calibration("temperature", (0.5,), (0.0,))
    one.check_fits(Target("binary", ("a", "b")))
    with pytest.raises(ValueError, match="1 outputs for 3"):
        one.check_fits(Target("multi-class", ("a", "b", "c")))
    with pytest.raises(ValueError, match="no probabilities"):
        one.check_fits(Target("regression", ("a",)))


def test_the_mean_of_several_lies_between_them():
    first, second = Calibration("platt", (0.5,), (1.0,)), Calibration("platt", (2.0,), (-2.0,))
    assert Calibration.mean([first, second]) == Calibration("platt", (1.0,), (-0.5,))
    assert Calibration.mean([None, first]) == Calibration("platt", (0.707107,), (0.5,))
    assert Calibration.mean([None, None]) is None
    curves = [Calibration("isotonic", curves=(Curve((0.2, 0.6), shares),)) for shares in ((0.0, 0.4), (0.2, 1.0))]
    p = np.array([[0.1], [0.4], [0.9]], np.float32)
    assert Calibration.mean(curves)(p, "sigmoid")[:, 0] == pytest.approx([0.1, 0.4, 0.7])
    assert dataclasses.replace(first) == first
