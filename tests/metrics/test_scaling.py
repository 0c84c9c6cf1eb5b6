"""Fitted temperatures, shifts and monotone maps, beside those of scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_softmax, logit
from sklearn.calibration import _sigmoid_calibration, _TemperatureScaling
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from medloom.metrics import fit_isotonic, fit_sigmoid, fit_softmax, smoothed


def binary(seed, n=400, sharper=2.5, moved=1.0):
    """Logits that are too large by a factor, and moved, with their truths."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(-1.0, 1.5, n)
    return sharper * honest + moved, (rng.random(n) < expit(honest)).astype(int)


def several(seed, n=500, classes=4):
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.3, (n, classes)) + np.array([0.5, 0, -0.5, 0])[:classes]
    shares = np.exp(log_softmax(honest, axis=1))
    truth = np.array([rng.choice(classes, p=row) for row in shares])
    return log_softmax(3 * honest, axis=1), truth


@pytest.mark.parametrize("seed", range(3))
def test_the_temperature_of_several_classes_is_that_of_scikit_learn(seed):
    logits, truth = several(seed)
    theirs = _TemperatureScaling().fit(logits, truth)
    scale, shift = fit_softmax(logits, np.eye(4)[truth])
    assert scale == pytest.approx([theirs.beta_] * 4, rel=1e-4)
    assert scale[0] == pytest.approx(1 / 3, rel=0.15)
    assert (shift == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_temperature_of_a_question_is_that_of_scikit_learn(seed):
    logits, truth = binary(seed, moved=0.0)
    theirs = _TemperatureScaling().fit(logits.reshape(-1, 1), truth)
    scale, shift = fit_sigmoid(logits, truth, shift=False)
    assert scale == pytest.approx(2 * theirs.beta_, rel=1e-4)  # its logits are x and -x
    assert shift == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_platt_is_that_of_scikit_learn_smoothed_targets_included(seed):
    logits, truth = binary(seed)
    a, b = _sigmoid_calibration(logits, truth)
    found = fit_sigmoid(logits, smoothed(truth, 2)[:, 1], shift=True)
    assert found == pytest.approx((-a, -b), rel=1e-4)


def test_vector_scaling_is_a_logistic_regression_that_is_not_held_back():
    logits, truth = several(1, classes=2)
    scale, shift = fit_softmax(logits, np.eye(2)[truth], shift=True, each=True)
    model = LogisticRegression(C=1e9, tol=1e-10, max_iter=5000).fit(logits, truth)
    ours = expit((logits * scale + shift) @ [-1, 1])
    assert ours == pytest.approx(model.predict_proba(logits)[:, 1], abs=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_an_isotonic_map_is_that_of_scikit_learn(seed):
    logits, truth = binary(seed)
    score = expit(logits).round(2)  # with ties
    least = 1 / (len(truth) + 2)
    theirs = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(score, truth)
    corners, shares = fit_isotonic(score, truth)
    asked = np.linspace(0, 1, 301)
    assert np.interp(asked, corners, shares) == pytest.approx(theirs.predict(asked), abs=1e-9)
    assert len(corners) < len(np.unique(score))


def test_classes_that_are_told_apart_without_a_mistake_do_not_become_certain():
    logits = np.array([-3.0, -2.0, -1.5, 1.5, 2.0, 3.0])
    truth = np.array([0, 0, 0, 1, 1, 1])
    scale, shift = fit_sigmoid(logits, smoothed(truth, 2)[:, 1], shift=True)
    found = expit(scale * logits + shift)
    assert 0.5 < found[3] < found[5] < 0.95
    _, shares = fit_isotonic(expit(logits), truth)
    assert (shares.min(), shares.max()) == pytest.approx((1 / 8, 7 / 8))


def test_what_was_learned_from_more_positives_than_there_are_is_mended_by_a_shift():
    """Oversampling adds to every logit; a temperature alone cannot take it away."""
    rng = np.random.default_rng(0)
    truth = (rng.random(4000) < 0.05).astype(int)
    honest = rng.normal(0, 1, 4000) + 2.0 * truth
    posterior = 2.0 * honest - 2.0 + logit(0.05)
    oversampled = posterior + logit(0.5) - logit(0.05)
    scale, shift = fit_sigmoid(oversampled, truth, shift=True)
    assert (scale, shift) == pytest.approx((1.0, logit(0.05)), abs=0.3)
    alone, _ = fit_sigmoid(oversampled, truth, shift=False)
    assert expit(scale * oversampled + shift).mean() == pytest.approx(truth.mean(), abs=1e-3)
    assert expit(alone * oversampled).mean() > 0.15
