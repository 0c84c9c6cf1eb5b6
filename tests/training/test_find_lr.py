"""The learning-rate range test: what it suggests, and that it leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medloom.training import suggest_rate, train, try_rates

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = np.geomspace(1e-7, 10, 120)


def valley(lowest: float) -> np.ndarray:
    """A loss that falls from a hundredth of a rate to that rate, and rises after it."""
    place = np.log10(RATES / lowest)
    return np.where(place < -2, 1.0, np.where(place < 0, 0.4 - 0.3 * place, 0.4 + 3 * place))


@pytest.mark.parametrize("lowest", [1e-3, 1e-2, 0.3])
def test_suggests_a_tenth_of_the_rate_with_the_lowest_loss(lowest):
    noise = np.random.default_rng(0).normal(0, 0.02, len(RATES))
    assert suggest_rate(RATES, valley(lowest) + noise) == pytest.approx(lowest / 10, rel=0.8)


def test_suggests_nothing_where_no_rate_helps():
    assert suggest_rate(RATES, np.full(120, 0.7) + np.linspace(0, 0.5, 120)) is None
    assert suggest_rate(RATES[:4], [0.7, 0.6, 0.5, 0.4]) is None


def test_a_network_learns_at_the_rate_that_is_suggested_and_the_run_stays_as_it_is(
    labelled, make_label_recipe, tmp_path
):
    recipe = make_label_recipe(epochs=3, optimizer={"lr": 1e-6})
    train(recipe, labelled.catalogue(), labelled.store, tmp_path / "before")
    files = {path: path.read_bytes() for path in (tmp_path / "before").rglob("*") if path.is_file()}
    found = try_rates(recipe, labelled.catalogue(), labelled.store)
    assert {path: path.read_bytes() for path in (tmp_path / "before").rglob("*") if path.is_file()} == files
    assert found == try_rates(recipe, labelled.catalogue(), labelled.store)
    assert len(found.rates) == len(found.losses) == len(found.smooth) <= 120
    assert found.rates == sorted(found.rates)
    assert 1e-5 < found.suggested < 0.1
    better = make_label_recipe(epochs=3, optimizer={"lr": found.suggested})
    train(better, labelled.catalogue(), labelled.store, tmp_path / "after")
    losses = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])["train_loss"]
        for name in ("before", "after")
    ]
    assert losses[1] < 0.8 * losses[0]
