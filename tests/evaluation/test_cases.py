import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from medloom.evaluation.masks import CASE_COLUMNS, Case, evaluate_cases
from medloom.metrics import hausdorff95

BINARY = ("background", "lesion")


def case(truth, predicted, probabilities=None, **kwargs):
    truth, predicted = np.asarray(truth, np.uint8), np.asarray(predicted, np.uint8)
    shown = predicted[None].astype(np.float32) if probabilities is None else np.asarray(probabilities, np.float32)
    return Case("P001-001", "P001", "test", truth, predicted, shown, **kwargs)


def only_row(one, classes=BINARY):
    return evaluate_cases([one], classes).iloc[0]


def test_a_row_agrees_with_scikit_learn_and_the_metrics():
    rng = np.random.default_rng(0)
    truth, predicted = (rng.random((20, 24)) < 0.4 for _ in range(2))
    row = only_row(case(truth, predicted))
    assert row["dice"] == pytest.approx(f1_score(truth.ravel(), predicted.ravel()))
    assert row["iou"] == pytest.approx(jaccard_score(truth.ravel(), predicted.ravel()))
    assert row["hd95"] == hausdorff95(truth, predicted)
    assert (row["truth_px"], row["predicted_px"]) == (truth.sum(), predicted.sum())
    assert (row["overlap_px"], row["pixels"], row["hd95_unit"]) == ((truth & predicted).sum(), 480, "px")


def test_empty_left_empty_is_perfect_and_no_false_positive():
    row = only_row(case(np.zeros((4, 4)), np.zeros((4, 4))))
    assert (row["dice"], row["iou"], row["false_positive"]) == (1.0, 1.0, 0.0)
    assert math.isnan(row["hd95"])


def test_a_prediction_on_an_empty_image_is_a_false_positive():
    row = only_row(case(np.zeros((4, 4)), np.eye(4)))
    assert (row["dice"], row["false_positive"], row["regions_false"]) == (0.0, 1.0, 1)
    assert math.isnan(row["hd95"])


def test_a_missed_region_counts_zero_and_is_no_false_positive():
    row = only_row(case(np.eye(4), np.zeros((4, 4))))
    assert (row["dice"], row["regions"], row["regions_found"]) == (0.0, 1, 0)
    assert math.isnan(row["false_positive"])


def test_known_pixel_size_gives_the_distance_in_mm():
    truth, predicted = np.zeros((2, 9, 9), bool)
    truth[4, 2] = predicted[4, 5] = True
    row = only_row(case(truth, predicted, spacing_mm=(1.0, 0.5)))
    assert (row["hd95"], row["hd95_unit"]) == (1.5, "mm")


def test_plain_columns_take_the_probabilities_at_one_half():
    probabilities = np.full((1, 4, 4), 0.5)
    probabilities[0, 0] = 0.4
    row = only_row(case(np.ones((4, 4)), np.zeros((4, 4)), probabilities))
    assert (row["plain_predicted_px"], row["plain_overlap_px"], row["predicted_px"]) == (12, 12, 0)
    assert row["probability"] == 0.5


def test_each_class_gets_its_own_row():
    truth = np.array([[0, 1, 2, 2]])
    probabilities = np.moveaxis(np.eye(3)[[[0, 1, 1, 2]]], -1, 0)
    table = evaluate_cases([case(truth, [[0, 1, 1, 2]], probabilities)], ("background", "oedema", "tumour"))
    assert list(table["class"]) == ["oedema", "tumour"]
    assert list(table["dice"]) == pytest.approx([2 / 3, 2 / 3])
    assert list(table["probability"]) == [1.0, 1.0]
    assert list(table["plain_predicted_px"]) == [2, 1]


def test_no_case_gives_an_empty_table_with_all_columns():
    table = evaluate_cases([], BINARY)
    assert (list(table.columns), len(table)) == (list(CASE_COLUMNS), 0)


def test_truth_and_prediction_of_different_size_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        evaluate_cases([case(np.zeros((4, 4)), np.zeros((4, 5)))], BINARY)
