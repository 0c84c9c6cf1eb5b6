import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from medloom.evaluation.classification import TargetInfo, choose_threshold, choose_thresholds, decide
from medloom.recipe import EvaluateConfig


def scores(n=300, seed=0, decimals=2):
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(int)
    return truth, np.clip(0.25 * truth + 0.75 * rng.random(n), 0, 1).round(decimals)


def rates(truth, score, threshold):
    called = score >= threshold
    return called[truth == 1].mean(), (~called)[truth == 0].mean()


@pytest.mark.parametrize("seed", range(5))
def test_youden_reaches_the_best_sum_on_the_roc_curve(seed):
    truth, score = scores(seed=seed)
    false, true, _ = roc_curve(truth, score)
    sensitivity, specificity = rates(truth, score, choose_threshold(truth, score, EvaluateConfig()))
    assert sensitivity + specificity - 1 == pytest.approx((true - false).max())


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 1.0])
def test_a_fixed_sensitivity_is_reached_with_the_highest_specificity(wanted):
    truth, score = scores()
    config = EvaluateConfig(rule="sensitivity", min_sensitivity=wanted)
    sensitivity, specificity = rates(truth, score, choose_threshold(truth, score, config))
    false, true, _ = roc_curve(truth, score, drop_intermediate=False)
    assert sensitivity >= wanted
    assert specificity == pytest.approx(1 - false[true >= wanted].min())


@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 7.0, 1000.0])
def test_cost_is_the_least_of_all_thresholds(ratio):
    truth, score = scores()

    def cost(threshold):
        called = score >= threshold
        return ratio * (~called)[truth == 1].sum() + called[truth == 0].sum()

    chosen = choose_threshold(truth, score, EvaluateConfig(rule="cost", cost_ratio=ratio))
    assert cost(chosen) == pytest.approx(min(cost(t) for t in np.linspace(0, 1.001, 1002)))


def test_the_threshold_lies_half_way_between_scores_and_is_a_short_number():
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], EvaluateConfig()) == 0.4
    score = np.array([0.1, 0.2, 1 / 3, 0.9], np.float32)
    assert choose_threshold([0, 0, 1, 1], score, EvaluateConfig()) == 0.27


def test_of_equally_good_thresholds_the_lowest_is_taken():
    truth, score = [0, 1, 0, 1], [0.1, 0.3, 0.5, 0.7]  # calling two or one: the same sum
    assert choose_threshold(truth, score, EvaluateConfig()) == 0.2


def test_neighbouring_floating_point_numbers_are_still_told_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    threshold = choose_threshold([0, 1], [low, high], EvaluateConfig())
    assert low < threshold <= high


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_only_leaves_nothing_to_choose(truth):
    assert choose_threshold(truth, [0.1, 0.2, 0.3][: len(truth)], EvaluateConfig()) == 0.5


def test_calling_nobody_is_possible_where_misses_cost_little():
    threshold = choose_threshold([1, 0, 0], [0.6, 0.7, 0.8], EvaluateConfig(rule="cost", cost_ratio=0.1))
    assert threshold > 0.8


def test_every_label_has_its_own_threshold_and_a_label_without_positives_is_named():
    rng = np.random.default_rng(3)
    truth, score = scores(100)
    cases = pd.DataFrame({"truth_0": truth, "truth_1": 0, "score_0": score, "score_1": rng.random(100)})
    target = TargetInfo("multi-label", ("effusion", "mass"))
    choice = choose_thresholds(cases, target, EvaluateConfig())
    assert choice.thresholds == (choose_threshold(truth, score, EvaluateConfig()), 0.5)
    assert len(choice.notes) == 1
    assert "mass" in choice.notes[0]
    decided = decide(cases, target, choice.thresholds)
    assert (decided["decision_0"] == (score >= choice.thresholds[0])).all()


def test_a_threshold_of_the_recipe_is_taken_as_it_is():
    cases = pd.DataFrame({"truth": [0, 1], "score": [0.2, 0.3]})
    target = TargetInfo("binary", ("well", "ill"))
    assert choose_thresholds(cases, target, EvaluateConfig(threshold=0.25)).thresholds == (0.25,)


def test_of_several_classes_the_first_of_the_most_probable_is_decided_for():
    cases = pd.DataFrame({"truth": [0, 1], "score_0": [0.4, 0.1], "score_1": [0.4, 0.2], "score_2": [0.2, 0.7]})
    target = TargetInfo("multi-class", ("a", "b", "c"))
    assert choose_thresholds(cases, target, EvaluateConfig()).thresholds == ()
    assert decide(cases, target, ())["decision"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("config", "which"),
    [
        (EvaluateConfig(rule="sensitivity", min_sensitivity=1.0), "every"),
        (EvaluateConfig(rule="cost", cost_ratio=0.01), "no"),
    ],
)
def test_a_rule_that_calls_all_or_nobody_says_so(config, which):
    cases = pd.DataFrame({"truth": [1, 0, 0, 1, 0, 0], "score": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
    choice = choose_thresholds(cases, TargetInfo("binary", ("healthy", "ill")), config)
    (note,) = choice.notes
    assert f"ill: by this rule {which} validation case is called positive" in note
    called = decide(
        cases.assign(sample_id="a", patient_id="a"), TargetInfo("binary", ("healthy", "ill")), choice.thresholds
    )
    assert called["decision"].nunique() == 1
    assert (
        choose_thresholds(cases.assign(truth=[0, 0, 0, 1, 1, 1]), TargetInfo("binary", ("a", "b")), config).notes == ()
    )
