"""The facts and the page of a study, and how much of a best score is luck."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from medloom.reports import write_tuning_report
from medloom.tuning import tune
from medloom.tuning.facts import price_facts
from medloom.tuning.luck import expected_best, luck_facts

SPACE = {
    "train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]},
    "train.batch_size": {"choices": [4, 8]},
    "train.optimizer.weight_decay": {"uniform": [0.0, 0.1]},
}


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_the_best_of_equally_good_settings_is_as_much_too_good_as_a_simulation_says(count):
    drawn = np.random.default_rng(0).normal(size=(200_000, count)).max(axis=1)
    assert expected_best(count) == pytest.approx(drawn.mean(), abs=0.01)


def test_the_excess_of_a_best_score_is_measured_in_the_direction_of_the_metric():
    larger = luck_facts(0.9, [0.8, 0.82, 0.84], 10, larger_is_better=True)
    smaller = luck_facts(0.1, [0.2, 0.18, 0.16], 10, larger_is_better=False)
    assert larger["excess"] == pytest.approx(0.08)
    assert smaller["excess"] == pytest.approx(0.08)
    assert larger["chance"] == pytest.approx(0.02 * expected_best(10))
    assert luck_facts(0.9, [0.8], 10, larger_is_better=True)["chance"] is None


def test_a_study_ends_with_its_facts_its_page_and_its_best_settings_measured_again(pictures, recipe_of, place):
    result = tune(recipe_of(SPACE), trials=6, confirm=2, data=pictures)
    facts = json.loads((result.folder / "tuning.json").read_text())
    assert facts == result.facts
    scores = [trial["score"] for trial in facts["trials"] if trial["score"] is not None]
    assert facts["best"]["score"] == min(scores)
    assert facts["luck"]["tried"] == len(scores)
    assert len(set(facts["luck"]["scores"])) == 2
    assert facts["importances"].keys() == SPACE.keys()
    assert sum(facts["importances"].values()) == pytest.approx(1, abs=1e-3)
    page = (result.folder / "tuning_report.html").read_text()
    assert not re.search(r"""src=["'](?!data:)""", page)
    assert not re.search(r"https?://", re.sub(r"data:[^\"]+", "", page))
    for text in ("train.optimizer.lr", f"{facts['best']['score']:.4f}", "2 other seeds", "No test patient took part"):
        assert text in page
    assert page.count('class="chart"') == 4 + len(SPACE)  # history, what matters, two together, all; each key
    again = tune(recipe_of(SPACE), trials=6, confirm=2, data=pictures)
    assert again.facts == result.facts
    for trial in facts["trials"][1:]:
        trial.update(score=None, state="failed", cause="out of memory")
    facts.update(importances={}, luck=None)
    (result.folder / "tuning.json").write_text(json.dumps(facts))
    assert "failed: out of memory" in write_tuning_report(result.folder).read_text()


def test_money_is_spoken_of_only_where_a_price_is_known(pictures, recipe_of, place):
    result = tune(recipe_of(SPACE, tune={"price_per_hour": "3.60 EUR"}), trials=1, data=pictures)
    price = result.facts["price"]
    assert price["total"] == pytest.approx(price["seconds"] / 1000, abs=1e-3)
    assert price["seconds"] <= result.facts["seconds"] + 1
    assert f"{price['total']:,.2f} EUR" in (result.folder / "tuning_report.html").read_text()
    assert price_facts(None, 100) is None
    assert price_facts("2", 1800) == {"per_hour": 2.0, "currency": "", "seconds": 1800, "total": 1.0}
    again = tune(recipe_of(SPACE), trials=1, data=pictures)
    assert again.facts["price"] is None
    assert "an hour" not in (result.folder / "tuning_report.html").read_text()
