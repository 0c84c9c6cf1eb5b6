"""How far apart trainings with several seeds are, and which one is taken."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.evaluation.seeds import best_seed, seed_facts, seeds_note, spread, spread_rows
from medloom.reports.seeds import seed_words

MEANINGS = {"auc": {"label": "ROC AUC", "unit": "share", "better": "higher", "meaning": ""}}


def test_the_spread_is_that_of_numpy():
    values = np.random.default_rng(0).normal(size=7).tolist()
    found = spread(values)
    assert (found["mean"], found["deviation"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert (found["min"], found["max"], found["n"]) == (min(values), max(values), 7)
    assert spread([0.5])["deviation"] is None


@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [("auc", [0.7, 0.9, 0.9], 1), ("loss", [0.7, 0.9, 0.6], 2), ("auc", [None, 0.1, 0.2], 2)],
)
def test_the_seed_that_is_best_on_validation_is_taken_in_the_direction_of_its_metric(monitor, values, best):
    trained = {seed: {"monitor": monitor, "best_metric": value} for seed, value in enumerate(values)}
    assert best_seed(trained) == best


def test_the_best_on_test_is_not_taken_for_that():
    """The seed with the best test metric is the worst on validation."""
    trained = {seed: {"monitor": "auc", "best_metric": value} for seed, value in ((0, 0.6), (1, 0.9))}
    summaries = {
        seed: {"part": "test", "operating_point": {}, "test": {"metrics": {"auc": {"value": value, "n": 5}}}}
        for seed, value in ((0, 0.99), (1, 0.5))
    }
    summaries[0]["test"]["metrics"]["ece"] = {"value": None, "n": 0}
    facts = seed_facts(summaries, trained)
    assert facts["chosen"] == 1
    assert facts["spread"].keys() == {"auc"}
    summary = {**summaries[1], "seeds": facts, "headlines": ["auc"], "meanings": MEANINGS}
    assert "seed 1 is packaged: its auc on the validation patients is the best (0.9000" in seeds_note(summary)
    assert "No metric on test" in seeds_note(summary)
    assert spread_rows(summary)[1] == ("ROC AUC", "0.745", "0.346", "0.500 to 0.990")
    assert seed_words(summary) == [
        "Trained 2 times with nothing changed but the seed, ROC AUC was 0.500 to 0.990, 0.745 on average: that is "
        "chance of the training, and no part of the interval in brackets."
    ]
    assert (seeds_note({}), spread_rows({}), seed_words({})) == ("", [], [])


def test_of_equal_seeds_it_is_said_that_the_first_is_taken():
    trained = {seed: {"monitor": "auc", "best_metric": 0.5} for seed in (0, 1)}
    one = {"part": "test", "operating_point": {}, "test": {"metrics": {"auc": {"value": 0.5, "n": 5}}}}
    note = seeds_note({**one, "seeds": seed_facts({0: one, 1: one}, trained)})
    assert "the others have 0.5000 to 0.5000, and of equal ones the first is taken" in note
