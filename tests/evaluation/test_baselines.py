import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from medloom.evaluation.labels import Binary, MultiClass, MultiLabel, Regression, summarise
from medloom.evaluation.labels.cheap import Features, class_scores, number_scores, thumbnail_features
from medloom.targets import Target

SPLIT = np.array(["train"] * 60 + ["validation"] * 20 + ["test"] * 20)
BINARY = Binary(Target("binary", ("normal", "pneumonia")))


def features(seed=0, width=4):
    values = np.random.default_rng(seed).normal(size=(len(SPLIT), width))
    return Features(values, SPLIT == "train", SPLIT == "validation")


def test_a_cheap_model_learns_what_is_to_be_learnt_and_not_from_the_test_truth():
    seen = features()
    truth = (seen.values[:, 0] > 0).astype(float)
    scores = class_scores(seen, truth, 2)
    test = SPLIT == "test"
    assert theirs.roc_auc_score(truth[test], scores[test, 1]) > 0.95
    assert scores.sum(axis=1) == pytest.approx(np.ones(len(SPLIT)))
    unseen = np.where(test, 1 - truth, truth)
    assert np.array_equal(class_scores(seen, unseen, 2), scores)


def test_a_cheap_model_of_numbers_predicts_in_their_unit():
    seen = features()
    truth = 50 + 10 * seen.values[:, 1]
    found = number_scores(seen, truth)
    assert theirs.r2_score(truth[SPLIT == "test"], found[SPLIT == "test"]) > 0.5


def test_what_is_not_known_is_left_out_and_too_little_gives_no_model():
    seen = features()
    truth = (seen.values[:, 0] > 0).astype(float)
    some = np.where(np.arange(len(truth)) % 3 == 0, np.nan, truth)
    changed = Features(np.where(np.isnan(some)[:, None], 1e3, seen.values), seen.train, seen.validation)
    known = ~np.isnan(some)
    assert np.array_equal(class_scores(changed, some, 2)[known], class_scores(seen, some, 2)[known])
    assert class_scores(seen, np.zeros(len(truth)), 2) is None
    assert number_scores(seen, np.full(len(truth), np.nan)) is None


def test_a_class_that_training_lacks_has_probability_zero():
    seen = features()
    truth = np.where(seen.values[:, 0] > 0, 2.0, 0.0)
    truth[-1] = 1.0
    scores = class_scores(seen, truth, 3)
    assert (scores[:, 1] == 0).all()
    assert scores.sum(axis=1) == pytest.approx(np.ones(len(SPLIT)))


@pytest.mark.parametrize(
    ("labels", "truth", "width"),
    [
        (BINARY, np.eye(2)[np.arange(100) % 2][:, :1], 1),
        (MultiClass(Target("multi-class", ("a", "b", "c"))), (np.arange(100.0) % 3)[:, None], 3),
        (MultiLabel(Target("multi-label", ("a", "b"))), np.eye(2)[np.arange(100) % 2], 2),
        (Regression(Target("regression", ("age", "dose"))), np.arange(200.0).reshape(100, 2), 2),
    ],
)
def test_every_kind_has_a_cheap_model(labels, truth, width):
    assert labels.cheap(features(), truth).shape == (100, width)


def test_thumbnails_are_means_of_fields_of_normalised_pixels():
    class Store:
        images = np.random.default_rng(0).integers(0, 255, (1, 2, 48, 32)).astype(np.uint8)
        offset, scale = np.array([[3.0, 5.0]], np.float32), np.array([[0.5, 0.25]], np.float32)

        def rows(self, samples):
            return np.zeros(len(samples), np.int64)

    table = pd.DataFrame({"sample_id": ["a"], "split": ["test"]})
    expected = Store.images.reshape(2, 16, 3, 16, 2).mean(axis=(2, 4))
    expected = (expected - np.array([3.0, 5.0])[:, None, None]) * np.array([0.5, 0.25])[:, None, None]
    assert thumbnail_features(table, Store()).values == pytest.approx(expected.reshape(1, -1))


def cases_beside(score, cheap, truth):
    table = pd.DataFrame(
        {
            "sample_id": [f"S{i}" for i in range(len(truth))],
            "patient_id": [f"P{i}" for i in range(len(truth))],
            "split": "test",
            "truth": truth,
            "score": score,
            "baseline_perceptron_score": cheap,
            "baseline_perceptron_decision": (cheap > 0.5).astype(int),
        }
    )
    return BINARY.decide(table, (0.5,))


def test_a_cheap_model_that_is_as_good_is_said_with_the_difference_over_the_same_patients():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 120)
    good, other = (np.clip(0.5 * truth + 0.6 * rng.random(120), 0, 1) for _ in range(2))
    noise = rng.random(120)
    found = summarise(cases_beside(good, other, truth), BINARY, 200)
    beside = found["baselines"]["perceptron"]
    ours, perceptron = theirs.roc_auc_score(truth, good), theirs.roc_auc_score(truth, other)
    assert beside["metrics"]["roc_auc"]["value"] == pytest.approx(perceptron)
    ahead = beside["ahead"]["roc_auc"]
    assert ahead["value"] == pytest.approx(ours - perceptron)
    assert ahead["low"] < ahead["value"] < ahead["high"]
    assert found["cautions"][0].startswith("The network is not clearly better than a cheap model: ROC AUC")
    better = summarise(cases_beside(good, noise, truth), BINARY, 200)
    assert better["cautions"] == []
    assert better["baselines"]["perceptron"]["ahead"]["roc_auc"]["low"] > 0
