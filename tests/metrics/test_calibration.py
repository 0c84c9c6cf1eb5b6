import tracemalloc

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from medloom.metrics import calibration_bins, chance_calibration_error, expected_calibration_error, reliability


def scores(n=400, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.random(n) ** 2
    return rng.random(n) < score**1.5, score


@pytest.mark.parametrize(("kind", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_reliability_agrees_with_scikit_learn(kind, strategy):
    truth, score = scores()
    count, said, seen = reliability(truth, score, calibration_bins(score, 10, kind))
    their_seen, their_said = calibration_curve(truth, score, n_bins=10, strategy=strategy)
    filled = count[0] > 0
    np.testing.assert_allclose(said[0][filled], their_said)
    np.testing.assert_allclose(seen[0][filled], their_seen)
    assert count.sum() == len(score)


def test_bins_of_equal_mass_hold_equally_many_cases():
    truth, score = scores()
    count, _, _ = reliability(truth, score, calibration_bins(score, 8, "mass"))
    assert count[0].tolist() == [50.0] * 8


def test_many_equal_scores_give_fewer_bins_and_lose_no_case():
    score = np.array([0.2] * 50 + [0.9] * 5)
    edges = calibration_bins(score, 10, "mass")
    count, _, _ = reliability(np.zeros(55), score, edges)
    assert len(edges) < 11
    assert count.sum() == 55


def test_the_error_is_the_weighted_distance_in_the_bins():
    truth, score = scores()
    bins = np.minimum((np.ceil(score * 10) - 1).clip(0), 9)
    expected = sum(
        (bins == b).mean() * abs(score[bins == b].mean() - truth[bins == b].mean())
        for b in range(10)
        if (bins == b).any()
    )
    assert expected_calibration_error(truth, score, calibration_bins(score))[0] == pytest.approx(expected)


def test_weights_count_cases_as_often_as_repeating_them():
    truth, score = scores(60)
    edges, weights = calibration_bins(score), np.random.default_rng(5).integers(0, 3, (4, 60))
    for row, weight in enumerate(weights):
        again = np.repeat(np.arange(60), weight)
        expected = expected_calibration_error(truth[again], score[again], edges)[0]
        assert expected_calibration_error(truth, score, edges, weights)[row] == pytest.approx(expected)


def test_true_probabilities_are_calibrated_and_sure_mistakes_are_not():
    truth, score = [0, 1] * 50, np.full(100, 0.5)
    assert expected_calibration_error(truth, score, calibration_bins(score))[0] == 0.0
    assert expected_calibration_error([0, 0], [1.0, 1.0], calibration_bins([1.0]))[0] == 1.0
    assert np.isnan(expected_calibration_error([], [], calibration_bins([])))


def test_the_error_by_chance_of_many_cases_takes_little_memory_and_is_that_of_every_draw_at_once():
    _, score = scores(3000)
    truth = np.random.default_rng(0).random((45, len(score))) < score
    edges = calibration_bins(score, 10)
    by_hand = np.mean([expected_calibration_error(one, score, edges)[0] for one in truth])
    assert chance_calibration_error(score, draws=45) == pytest.approx(by_hand, rel=1e-9)
    many = np.tile(score, 20)
    tracemalloc.start()
    chance_calibration_error(many, draws=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * many.nbytes / 2
