import pytest
from scipy import special

from medloom.metrics.tails import binomial_above, chi_square_above, share_with_tail


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 63])
def test_the_tail_of_chi_squared_is_that_of_scipy(degrees):
    for value in (0.0, 1e-9, 0.1, 1.0, 3.84, 17.0, 200.0, 5000.0):
        assert chi_square_above(value, degrees) == pytest.approx(special.chdtrc(degrees, value), rel=1e-10)


@pytest.mark.parametrize("trials", [1, 2, 10, 201, 100_000])
def test_the_tail_of_the_binomial_is_that_of_scipy(trials):
    for chance in (0.001, 0.05, 0.5, 0.93):
        for count in sorted({0, 1, trials // 20, trials // 2, trials - 1} & set(range(trials))):
            expected = special.bdtrc(count, trials, chance)
            assert binomial_above(count, trials, chance) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_certain_and_impossible_trials_have_no_tail_to_sum():
    assert [binomial_above(2, 5, chance) for chance in (0.0, 1.0)] == [0.0, 1.0]
    assert [binomial_above(count, 5, 0.5) for count in (-1, 5)] == [1.0, 0.0]


@pytest.mark.parametrize("trials", [1, 7, 200, 20_000])
def test_the_share_with_a_tail_is_the_quantile_of_scipys_beta(trials):
    for count in sorted({0, trials // 3, trials - 1}):
        for tail in (0.025, 0.975):
            expected = special.betaincinv(count + 1, trials - count, tail)
            assert share_with_tail(count, trials, tail) == pytest.approx(expected, rel=1e-9)
