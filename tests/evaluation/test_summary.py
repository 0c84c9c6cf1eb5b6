import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, recall_score, roc_auc_score

from medloom.evaluation import FIGURES, Case, evaluate_cases, patient_table, summarise
from medloom.metrics import dice


def random_cases(seed=0, patients=6, slices=5):
    rng = np.random.default_rng(seed)
    for patient in range(patients):
        for index in range(slices):
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


def values(summary, part="figures"):
    return {name: figure["value"] for name, figure in summary[part].items()}


def test_slice_figures_are_the_plain_means_over_the_cases(found):
    cases, table = found
    lesion = [case for case in cases if case.truth.any()]
    empty = [case for case in cases if not case.truth.any()]
    figures = summarise(table, 20)["figures"]
    assert figures["dice_lesion"]["value"] == pytest.approx(np.mean([dice(c.truth, c.predicted) for c in lesion]))
    assert figures["dice_all"]["value"] == pytest.approx(np.mean([dice(c.truth, c.predicted) for c in cases]))
    assert figures["false_alarm_rate"]["value"] == pytest.approx(np.mean([c.predicted.any() for c in empty]))
    assert [figures[name]["n"] for name in ("dice_lesion", "dice_all", "false_alarm_rate")] == [
        len(lesion),
        len(cases),
        len(empty),
    ]


def test_patient_figures_are_those_of_the_stacked_slices(found):
    cases, table = found
    names = sorted({case.patient_id for case in cases})
    stacked = [
        dice(*(np.stack([getattr(c, side) for c in cases if c.patient_id == name]) for side in ("truth", "predicted")))
        for name in names
    ]
    assert list(patient_table(table)["dice"]) == pytest.approx(stacked)
    figure = summarise(table, 20)["figures"]["patient_dice_lesion"]
    assert figure["value"] == pytest.approx(np.mean(stacked))
    assert figure["n"] == figure["patients"] == len(names)


def test_slice_level_detection_agrees_with_scikit_learn(found):
    cases, table = found
    truth = [case.truth.any() for case in cases]
    called = [case.predicted.any() for case in cases]
    score = [case.probabilities.max() for case in cases]
    figures = values(summarise(table, 0))
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(truth, score))
    assert figures["average_precision"] == pytest.approx(average_precision_score(truth, score))
    assert figures["f1"] == pytest.approx(f1_score(truth, called))
    assert figures["sensitivity"] == pytest.approx(recall_score(truth, called))
    assert figures["specificity"] == pytest.approx(recall_score(truth, called, pos_label=0))


def test_every_figure_lies_in_its_interval_and_has_a_meaning(found):
    summary = summarise(found[1], 200)
    for name, figure in summary["figures"].items():
        assert name in FIGURES
        if figure["low"] is not None:
            assert figure["low"] <= figure["value"] <= figure["high"]
    assert summary["figures"]["dice_lesion"]["low"] is not None


def test_the_four_headlines_come_first(found):
    names = list(summarise(found[1], 0)["figures"])
    assert names[:4] == ["dice_lesion", "false_alarm_rate", "patient_dice_lesion", "lesion_sensitivity"]


def test_no_resamples_give_figures_without_intervals(found):
    assert all(figure["low"] is None for figure in summarise(found[1], 0)["figures"].values())


def test_predicting_nothing_is_as_good_as_the_share_of_empty_slices(found):
    cases, table = found
    share = np.mean([not case.truth.any() for case in cases])
    nothing = values(summarise(table, 0)["baselines"], "nothing")
    assert (nothing["dice_lesion"], nothing["false_alarm_rate"]) == (0.0, 0.0)
    assert nothing["dice_all"] == pytest.approx(share)
    everywhere = values(summarise(table, 0)["baselines"], "everywhere")
    assert everywhere["false_alarm_rate"] == 1.0
    expected = np.mean([dice(case.truth, np.ones_like(case.truth)) for case in cases if case.truth.any()])
    assert everywhere["dice_lesion"] == pytest.approx(expected)


def test_plain_figures_are_those_at_one_half(found):
    cases, table = found
    expected = np.mean([dice(case.truth, case.probabilities[0] >= 0.5) for case in cases if case.truth.any()])
    assert values(summarise(table, 0), "plain")["dice_lesion"] == pytest.approx(expected)


def test_cases_without_both_outlines_are_counted_and_not_averaged(found):
    _, table = found
    summary = summarise(table, 0)
    figure, counts = summary["figures"]["hd95_px"], summary["counts"]
    assert figure["value"] == pytest.approx(table["hd95"].mean())
    assert figure["n"] + counts["hd95_both_empty"] + counts["hd95_one_empty"] == len(table)
    assert counts["hd95_one_empty"] > 0


def test_distances_in_mm_and_in_pixels_are_never_mixed(found):
    _, table = found
    mixed = table.assign(hd95_unit=np.where(table["patient_id"] == "P000", "mm", "px"))
    figures = summarise(mixed, 0)["figures"]
    for unit in ("mm", "px"):
        assert figures[f"hd95_{unit}"]["value"] == pytest.approx(mixed["hd95"][mixed["hd95_unit"] == unit].mean())


def test_the_saved_table_gives_the_same_summary(found, tmp_path):
    _, table = found
    table.to_csv(tmp_path / "cases.csv", index=False)
    again = pd.read_csv(tmp_path / "cases.csv")
    assert summarise(again, 50) == summarise(table, 50)


def test_several_classes_are_measured_together_and_each_alone(found):
    _, table = found
    both = pd.concat([table.assign(**{"class": "a"}), table.assign(**{"class": "b", "dice": 0.0})])
    summary = summarise(both, 0)
    alone = summary["per_class"]
    assert summary["figures"]["dice_lesion"]["value"] == pytest.approx(alone["a"]["dice_lesion"]["value"] / 2)
    assert alone["b"]["dice_lesion"]["value"] == 0.0
    assert summary["counts"]["slices"] == len(table)


@pytest.mark.parametrize("rows", ["none", "only empty slices", "only lesions"])
def test_missing_cases_give_none_and_no_error(found, rows):
    _, table = found
    lesion = table["truth_px"] > 0
    part = {"none": table[:0], "only empty slices": table[~lesion], "only lesions": table[lesion]}[rows]
    summary = summarise(part, 20)
    json.dumps(summary, allow_nan=False)
    figures = values(summary)
    assert (figures["dice_lesion"] is None) == (rows != "only lesions")
    assert figures["roc_auc"] is None


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
