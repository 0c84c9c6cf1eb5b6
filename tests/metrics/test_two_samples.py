import numpy as np
import pytest
from scipy import stats

from medloom.metrics import (
    alarm_threshold,
    bin_shares,
    energy_distance,
    energy_test,
    exceedance_p,
    homogeneity_p,
    population_stability_index,
)


def two(seed, first=40, second=25, shift=0.0, width=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(first, width)), rng.normal(shift, size=(second, width))


@pytest.mark.parametrize("seed", range(5))
def test_the_energy_distance_is_that_of_scipy_in_one_dimension(seed):
    first, second = two(seed, shift=0.5, width=1)
    expected = stats.energy_distance(first[:, 0], second[:, 0])
    assert energy_distance(first, second) == pytest.approx(expected)


def test_the_energy_distance_of_rows_is_that_of_its_formula():
    first, second = two(0, shift=0.7)

    def mean(one, other):
        return np.mean([np.linalg.norm(a - b) for a in one for b in other])

    expected = np.sqrt(2 * mean(first, second) - mean(first, first) - mean(second, second))
    assert energy_distance(first, second) == pytest.approx(expected)
    assert energy_test(first, second, resamples=9).value == pytest.approx(expected)


def test_the_energy_distance_of_a_sample_from_itself_is_none():
    first, _ = two(0)
    assert energy_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert energy_test(first, first, resamples=99).p == 1.0


def test_the_permutation_test_agrees_with_that_of_scipy():
    first, second = two(3, shift=0.45)

    rows = np.concatenate([first, second])

    def statistic(one, other):  # it permutes numbers, not rows
        return energy_distance(rows[one], rows[other])

    places = np.arange(len(rows))
    expected = stats.permutation_test(
        (places[: len(first)], places[len(first) :]),
        statistic,
        n_resamples=499,
        alternative="greater",
        rng=np.random.default_rng(1),
    )
    found = energy_test(first, second, resamples=1999)
    assert found.value == pytest.approx(float(expected.statistic))
    assert found.p == pytest.approx(float(expected.pvalue), abs=0.03)


def test_the_permutation_test_is_wrong_as_often_as_it_says():
    p = [energy_test(*two(seed, 20, 15), resamples=99, seed=seed).p for seed in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize("what", ["place", "spread"])
def test_another_place_or_spread_is_found(what):
    first, second = two(1, 60, 60)
    changed = second + 1.0 if what == "place" else 2.5 * second
    assert energy_test(first, changed).p == pytest.approx(0.001)


def test_the_same_samples_have_the_same_p_value_and_another_seed_hardly_another():
    first, second = two(5, shift=0.4)
    assert energy_test(first, second, seed=1) == energy_test(first, second, seed=1)
    assert energy_test(first, second, seed=1).p == pytest.approx(energy_test(first, second, seed=2).p, abs=0.05)


def test_shares_of_bins_count_a_value_on_an_edge_above_it():
    assert bin_shares([0.0, 1.0, 1.5, 9.0], [1.0, 2.0]).tolist() == [0.25, 0.5, 0.25]


def test_the_stability_index_is_the_symmetric_divergence():
    before, after = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.35, 0.25])
    expected = stats.entropy(after, before) + stats.entropy(before, after)
    assert population_stability_index(before, after) == pytest.approx(expected)
    assert np.isfinite(population_stability_index([0.5, 0.5], [1.0, 0.0]))


def test_the_stability_index_without_a_change_is_as_large_as_its_docstring_says():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        before, after = rng.normal(size=500), rng.normal(size=200)
        edges = np.quantile(before, np.linspace(0.1, 0.9, 9))
        found.append(population_stability_index(bin_shares(before, edges), bin_shares(after, edges)))
    assert np.mean(found) == pytest.approx(9 * (1 / 500 + 1 / 200), rel=0.15)


def test_the_test_of_bins_is_that_of_scipy():
    before, after = np.array([20, 50, 30]), np.array([30, 20, 10])
    expected = stats.chi2_contingency(np.stack([before, after]), correction=False).pvalue
    assert homogeneity_p(before / 100, after / 60, 100, 60) == pytest.approx(expected)
    assert homogeneity_p([1.0], [1.0], 10, 10) == 1.0
    assert homogeneity_p([1.0, 0.0], [1.0, 0.0], 10, 10) == 1.0


def test_the_test_of_bins_is_wrong_as_often_as_it_says_with_edges_from_the_reference():
    rng, wrong = np.random.default_rng(0), []
    for _ in range(2000):
        before, after = rng.normal(size=200), rng.normal(size=150)
        edges = np.quantile(before, np.linspace(0.1, 0.9, 9))
        wrong.append(homogeneity_p(bin_shares(before, edges), bin_shares(after, edges), 200, 150) <= 0.05)
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("count", "rate"), [(30, 0.01), (99, 0.01), (200, 0.01), (250, 0.05)])
def test_the_next_value_is_set_apart_as_often_as_the_threshold_says(count, rate):
    rng = np.random.default_rng(0)
    above, said = [], 0.0
    for _ in range(8000):
        scores = rng.exponential(size=count + 1)
        threshold, said = alarm_threshold(scores[:-1], rate)
        above.append(scores[-1] > threshold)
    assert said <= max(rate, 1 / (count + 1)) + 1e-12
    assert np.mean(above) == pytest.approx(said, abs=4 * np.sqrt(said / 8000))


@pytest.mark.parametrize(("flagged", "values", "rate"), [(0, 10, 0.01), (1, 10, 0.01), (7, 50, 0.1), (10, 10, 0.3)])
def test_too_many_set_apart_are_as_unlikely_as_scipy_says(flagged, values, rate):
    expected = stats.binomtest(flagged, values, rate, alternative="greater").pvalue
    assert exceedance_p(flagged, values, rate) == pytest.approx(expected)
