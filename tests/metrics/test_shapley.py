import itertools

import numpy as np
import pytest
import torch

from medloom.metrics import shapley_values


def game(players, seed=0):
    """A value for every coalition, drawn at random."""
    values = np.random.default_rng(seed).normal(size=2**players)

    def value(told):
        return values[told @ (1 << np.arange(players))]

    return value


def by_all_orders(value, players):
    found = np.zeros(players)
    orders = list(itertools.permutations(range(players)))
    for order in orders:
        told = np.zeros(players, bool)
        for player in order:
            before = value(told[None])[0]
            told[player] = True
            found[player] += value(told[None])[0] - before
    return found / len(orders)


@pytest.mark.parametrize("players", [1, 2, 3, 5])
def test_they_are_the_means_over_all_orders(players):
    value = game(players)
    found, exact = shapley_values(value, players)
    assert exact
    np.testing.assert_allclose(found, by_all_orders(value, players), atol=1e-12)


@pytest.mark.parametrize("most", [8, 60, 4000])
def test_they_add_up_also_where_orders_are_drawn(most):
    players = 7
    value = game(players, 1)
    found, exact = shapley_values(value, players, most=most)
    assert exact == (most >= 2**players)
    ends = value(np.array([[False] * players, [True] * players]))
    assert found.sum() == pytest.approx(ends[1] - ends[0])


def test_more_orders_come_nearer():
    players = 6
    value = game(players, 2)
    exact = by_all_orders(value, players)
    errors = [np.abs(shapley_values(value, players, most=most)[0] - exact).max() for most in (15, 60)]
    assert errors[1] < errors[0]
    assert np.abs(shapley_values(value, players, most=63)[0] - exact).max() < 1.0


def test_captum_gives_the_same():
    from captum import attr as captum

    weights = torch.tensor([1.0, -2.0, 0.5, 3.0])

    def forward(rows):
        return torch.tanh(rows @ weights) + rows[:, 0] * rows[:, 3]

    own, baseline = torch.tensor([[1.0, 0.5, -1.0, 0.25]]), torch.tensor([[0.0, 1.0, 0.0, 0.5]])
    expected = captum.ShapleyValues(forward).attribute(own, baselines=baseline)[0]

    def value(told):
        mixed = torch.where(torch.from_numpy(told), own, baseline)
        return forward(mixed).double().numpy()

    found, _ = shapley_values(value, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nobody_adds_nothing():
    found, exact = shapley_values(lambda told: np.ones(len(told)), 0)
    assert found.shape == (0,)
    assert exact
