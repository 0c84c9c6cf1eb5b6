import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, recall_score, roc_auc_score

from medloom.evaluation.masks import METRICS, Case, evaluate_cases, patient_table, summarise
from medloom.metrics import dice_from_counts


def dice(truth, predicted):
    """Dice of two masks; two empty ones agree."""
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    return float(dice_from_counts((truth & predicted).sum(), truth.sum(), predicted.sum()))


def random_cases(seed=0, patients=6, images=5):
    rng = np.random.default_rng(seed)
    for patient in range(patients):
        for index in range(images):
            truth = (rng.random((12, 12)) < 0.2) & (rng.random() < 0.6)
            probabilities = np.clip(truth * 0.5 + rng.random((12, 12)) * 0.7 * (rng.random() < 0.7), 0, 1)
            predicted = probabilities >= 0.6
            name = f"P{patient:03d}"
            yield Case(
                f"{name}-{index:03d}",
                name,
                "test",
                truth.astype(np.uint8),
                predicted.astype(np.uint8),
                probabilities[None].astype(np.float32),
            )


@pytest.fixture(scope="module")
def found():
    cases = list(random_cases())
    return cases, evaluate_cases(cases, ("background", "lesion"))


def values(part):
    return {name: metric["value"] for name, metric in part["metrics"].items()}


def test_image_metrics_are_the_plain_means_over_the_cases(found):
    cases, table = found
    foreground = [case for case in cases if case.truth.any()]
    empty = [case for case in cases if not case.truth.any()]
    metrics = summarise(table, 20)["metrics"]
    assert metrics["dice_foreground"]["value"] == pytest.approx(
        np.mean([dice(c.truth, c.predicted) for c in foreground])
    )
    assert metrics["dice_all"]["value"] == pytest.approx(np.mean([dice(c.truth, c.predicted) for c in cases]))
    assert metrics["false_positive_rate"]["value"] == pytest.approx(np.mean([c.predicted.any() for c in empty]))
    assert [metrics[name]["n"] for name in ("dice_foreground", "dice_all", "false_positive_rate")] == [
        len(foreground),
        len(cases),
        len(empty),
    ]


def test_patient_metrics_are_those_of_the_stacked_images(found):
    cases, table = found
    names = sorted({case.patient_id for case in cases})
    stacked = [
        dice(*(np.stack([getattr(c, side) for c in cases if c.patient_id == name]) for side in ("truth", "predicted")))
        for name in names
    ]
    assert list(patient_table(table)["dice"]) == pytest.approx(stacked)
    metric = summarise(table, 20)["metrics"]["patient_dice_foreground"]
    assert metric["value"] == pytest.approx(np.mean(stacked))
    assert metric["n"] == metric["patients"] == len(names)


def test_image_level_detection_agrees_with_scikit_learn(found):
    cases, table = found
    truth = [case.truth.any() for case in cases]
    called = [case.predicted.any() for case in cases]
    score = [case.probabilities.max() for case in cases]
    metrics = values(summarise(table, 0))
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score(truth, score))
    assert metrics["average_precision"] == pytest.approx(average_precision_score(truth, score))
    assert metrics["f1"] == pytest.approx(f1_score(truth, called))
    assert metrics["sensitivity"] == pytest.approx(recall_score(truth, called))
    assert metrics["specificity"] == pytest.approx(recall_score(truth, called, pos_label=0))


def test_every_metric_lies_in_its_interval_and_has_a_meaning(found):
    summary = summarise(found[1], 200)
    for name, metric in summary["metrics"].items():
        assert name in METRICS
        if metric["low"] is not None:
            assert metric["low"] <= metric["value"] <= metric["high"]
    assert summary["metrics"]["dice_foreground"]["low"] is not None


def test_the_four_headlines_come_first(found):
    names = list(summarise(found[1], 0)["metrics"])
    assert names[:4] == ["dice_foreground", "false_positive_rate", "patient_dice_foreground", "region_sensitivity"]


def test_no_resamples_give_metrics_without_intervals(found):
    assert all(metric["low"] is None for metric in summarise(found[1], 0)["metrics"].values())


