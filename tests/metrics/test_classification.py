import warnings

import numpy as np
import pytest
from sklearn import metrics as theirs

from medloom.metrics import (
    accuracy,
    balanced_accuracy,
    brier_score,
    confusion_matrix,
    counts_at,
    f1_score,
    log_loss,
    matthews,
    precision,
    sensitivity,
    specificity,
)


def decisions(classes, n=200, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    return truth, np.where(rng.random(n) < 0.6, truth, rng.integers(0, classes, n))


def scores(n=150, seed=1, ties=False):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    score = np.clip(0.3 * truth + 0.7 * rng.random(n), 0, 1)
    return truth, score.round(1) if ties else score


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_metrics_of_decisions_agree_with_scikit_learn(classes):
    truth, decision = decisions(classes)
    matrix = confusion_matrix(truth, decision, classes)
    np.testing.assert_array_equal(matrix[0], theirs.confusion_matrix(truth, decision))
    assert accuracy(matrix)[0] == pytest.approx(theirs.accuracy_score(truth, decision))
    assert balanced_accuracy(matrix)[0] == pytest.approx(theirs.balanced_accuracy_score(truth, decision))
    assert matthews(matrix)[0] == pytest.approx(theirs.matthews_corrcoef(truth, decision))
    np.testing.assert_allclose(sensitivity(matrix)[0], theirs.recall_score(truth, decision, average=None))
    np.testing.assert_allclose(precision(matrix)[0], theirs.precision_score(truth, decision, average=None))
    np.testing.assert_allclose(f1_score(matrix)[0], theirs.f1_score(truth, decision, average=None))
    for index in range(classes):
        expected = theirs.recall_score(truth != index, decision != index)
        assert specificity(matrix)[0, index] == pytest.approx(expected)


def test_weights_count_cases_as_often_as_repeating_them():
    truth, decision = decisions(3)
    _, score = scores(200)
    weights = np.random.default_rng(4).integers(0, 4, (5, 200))
    matrices = confusion_matrix(truth, decision, 3, weights)
    positive = truth == 1
    for row, weight in enumerate(weights):
        again = np.repeat(np.arange(200), weight)
        np.testing.assert_array_equal(matrices[row], theirs.confusion_matrix(truth[again], decision[again]))
        expected = theirs.brier_score_loss(positive[again], score[again])
        assert brier_score(positive, score, weights)[row] == pytest.approx(expected)
        expected = theirs.log_loss(positive[again], score[again])
        assert log_loss(positive, score, weights)[row] == pytest.approx(expected)


def test_losses_of_several_classes_agree_with_scikit_learn():
    truth, _ = decisions(4)
    score = np.random.default_rng(2).dirichlet(np.ones(4), 200)
    assert log_loss(truth, score)[0] == pytest.approx(theirs.log_loss(truth, score))
    assert brier_score(truth, score)[0] == pytest.approx(((score - np.eye(4)[truth]) ** 2).sum(1).mean())


def test_a_sure_mistake_costs_much_and_not_infinity():
    assert log_loss([1, 0], np.array([0.0, 1.0]))[0] == pytest.approx(theirs.log_loss([1, 0], [0.0, 1.0]), rel=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_counts_at_every_score_agree_with_scikit_learn(ties):
    truth, score = scores(ties=ties)
    false, true, thresholds = theirs.roc_curve(truth, score, drop_intermediate=False)
    hits, alarms = counts_at(truth, score, thresholds[:0:-1])
    np.testing.assert_allclose(hits[0, ::-1] / truth.sum(), true[1:])
    np.testing.assert_allclose(alarms[0, ::-1] / (~truth).sum(), false[1:])


def test_a_case_is_called_from_the_threshold_on():
    hits, alarms = counts_at([1, 1, 0, 0], [0.5, 0.9, 0.5, 0.1], [0.0, 0.5, 0.7, 1.0])
    assert hits[0].tolist() == [2, 2, 1, 0]
    assert alarms[0].tolist() == [2, 1, 0, 0]


def test_what_is_not_defined_is_nan_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        only_negative = confusion_matrix([0, 0], [0, 0], 2)
        assert np.isnan(sensitivity(only_negative)[0, 1])
        assert specificity(only_negative)[0, 1] == 1.0
        assert np.isnan(precision(only_negative)[0, 1])
        assert np.isnan(f1_score(only_negative)[0, 1])
        assert np.isnan(matthews(only_negative)[0])
        assert balanced_accuracy(only_negative)[0] == 1.0
        nothing = confusion_matrix([], [], 2)
        assert np.isnan(accuracy(nothing)[0])
        assert np.isnan(balanced_accuracy(nothing)[0])
        assert np.isnan(brier_score([], np.empty(0))[0])
        assert np.isnan(log_loss([], np.empty((0, 3)))[0])


def test_always_deciding_the_same_is_worth_nothing():
    truth, _ = decisions(2)
    matrix = confusion_matrix(truth, np.zeros_like(truth), 2)
    assert balanced_accuracy(matrix)[0] == 0.5
    assert np.isnan(matthews(matrix)[0])
