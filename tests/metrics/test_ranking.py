import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medloom.metrics import average_precision, roc_auc

PAIRS = [(roc_auc, roc_auc_score), (average_precision, average_precision_score)]


def scored(seed, ties):
    rng = np.random.default_rng(seed)
    truth = rng.random(80) < 0.3
    score = truth * 0.4 + rng.random(80)
    return truth, score.round(1) if ties else score


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_areas_agree_with_scikit_learn(seed, ties, ours, theirs):
    truth, score = scored(seed, ties)
    assert ours(truth, score)[0] == pytest.approx(theirs(truth, score))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_each_row_of_weights_counts_cases_as_often_as_it_says(ours, theirs):
    truth, score = scored(7, ties=True)
    weights = np.random.default_rng(1).integers(0, 4, (5, 80))
    repeated = [theirs(np.repeat(truth, row), np.repeat(score, row)) for row in weights]
    assert ours(truth, score, weights) == pytest.approx(np.array(repeated))


def test_areas_without_positive_cases_are_not_a_number():
    assert np.isnan(roc_auc(np.zeros(3), np.arange(3))).all()
    assert np.isnan(average_precision(np.zeros(3), np.arange(3))).all()
    assert np.isnan(roc_auc(np.ones(3), np.arange(3))).all()
    assert np.isnan(roc_auc(np.zeros(0), np.zeros(0))).all()
