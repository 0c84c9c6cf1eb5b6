"""What trainings on growing shares say of more patients, and when they cannot say it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medloom.evaluation import KINDS, Point, curve_facts
from medloom.targets import Target

SIZES = (10, 25, 50, 100)


def points(errors, repeats=1, patients=120, noise=0.02):
    """Trainings whose mean error over the same patients is what is wanted, but for some noise of each."""
    rng = np.random.default_rng(0)
    truth, shape = rng.normal(50, 10, patients), np.abs(rng.normal(1, 0.15, patients))
    found = []
    for size, error in zip(SIZES, errors, strict=False):
        for repeat in range(repeats):
            off = error * shape / shape.mean() * (1 + noise * rng.normal())
            cases = pd.DataFrame(
                {
                    "sample_id": [f"s{number:03d}" for number in range(patients)],
                    "patient_id": [f"p{number:03d}" for number in range(patients)],
                    "split": "test",
                    "truth_0": truth,
                    "score_0": truth + off * rng.choice([-1, 1], patients),
                }
            )
            found.append(Point(size / 100, repeat, size, 3 * size, cases.sample(frac=1, random_state=repeat)))
    return found


def facts_of(errors, resamples=300, **settings):
    family = KINDS["regression"](Target("regression", ("age",)))
    return curve_facts(family, points(errors, **settings), resamples, "patients")


def law(n):
    return 2 + 30 * n**-0.7


def test_what_twice_as_many_patients_would_bring_is_what_the_law_says_with_an_interval():
    facts = facts_of([law(size) for size in SIZES], repeats=3, noise=0.005)
    found = facts["metrics"]["mae"]
    assert found["doubled"]["value"] == pytest.approx(law(200), rel=0.05)
    assert found["doubled"]["low"] < law(200) < found["doubled"]["high"]
    assert found["doubled"]["change"]["value"] == pytest.approx(law(200) - law(100), rel=0.2)
    assert "Twice as many patients (200) would bring" in found["text"]
    assert found["points"][0]["spread"]["n"] == 3
    assert [size["patients"] for size in facts["sizes"]] == list(SIZES)
    assert found["rise"]["high"] < 0
    assert found["curve"]["sizes"][-1] == 200
    assert "Further than that it says nothing" in found["text"]


def test_a_metric_that_does_not_get_better_is_not_extrapolated():
    found = facts_of([4.6, 5.0, 4.9, 5.05], repeats=3, noise=0.05)["metrics"]["mae"]
    assert "cannot be said: from 10 to 100 patients it did not get better by more than chance" in found["text"]


def test_trainings_that_vary_more_than_the_last_step_gains_say_so():
    found = facts_of([12.0, 6.0, 5.0, 4.95], repeats=4, noise=0.2)["metrics"]["mae"]
    assert found["doubled"]["change"]["low"] < 0 < found["doubled"]["change"]["high"] or "about" in found["text"]


def test_three_sizes_are_too_few_and_no_resamples_are_no_interval():
    few = facts_of([law(size) for size in SIZES[:3]])["metrics"]["mae"]
    assert few["fit"] is None
    assert "a law of three parameters is not told from 3 sizes; take 4 shares or more" in few["text"]
    without = facts_of([law(size) for size in SIZES], resamples=0)["metrics"]["mae"]
    assert without["doubled"]["low"] is None
    assert "there are no intervals" in without["text"]


def test_the_points_are_the_metrics_of_the_trainings_whatever_the_order_of_their_cases():
    made = points([law(size) for size in SIZES])
    family = KINDS["regression"](Target("regression", ("age",)))
    found = curve_facts(family, made, 50, "patients")["metrics"]["mae"]["points"]
    expected = [np.abs(one.cases["truth_0"] - one.cases["score_0"]).mean() for one in made]
    assert [one["value"] for one in found] == pytest.approx(expected)


def test_no_interval_leaves_what_the_metric_can_be():
    found = facts_of([60.0, 2.0, 1.0, 0.5], repeats=2, noise=1.5, patients=20)
    for name, one in found["metrics"].items():
        for point in one["points"]:
            assert point["high"] <= (1.0 if name in ("r2", "spearman") else np.inf)
            assert point["low"] >= (0.0 if name in ("mae", "rmse") else -np.inf)
