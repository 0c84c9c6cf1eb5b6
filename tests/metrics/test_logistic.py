import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from medloom.metrics import fit_logistic


def cases(seed=0, count=200):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3)) * [1.0, 5.0, 0.1] + [0.0, 3.0, -1.0]
    share = 1 / (1 + np.exp(-(features @ [1.0, -0.3, 4.0] + 4.0)))
    return features, np.clip(share + rng.normal(scale=0.1, size=count), 0, 1)


@pytest.mark.parametrize("ridge", [0.3, 1.0, 5.0])
def test_it_is_a_ridge_regression_on_cases_that_are_partly_yes_and_partly_no(ridge):
    """scikit-learn takes no shares: each case goes in as yes and as no, with its share of either as the weight."""
    features, target = cases()
    mean, spread = features.mean(axis=0), features.std(axis=0)
    both, yes = np.concatenate([features] * 2), np.repeat([1, 0], len(features))
    reference = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=10_000)
    reference.fit((both - mean) / spread, yes, sample_weight=np.concatenate([target, 1 - target]))
    weights, shift = fit_logistic(features, target, ridge=ridge)
    np.testing.assert_allclose(weights * spread, reference.coef_[0], atol=1e-5)
    assert shift + weights @ mean == pytest.approx(reference.intercept_[0], abs=1e-5)


def test_the_mean_of_what_is_expected_is_the_mean_of_what_was():
    features, target = cases(1)
    weights, shift = fit_logistic(features, target)
    expected = 1 / (1 + np.exp(-(features @ weights + shift)))
    assert expected.mean() == pytest.approx(target.mean(), abs=1e-6)


def test_a_feature_that_is_the_same_everywhere_says_nothing():
    features, target = cases(2)
    weights, _ = fit_logistic(np.column_stack([features, np.full(len(features), 7.0)]), target)
    assert weights[3] == 0.0
    assert np.isfinite(weights).all()


def test_cases_that_are_told_apart_perfectly_get_finite_weights():
    weights, _ = fit_logistic([[0.0], [0.1], [1.0], [1.1]], [0, 0, 1, 1])
    assert 0 < weights[0] < 100
