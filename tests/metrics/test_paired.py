import numpy as np
import pytest
from scipy.stats import norm

from medloom.metrics import bootstrap_p, compare_areas, holm, resample, roc_auc


def scored(seed, cases=60):
    rng = np.random.default_rng(seed)
    truth = rng.random(cases) < 0.4
    return truth, (truth * 0.9 + rng.normal(size=cases)).round(1), (truth * 0.4 + rng.normal(size=cases)).round(1)


def delong_by_hand(truth, first, second):
    """The test as the paper writes it: a kernel over all pairs, and two covariance matrices."""
    kernels = []
    for score in (first, second):
        high, low = score[truth][:, None], score[~truth][None]
        kernels.append((high > low) + 0.5 * (high == low))
    areas = [kernel.mean() for kernel in kernels]
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    covariance = s10 / truth.sum() + s01 / (~truth).sum()
    spread = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    value = areas[0] - areas[1]
    return value, spread, 2 * norm.sf(abs(value) / spread)


@pytest.mark.parametrize("seed", range(5))
def test_areas_of_independent_cases_are_compared_as_delong_does(seed):
    truth, first, second = scored(seed)
    found = compare_areas(truth, first, second, np.arange(len(truth)))
    value, spread, p = delong_by_hand(truth, first, second)
    assert found.value == pytest.approx(value)
    assert found.value == pytest.approx(roc_auc(truth, first)[0] - roc_auc(truth, second)[0])
    assert (found.low, found.high) == pytest.approx((value - 1.96 * spread, value + 1.96 * spread), abs=1e-4)
    assert found.p == pytest.approx(p)


def test_images_of_one_patient_are_no_further_evidence():
    truth, first, second = scored(1)
    alone = compare_areas(truth, first, second, np.arange(len(truth)))
    thrice = compare_areas(*(np.repeat(one, 3) for one in (truth, first, second)), np.repeat(np.arange(len(truth)), 3))
    assert thrice.value == pytest.approx(alone.value)
    assert thrice.p == pytest.approx(alone.p)


def test_clusters_with_ill_and_well_images_agree_with_their_bootstrap():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(80), 4)
    shared = rng.normal(size=80)[patients]
    truth = rng.random(320) < 0.4
    first = truth * 1.0 + shared + rng.normal(size=320)
    second = truth * 0.6 + shared + rng.normal(size=320)
    found = compare_areas(truth, first, second, patients)

    def difference(weights):
        return {"": roc_auc(truth, first, weights) - roc_auc(truth, second, weights)}

    draws = resample(patients, difference, 4000).draws[""]
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(draws.std(), rel=0.08)


def test_models_that_rank_alike_do_not_differ():
    truth, first, _ = scored(2)
    found = compare_areas(truth, first, 3 * first, np.arange(len(truth)))
    assert (found.value, found.p) == (0.0, 1.0)


def test_areas_of_a_single_ill_patient_are_not_compared():
    assert compare_areas([1, 1, 0, 0], [4, 3, 2, 1], [1, 2, 3, 4], list("aabc")) is None


def test_holm_as_in_its_paper_and_in_any_order():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(p[::-1]) == pytest.approx(holm(p)[::-1])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


def test_a_p_value_from_a_bootstrap_touches_the_level_where_the_interval_touches_zero():
    draws = np.linspace(0, 1, 999) - 0.024
    assert 0.04 < bootstrap_p(draws) < 0.06
    assert bootstrap_p(np.ones(99)) == pytest.approx(0.02)  # never below what so few draws can show
    assert bootstrap_p(np.zeros(9)) == 1.0
    assert bootstrap_p(np.array([np.nan])) is None
