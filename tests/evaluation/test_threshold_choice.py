import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from medloom.evaluation.labels import Binary, MultiClass, MultiLabel, Rule, choose_threshold
from medloom.recipe.kinds.labels import ClassesEvaluate
from medloom.targets import Target


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
    sensitivity, specificity = rates(truth, score, choose_threshold(truth, score, Rule()))
    assert sensitivity + specificity - 1 == pytest.approx((true - false).max())


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 1.0])
def test_a_fixed_sensitivity_is_reached_with_the_highest_specificity(wanted):
    truth, score = scores()
    rule = Rule("sensitivity", min_sensitivity=wanted)
    sensitivity, specificity = rates(truth, score, choose_threshold(truth, score, rule))
    false, true, _ = roc_curve(truth, score, drop_intermediate=False)
    assert sensitivity >= wanted
    assert specificity == pytest.approx(1 - false[true >= wanted].min())


@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 7.0, 1000.0])
def test_cost_is_the_least_of_all_thresholds(ratio):
    truth, score = scores()

    def cost(threshold):
        called = score >= threshold
        return ratio * (~called)[truth == 1].sum() + called[truth == 0].sum()

    chosen = choose_threshold(truth, score, Rule("cost", cost_ratio=ratio))
    assert cost(chosen) == pytest.approx(min(cost(t) for t in np.linspace(0, 1.001, 1002)))


def test_the_threshold_lies_half_way_between_scores_and_is_a_short_number():
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], Rule()) == 0.4
    score = np.array([0.1, 0.2, 1 / 3, 0.9], np.float32)
    assert choose_threshold([0, 0, 1, 1], score, Rule()) == 0.27


def test_of_equally_good_thresholds_the_lowest_is_taken():
    truth, score = [0, 1, 0, 1], [0.1, 0.3, 0.5, 0.7]  # calling two or one: the same sum
    assert choose_threshold(truth, score, Rule()) == 0.2


def test_neighbouring_floating_point_numbers_are_still_told_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    threshold = choose_threshold([0, 1], [low, high], Rule())
    assert low < threshold <= high


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_only_leaves_nothing_to_choose(truth):
    assert choose_threshold(truth, [0.1, 0.2, 0.3][: len(truth)], Rule()) == 0.5


def test_calling_nobody_is_possible_where_misses_cost_little():
    threshold = choose_threshold([1, 0, 0], [0.6, 0.7, 0.8], Rule("cost", cost_ratio=0.1))
    assert threshold > 0.8


def test_every_label_has_its_own_threshold_and_a_label_without_positives_is_named():
    rng = np.random.default_rng(3)
    truth, score = scores(100)
    cases = pd.DataFrame({"truth_0": truth, "truth_1": 0, "score_0": score, "score_1": rng.random(100)})
    labels = MultiLabel(Target("multi-label", ("effusion", "mass")))
    choice = labels.choose_by(cases, ClassesEvaluate())
    assert choice.point["thresholds"] == [choose_threshold(truth, score, Rule()), 0.5]
    assert len(choice.notes) == 1
    assert "mass" in choice.notes[0]
    decided = labels.decide(cases, choice.point["thresholds"])
    assert (decided["decision_0"] == (score >= choice.point["thresholds"][0])).all()


def test_a_threshold_of_the_recipe_is_taken_as_it_is():
    cases = pd.DataFrame({"truth": [0, 1], "score": [0.2, 0.3]})
    choice = Binary(Target("binary", ("well", "ill"))).choose_by(cases, ClassesEvaluate(threshold=0.25))
    assert choice.point == {"thresholds": [0.25]}
    assert choice.text == "ill from probability 0.25 on: fixed in the recipe: threshold."


def test_of_several_classes_the_first_of_the_most_probable_is_decided_for():
    cases = pd.DataFrame({"truth": [0, 1], "score_0": [0.4, 0.1], "score_1": [0.4, 0.2], "score_2": [0.2, 0.7]})
    labels = MultiClass(Target("multi-class", ("a", "b", "c")))
    assert labels.chosen((), labels.rule).text.startswith("Decided by the most probable class")
    assert labels.decide(cases, ())["decision"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("config", "which"),
    [
        (ClassesEvaluate(rule="sensitivity", min_sensitivity=1.0), "every"),
        (ClassesEvaluate(rule="cost", cost_ratio=0.01), "no"),
    ],
)
def test_a_rule_that_calls_all_or_nobody_says_so(config, which):
    cases = pd.DataFrame({"truth": [1, 0, 0, 1, 0, 0] * 3, "score": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6] * 3})
    labels = Binary(Target("binary", ("healthy", "ill")))
    choice = labels.choose_by(cases, config)
    (note,) = choice.notes
    assert f"ill: by this rule {which} validation case is called positive" in note
    assert labels.decide(cases, choice.point["thresholds"])["decision"].nunique() == 1
    assert labels.choose_by(cases.assign(truth=[0, 0, 0, 1, 1, 1] * 3), config).notes == ()


def test_a_threshold_that_was_chosen_with_few_cases_of_a_class_says_so():
    labels = Binary(Target("binary", ("healthy", "ill")))
    cases = pd.DataFrame({"truth": [0] * 20 + [1], "score": np.linspace(0.0, 1.0, 21)})
    (note,) = labels.choose_by(cases, ClassesEvaluate()).notes
    assert note == "ill: the threshold was chosen with 1 positive validation case, which may be chance"
    (note,) = labels.choose_by(cases.assign(truth=[0, 0] + [1] * 19), ClassesEvaluate()).notes
    assert "2 negative validation cases" in note
