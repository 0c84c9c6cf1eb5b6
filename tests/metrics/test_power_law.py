"""The law by which a metric goes on with more patients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from medloom.metrics import fit_power_law, fit_power_laws

SIZES = np.array([12.0, 25, 50, 100, 200])


def law(n, limit, amount, rate):
    return limit + amount * n**-rate


@pytest.mark.parametrize(("limit", "amount", "rate"), [(0.9, -1.2, 0.6), (0.2, 3.0, 1.1), (0.99, -0.4, 0.3)])
def test_it_is_the_fit_of_scipy(limit, amount, rate):
    values = law(SIZES, limit, amount, rate) + np.random.default_rng(0).normal(0, 0.002, len(SIZES))
    found = fit_power_law(SIZES, values)
    theirs, _ = curve_fit(law, SIZES, values, p0=(limit, amount, rate), maxfev=20_000)
    np.testing.assert_allclose([found.limit, found.amount, found.rate], theirs, rtol=2e-3)
    errors = [np.square(law(SIZES, *one) - values).sum() for one in (theirs, (found.limit, found.amount, found.rate))]
    assert errors[1] <= errors[0] * (1 + 1e-6)


def test_the_limit_stays_where_the_metric_can_be():
    values = law(SIZES, 1.1, -1.5, 0.4)
    assert fit_power_law(SIZES, values).limit > 1
    bounded = fit_power_law(SIZES, values, (-np.inf, 1.0))
    assert bounded.limit <= 1
    assert np.abs(bounded.at(SIZES) - values).max() < 0.03


def test_many_draws_are_fitted_as_each_by_itself():
    rng = np.random.default_rng(1)
    values = law(SIZES, 0.9, -1.0, 0.5) + rng.normal(0, 0.01, (40, len(SIZES)))
    found = fit_power_laws(SIZES, values, [200, 400])
    alone = np.array([fit_power_law(SIZES, one).at([200, 400]) for one in values])
    np.testing.assert_allclose(found, alone, atol=2e-3)
    assert np.percentile(found[:, 1], 2.5) < law(400, 0.9, -1.0, 0.5) < np.percentile(found[:, 1], 97.5)


def test_three_points_are_no_law():
    with pytest.raises(ValueError, match="at least 4 different sizes; got 3"):
        fit_power_law([1, 2, 3, 3], [0, 1, 2, 3])
