"""What an external validation compares: metrics of different patients, probabilities, and where the heat lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from medloom.evaluation.elsewhere.compare import beside, difference, findings
from medloom.evaluation.elsewhere.heat import _right as right
from medloom.evaluation.elsewhere.heat import shares_of_heat
from medloom.evaluation.elsewhere.recalibration import recalibration_facts
from medloom.inference.calibration import logit_of
from medloom.targets import Target


def proportion(count, of):
    interval = binomtest(count, of).proportion_ci(method="wilson")
    return {"value": count / of, "low": interval.low, "high": interval.high}


def test_the_interval_of_a_difference_is_the_published_one():
    """Newcombe, Interval estimation for the difference between independent proportions (1998), table II, method 10."""
    for here, there, low, high in (((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)):
        found = difference(proportion(*here), proportion(*there))
        assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-4)


def test_only_what_is_worse_by_more_than_chance_is_said_and_lower_may_be_better():
    here = {"auc": {"value": 0.5, "low": 0.4, "high": 0.6}, "ece": {"value": 0.3, "low": 0.2, "high": 0.4}}
    there = {"auc": {"value": 0.9, "low": 0.85, "high": 0.95}, "ece": {"value": 0.1, "low": 0.05, "high": 0.15}}
    meanings = {"auc": {"label": "AUC", "better": "higher"}, "ece": {"label": "Error", "better": "lower"}}
    said = findings(beside(here, there), meanings, ("auc", "ece"))
    assert [text.split(" is ")[0] for text in said] == ["AUC", "Error"]
    assert findings(beside(there, here), meanings, ("auc", "ece")) == []
    near = {"auc": {"value": 0.85, "low": 0.7, "high": 0.95}}
    assert findings(beside(near, there), meanings, ("auc", "ece")) == []


def test_a_metric_that_one_of_the_two_lacks_has_no_difference():
    compared = beside({"a": {"value": None}, "b": {"value": 0.5, "low": None, "high": None}}, {"a": {"value": 1.0}})
    assert set(compared) == {"a"}
    assert compared["a"]["difference"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_slope_and_intercept_are_those_of_a_logistic_regression(turned):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 400)
    truth = (rng.random(400) < 1 / (1 + np.exp(-turned * (0.5 * logits - 1)))).astype(int)
    score = (1 / (1 + np.exp(-logits))).astype(np.float32)
    table = pd.DataFrame({"truth": truth, "score": score.astype(float), "decision": (score > 0.5).astype(int)})
    found = recalibration_facts(table, Target("binary", ("well", "ill")))["ill"]
    theirs = LogisticRegression(C=1e9).fit(logit_of(score)[:, None], truth)
    assert found["slope"] == pytest.approx(theirs.coef_[0, 0], abs=1e-3)
    assert found["intercept"] == pytest.approx(theirs.intercept_[0], abs=1e-3)
    assert (found["expected"], found["observed"]) == pytest.approx((score.mean(), truth.mean()))


def test_heat_is_divided_between_the_middle_and_the_edges_of_images_of_any_size():
    heat = np.zeros((7, 9))
    heat[3, 4] = 1.0
    assert shares_of_heat(heat) == pytest.approx((1.0, 0.0))
    corner = np.zeros((30, 20))
    corner[0, 0] = 1.0
    assert shares_of_heat(corner) == pytest.approx((0.0, 1.0))
    for shape in ((7, 7), (8, 13), (224, 224)):
        assert shares_of_heat(np.ones(shape)) == pytest.approx((0.25, 0.36))


def test_whether_an_answer_was_right_is_known_of_labels_of_any_name():
    table = pd.DataFrame(
        {"truth_decision_support": [1, 1, np.nan], "decision_decision_support": [1, 0, 1], "truth_x": [0, 0, 0],
         "decision_x": [0, 0, 1]}
    )  # fmt: skip
    assert right(table).tolist() == [True, False, False]