def test_predicting_nothing_is_as_good_as_the_share_of_empty_images(found):
    cases, table = found
    share = np.mean([not case.truth.any() for case in cases])
    nothing = values(summarise(table, 0)["baselines"]["nothing"])
    assert (nothing["dice_foreground"], nothing["false_positive_rate"]) == (0.0, 0.0)
    assert nothing["dice_all"] == pytest.approx(share)
    everywhere = values(summarise(table, 0)["baselines"]["everywhere"])
    assert everywhere["false_positive_rate"] == 1.0
    expected = np.mean([dice(case.truth, np.ones_like(case.truth)) for case in cases if case.truth.any()])
    assert everywhere["dice_foreground"] == pytest.approx(expected)


def test_plain_metrics_are_those_at_one_half(found):
    cases, table = found
    expected = np.mean([dice(case.truth, case.probabilities[0] >= 0.5) for case in cases if case.truth.any()])
    assert values(summarise(table, 0)["baselines"]["plain"])["dice_foreground"] == pytest.approx(expected)


def test_cases_without_both_outlines_are_counted_and_not_averaged(found):
    _, table = found
    summary = summarise(table, 0)
    metric, counts = summary["metrics"]["hd95_px"], summary["counts"]
    assert metric["value"] == pytest.approx(table["hd95"].mean())
    assert metric["n"] + counts["hd95_both_empty"] + counts["hd95_one_empty"] == len(table)
    assert counts["hd95_one_empty"] > 0


def test_distances_in_mm_and_in_pixels_are_never_mixed(found):
    _, table = found
    mixed = table.assign(hd95_unit=np.where(table["patient_id"] == "P000", "mm", "px"))
    metrics = summarise(mixed, 0)["metrics"]
    for unit in ("mm", "px"):
        assert metrics[f"hd95_{unit}"]["value"] == pytest.approx(mixed["hd95"][mixed["hd95_unit"] == unit].mean())


def test_the_saved_table_gives_the_same_summary(found, tmp_path):
    _, table = found
    table.to_csv(tmp_path / "cases.csv", index=False)
    again = pd.read_csv(tmp_path / "cases.csv")
    assert summarise(again, 50) == summarise(table, 50)


def test_several_classes_are_measured_together_and_each_alone(found):
    _, table = found
    both = pd.concat([table.assign(**{"class": "a"}), table.assign(**{"class": "b", "dice": 0.0})])
    summary = summarise(both, 0)
    alone = {name: facts["metrics"] for name, facts in summary["per_target"].items()}
    assert summary["metrics"]["dice_foreground"]["value"] == pytest.approx(alone["a"]["dice_foreground"]["value"] / 2)
    assert alone["b"]["dice_foreground"]["value"] == 0.0
    assert summary["counts"]["images"] == len(table)


@pytest.mark.parametrize("rows", ["none", "only empty images", "only foreground"])
def test_missing_cases_give_none_and_no_error(found, rows):
    _, table = found
    foreground = table["truth_px"] > 0
    part = {"none": table[:0], "only empty images": table[~foreground], "only foreground": table[foreground]}[rows]
    summary = summarise(part, 20)
    json.dumps(summary, allow_nan=False)
    metrics = values(summary)
    assert (metrics["dice_foreground"] is None) == (rows != "only foreground")
    assert metrics["roc_auc"] is None


@pytest.mark.parametrize("classes", [("background", "lesion"), ("background", "oedema", "core", "necrosis")])
def test_the_confusion_of_pixels_agrees_with_scikit_learn(classes):
    rng = np.random.default_rng(3)
    count, cases = len(classes), []
    for index in range(5):
        truth = rng.integers(0, count, (9, 7)).astype(np.uint8)
        predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, count, truth.shape)).astype(np.uint8)
        probabilities = np.eye(count, dtype=np.float32)[predicted].transpose(2, 0, 1)[count == 2 :]
        cases.append(Case(f"S{index}", f"P{index}", "test", truth, predicted, probabilities))
    summary = summarise(evaluate_cases(cases, classes), 0)
    pixels = [np.concatenate([getattr(case, side).ravel() for case in cases]) for side in ("truth", "predicted")]
    assert summary["pixel_confusion"] == {"classes": list(classes), "matrix": confusion_matrix(*pixels).tolist()}
