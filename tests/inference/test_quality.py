"""How sure answers are, and what is expected of them."""

import json
import math

import numpy as np
import pytest

from medloom.inference import LabelPoint, MaskPoint
from medloom.inference.answers import KINDS
from medloom.inference.answers.certainty import OF_MASKS, OF_TWO
from medloom.inference.quality import Quality

QUALITY = Quality("dice", OF_MASKS, (0.0, 0.0, 4.0, -2.0, -1.0), -2.2, 0.6, 0.1)


def of_mask(p, threshold=0.5, smallest=0):
    return dict(
        zip(OF_MASKS, KINDS["masks"].certainty(p[None].astype(np.float32), MaskPoint(threshold, smallest)), strict=True)
    )


def test_a_mask_without_doubt_overlaps_wholly_and_misses_nothing():
    p = np.zeros((16, 16))
    p[4:8, 4:8] = 1.0
    assert of_mask(p) == {
        "size": math.log(17) / math.log(257),
        "empty": 0.0,
        "overlap": 1.0,
        "missed": 0.0,
        "doubt": 0.0,
    }


def test_what_is_likely_outside_the_mask_counts_as_missed_and_as_doubt():
    p = np.zeros((16, 16))
    p[4:8, 4:8], p[12, 12] = 1.0, 0.4
    found = of_mask(p)
    assert found["missed"] == pytest.approx(0.4)
    assert found["overlap"] == pytest.approx(2 * 16 / (16 + 16.4))
    bits = -(0.4 * math.log2(0.4) + 0.6 * math.log2(0.6))
    assert found["doubt"] == pytest.approx(math.log1p(bits / (16 + 16.4 + 1)), rel=1e-6)


def test_an_erased_region_makes_the_mask_empty_and_is_what_was_missed():
    p = np.zeros((16, 16))
    p[3, 3] = 0.9
    found = of_mask(p, smallest=4)
    assert (found["empty"], found["size"], found["overlap"]) == (1.0, 0.0, 0.0)
    assert found["missed"] == pytest.approx(0.9)


@pytest.mark.parametrize("score", [0.1, 0.39, 0.41, 0.99, 0.0, 1.0])
def test_one_of_two_classes_is_the_surer_the_farther_from_the_threshold(score):
    found = dict(zip(OF_TWO, KINDS["binary"].certainty(np.array([score], np.float32), LabelPoint((0.4,))), strict=True))
    assert found["positive"] == float(score >= 0.4)
    if 0 < score < 1:
        odds = math.log(score / (1 - score)) - math.log(0.4 / 0.6)
        assert found["margin"] == pytest.approx(abs(odds), abs=1e-4)
    else:
        assert 15 < found["margin"] <= 20


def test_several_classes_and_labels_say_how_sure_they_are():
    margin, entropy = KINDS["multi-class"].certainty(np.array([0.2, 0.7, 0.1], np.float32), LabelPoint())
    assert margin == pytest.approx(math.log(3.5), abs=1e-5)
    assert entropy == pytest.approx(-sum(p * math.log(p) for p in (0.2, 0.7, 0.1)) / math.log(3), abs=1e-5)
    nearest, doubt = KINDS["multi-label"].certainty(np.array([0.5, 0.9], np.float32), LabelPoint((0.6, 0.1)))
    assert nearest == pytest.approx(math.log(1.5), abs=1e-5)
    assert 0.5 < doubt < 1.0
    assert KINDS["regression"].certainty(np.array([3.0], np.float32), LabelPoint()) == ()


def test_a_predictor_says_what_it_expects_of_each_mask(make_predictor):
    sure, unsure = np.zeros((32, 32, 3), np.float32), np.zeros((32, 32, 3), np.float32)
    sure[8:20, 8:20, 2], unsure[8:20, 8:20, 2] = 1.0, 0.55
    predictor = make_predictor(quality=QUALITY)
    first, second = predictor.predict_batch([sure, unsure], on_error="raise")
    assert first.quality.expected > second.quality.expected
    assert (first.quality.review, second.quality.review) == (False, True)
    assert first.plain()["quality"] == {"dice": first.quality.expected, "review": False}
    assert json.loads(second.encode())["quality"]["review"] is True


def test_a_predictor_without_it_says_nothing(make_predictor):
    prediction = make_predictor().predict(np.zeros((32, 32, 3), np.float32))
    assert prediction.quality is None
    assert "quality" not in prediction.plain()


def test_it_survives_its_plain_form_and_is_strict_about_it():
    assert Quality.from_plain(json.loads(json.dumps(QUALITY.plain()))) == QUALITY
    for change in ({"weights": [1.0]}, {"share": 0.0}, {"shift": "much"}, {"more": 1}):
        with pytest.raises(ValueError, match="quality"):
            Quality.from_plain({**QUALITY.plain(), **change})


def test_the_mean_of_several_is_taken_before_the_logistic_function():
    other = Quality("dice", OF_MASKS, (1.0, 0.0, 0.0, 0.0, 0.0), -0.5, 0.4, 0.1)
    mean = Quality.mean([QUALITY, other])
    assert mean.weights == (0.5, 0.0, 2.0, -1.0, -0.5)
    assert (mean.shift, mean.review_below) == (pytest.approx(-1.35), 0.5)
    assert Quality.mean([QUALITY, None]) is None
    assert Quality.mean([]) is None
