import numpy as np
import pytest
from scipy import stats

from medloom.metrics import (
    Estimate,
    bootstrap_interval,
    bootstrap_mean,
    bootstrap_ratio,
    resample,
    roc_auc,
    weighted_mean,
)


def clustered(seed=0, patients=30, images=12):
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.random(patients), images)
    return level + 0.05 * rng.random(patients * images), np.repeat([f"P{i:03d}" for i in range(patients)], images)


def test_interval_over_single_cases_agrees_with_scipy():
    values = np.random.default_rng(3).gamma(2.0, size=60)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=5).confidence_interval
    ours = bootstrap_mean(values, np.arange(60), n=20_000)
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_drawing_patients_gives_the_wider_interval_that_alike_images_deserve():
    values, patients = clustered()
    by_patient = bootstrap_mean(values, patients)
    by_image = bootstrap_mean(values, np.arange(len(values)))
    assert by_patient.high - by_patient.low > 2 * (by_image.high - by_image.low)
    assert (by_patient.n, by_patient.patients) == (360, 30)


def test_mean_and_general_statistic_agree_and_repeat_with_the_seed():
    values, patients = clustered()
    values[3] = np.nan
    general, mean = bootstrap_interval(values, patients, n=300, seed=4), bootstrap_mean(values, patients, 300, 4)
    assert general.plain() == pytest.approx(mean.plain())
    assert mean == bootstrap_mean(values, patients, 300, 4)
    assert mean != bootstrap_mean(values, patients, 300, 5)


def test_ratio_is_taken_of_sums_and_not_averaged():
    estimate = bootstrap_ratio([1, 9], [1, 99], ["a", "b"], n=100)
    assert (estimate.value, estimate.n, estimate.patients) == (0.1, 100, 2)
    assert (estimate.low, estimate.high) == pytest.approx((9 / 99, 1.0))


def test_a_statistic_over_cases_can_be_an_area_under_a_curve():
    values, patients = clustered(2)
    truth = values > 0.6
    pairs = np.stack([truth, values], axis=1)
    estimate = bootstrap_interval(pairs, patients, lambda v, w: roc_auc(v[:, 0], v[:, 1], w), n=50)
    assert (estimate.value, estimate.low, estimate.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "patients", "n"), [([0.5, 0.7], ["a", "a"], 100), ([0.5, 0.7], ["a", "b"], 0), ([0.6], ["a"], 100)]
)
def test_one_patient_or_no_resamples_give_a_metric_without_an_interval(values, patients, n):
    estimate = bootstrap_mean(values, patients, n)
    assert estimate.value == pytest.approx(0.6)
    assert estimate.low is estimate.high is None
    assert bootstrap_interval(np.array(values), patients, n=n) == estimate


def test_no_case_that_counts_gives_no_metric():
    nothing = Estimate(None, None, None, 0, 0)
    assert bootstrap_mean([np.nan, np.nan], ["a", "b"]) == nothing
    assert bootstrap_mean([], []) == nothing
    assert bootstrap_interval(np.array([np.nan]), ["a"]) == nothing


def test_a_statistic_that_is_not_defined_gives_no_metric():
    values = np.stack([np.zeros(4), np.arange(4)], axis=1)
    estimate = bootstrap_interval(values, list("abcd"), lambda v, w: roc_auc(v[:, 0], v[:, 1], w), n=20)
    assert (estimate.value, estimate.low, estimate.n) == (None, None, 4)


def test_several_statistics_of_one_pass_are_those_taken_alone():
    values, patients = clustered()
    truth = values > 0.6

    def both(weights):
        return {
            "area": roc_auc(truth, values[::-1], weights),
            "means": np.stack([weights @ values, weights @ truth], 1),
            "second": weights @ truth,
        }

    found = resample(patients, both, n=100, seed=3)
    pairs = np.stack([truth, values[::-1]], axis=1)
    alone = bootstrap_interval(pairs, patients, lambda v, w: roc_auc(v[:, 0], v[:, 1], w), n=100, seed=3)
    assert found.estimate("area", len(values)) == alone
    low, high = found.band("means")
    second = found.estimate("second", len(values))
    assert (second.low, second.high) == (low[1], high[1])
    assert low[0] < found.point["means"][0] < high[0]


def test_weights_of_cases_count_beside_the_draws():
    values, patients, weights = np.array([1.0, 2.0, 3.0]), ["a", "b", "c"], [2.0, 0.0, 1.0]
    found = resample(patients, lambda w: {"mean": weighted_mean(values, w)}, 50, weights=weights)
    assert found.estimate("mean", 3).value == pytest.approx(5 / 3)


def test_a_band_without_resamples_is_not_defined():
    found = resample(["a", "b"], lambda w: {"sums": w}, 0)
    assert np.isnan(found.band("sums")).all()
