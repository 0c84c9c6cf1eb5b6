import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as theirs

from medloom.metrics import mean_absolute_error, r_squared, root_mean_squared_error, spearman

CASES = [
    (mean_absolute_error, theirs.mean_absolute_error),
    (root_mean_squared_error, theirs.root_mean_squared_error),
    (r_squared, theirs.r2_score),
    (spearman, lambda truth, guess: stats.spearmanr(truth, guess).statistic),
]


def values(n=80, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(1000, 3, n).round()  # with ties
    return truth, (truth + rng.normal(0, 2, n)).round()


@pytest.mark.parametrize(("ours", "other"), CASES, ids=lambda f: f.__name__)
def test_metrics_agree_with_scikit_learn_and_scipy(ours, other):
    assert ours(*values())[0] == pytest.approx(other(*values()))


@pytest.mark.parametrize(("ours", "other"), CASES, ids=lambda f: f.__name__)
def test_weights_count_cases_as_often_as_repeating_them(ours, other):
    truth, guess = values()
    weights = np.random.default_rng(4).integers(0, 4, (5, 80))
    for row, weight in enumerate(weights):
        again = np.repeat(np.arange(80), weight)
        assert ours(truth, guess, weights)[row] == pytest.approx(other(truth[again], guess[again]))


def test_what_does_not_vary_has_no_correlation_and_explains_nothing():
    assert np.isnan(spearman([1, 2, 3], [5, 5, 5])[0])
    assert np.isnan(r_squared([0.3, 0.3, 0.3], [1, 2, 3])[0])
    assert r_squared([1, 2, 3], [2, 2, 2])[0] == 0.0
    assert all(np.isnan(metric([], [])[0]) for metric, _ in CASES)
