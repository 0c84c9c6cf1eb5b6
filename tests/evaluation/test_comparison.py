"""Models beside each other on the same cases."""

import numpy as np
import pandas as pd
import pytest

from medloom.errors import DataError, UserError
from medloom.evaluation import KINDS
from medloom.evaluation.comparison import compare_cases
from medloom.evaluation.masks import Case, evaluate_cases, summarise
from medloom.evaluation.masks.statistics import mask_statistics
from medloom.targets import Target

MASKS = Target("masks", ("background", "lesion"))
BINARY = Target("binary", ("well", "ill"))


def mask_cases(hit, *, seed=0, patients=8, images=5):
    """Cases whose predictions cover each true pixel with the probability ``hit``."""
    truths, guesses = np.random.default_rng(0), np.random.default_rng(seed)
    for number in range(patients * images):
        truth = (truths.random((12, 12)) < 0.2) & (truths.random() < 0.6)
        scores = np.where(truth, guesses.random((12, 12)) < hit, guesses.random((12, 12)) < 0.01).astype(np.float32)
        patient = f"P{number // images:03d}"
        yield Case(f"{patient}-{number:03d}", patient, "test", truth.astype(np.uint8), scores > 0.5, scores[None])


@pytest.fixture(scope="module")
def tables():
    return {
        name: evaluate_cases(list(mask_cases(hit, seed=seed)), ("background", "lesion"))
        for name, hit, seed in (("plain", 0.6, 1), ("same", 0.6, 2), ("better", 0.9, 3))
    }


@pytest.fixture(scope="module")
def compared(tables):
    return compare_cases(KINDS["masks"](MASKS), tables, "plain", 2000)


def values(table):
    """What the summary has, NaN where a metric is not defined."""
    metrics = summarise(table, 0)["metrics"]
    return {name: np.nan if one["value"] is None else one["value"] for name, one in metrics.items()}


def label_cases(strength, *, seed=0, images=90, patient_of=lambda number: number // 3):
    truths, scores = np.random.default_rng(5), np.random.default_rng(seed)
    truth = (truths.random(images) < 0.4).astype(int)
    score = 1 / (1 + np.exp(-(strength * (truth - 0.5) + scores.normal(size=images))))
    return pd.DataFrame(
        {
            "sample_id": [f"s{number}" for number in range(images)],
            "patient_id": [f"P{patient_of(number)}" for number in range(images)],
            "split": "test",
            "truth": truth,
            "score": score,
            "decision": (score > 0.5).astype(int),
        }
    )


def test_statistics_of_masks_are_the_metrics_of_the_summary(tables):
    table = tables["plain"]
    metrics = values(table)
    found = mask_statistics(table)(np.ones((1, len(table))))
    assert {name: value[0] for name, value in found.items()} == pytest.approx(
        {name: metrics[name] for name in found}, nan_ok=True
    )
    assert set(metrics) - set(found) == {
        name for name in metrics if "hd95" in name or name == "patient_region_sensitivity"
    }


def test_statistics_on_patients_drawn_twice_are_those_of_a_table_that_holds_them_twice(tables):
    table = tables["better"]
    twice = table[table["patient_id"] == "P003"].assign(
        patient_id="again", sample_id=lambda one: one["sample_id"] + "b"
    )
    longer = values(pd.concat([table, twice]))
    weights = np.where(table["patient_id"] == "P003", 2.0, 1.0)[None]
    found = mask_statistics(table)(weights)
    assert {name: value[0] for name, value in found.items()} == pytest.approx(
        {name: longer[name] for name in found}, nan_ok=True
    )


def test_a_better_model_is_seen_and_one_alike_is_not(compared):
    better, same = (compared["differences"][name]["dice_foreground"] for name in ("better", "same"))
    assert better["low"] > 0.1
    assert better["p_corrected"] < 0.05
    assert same["low"] < 0 < same["high"]
    assert same["p_corrected"] > 0.05


def test_a_paired_difference_is_known_better_than_two_intervals_say(compared):
    one, other = (compared["models"][name]["metrics"]["dice_foreground"] for name in ("better", "plain"))
    paired = compared["differences"]["better"]["dice_foreground"]
    assert paired["value"] == pytest.approx(one["value"] - other["value"])
    assert paired["high"] - paired["low"] < (one["high"] - one["low"]) + (other["high"] - other["low"])


def test_p_values_are_corrected_for_every_model_and_headline_together(compared):
    found = [one[name] for one in compared["differences"].values() for name in compared["headlines"] if name in one]
    assert len(found) == 8
    least = min(found, key=lambda one: one["p"])
    assert least["p_corrected"] == pytest.approx(min(1.0, 8 * least["p"]))
    assert all(one["p_corrected"] >= one["p"] for one in found)


def test_only_shared_images_are_compared_and_it_is_said_how_many_were_not(tables):
    fewer = tables["better"].iloc[:-4]
    facts = compare_cases(KINDS["masks"](MASKS), {"plain": tables["plain"], "better": fewer}, "plain", 50)
    assert facts["counts"]["images"] == len(fewer)
    assert facts["counts"]["left_out"] == {"plain": 4}
    alone = summarise(tables["plain"].iloc[:-4], 0)["metrics"]["dice_foreground"]["value"]
    assert facts["models"]["plain"]["metrics"]["dice_foreground"]["value"] == pytest.approx(alone)


def test_rows_in_another_order_give_the_same(tables, compared):
    turned = {name: table.iloc[::-1] for name, table in tables.items()}
    assert compare_cases(KINDS["masks"](MASKS), turned, "plain", 2000) == compared


def test_models_without_a_shared_image_are_refused(tables):
    halves = {"first": tables["plain"].iloc[:10], "second": tables["better"].iloc[10:]}
    with pytest.raises(UserError, match="share no image"):
        compare_cases(KINDS["masks"](MASKS), halves, "first", 10)


def test_models_with_another_truth_are_refused(tables):
    other = tables["better"].copy()
    other.loc[3, "truth_px"] += 1
    with pytest.raises(DataError, match="not measured against the same truth"):
        compare_cases(KINDS["masks"](MASKS), {"plain": tables["plain"], "other": other}, "plain", 10)


def test_patients_may_be_called_otherwise_but_not_be_others():
    one, family = label_cases(1.0), KINDS["binary"](BINARY)
    renamed = one.assign(patient_id="Q" + one["patient_id"])
    facts = compare_cases(family, {"one": one, "renamed": renamed}, "one", 100)
    assert facts["differences"]["renamed"]["roc_auc"]["value"] == 0.0
    split_up = label_cases(1.0, patient_of=lambda number: number)
    with pytest.raises(DataError, match="other images belong to one patient"):
        compare_cases(family, {"one": one, "split": split_up}, "one", 100)


def test_labels_are_compared_by_area_too_and_their_curves_enclose_it():
    tables = {"weak": label_cases(0.5, seed=1), "strong": label_cases(3.0, seed=2)}
    facts = compare_cases(KINDS["binary"](BINARY), tables, "weak", 1000)
    area, drawn = facts["areas"]["strong"], facts["differences"]["strong"]["roc_auc"]
    assert area["value"] == pytest.approx(drawn["value"])
    assert (area["low"], area["high"]) == pytest.approx((drawn["low"], drawn["high"]), abs=0.06)
    for name, curve in facts["curves"].items():
        enclosed = np.trapezoid(curve["sensitivity"], curve["false_positive_rate"])
        assert enclosed == pytest.approx(facts["models"][name]["metrics"]["roc_auc"]["value"])


def test_a_metric_of_too_few_cases_is_compared_no_more_than_it_is_shown():
    few = {name: label_cases(2.0, seed=seed, images=12) for seed, name in enumerate(("one", "two"))}
    few = {name: table.assign(truth=[1, 1, *[0] * 10]) for name, table in few.items()}
    facts = compare_cases(KINDS["binary"](BINARY), few, "one", 50)
    assert {"roc_auc", "sensitivity"} <= set(facts["withheld"])
    assert not {"roc_auc", "sensitivity"} & {*facts["differences"]["two"], *facts["models"]["one"]["metrics"]}
    assert facts["areas"] == {}


def test_without_known_patients_no_metric_is_of_patients(tables):
    facts = compare_cases(KINDS["masks"](MASKS), tables, "plain", 20, over="images")
    assert facts["counts"]["patients"] is None
    assert not any(name.startswith("patient_") for one in facts["models"].values() for name in one["metrics"])
    assert not any(name.startswith("patient_") for name in facts["headlines"])


@pytest.mark.parametrize("kind", ["multi-class", "multi-label", "regression"])
def test_every_kind_of_label_can_be_compared(kind):
    rng = np.random.default_rng(0)
    names = ("a", "b", "c") if kind != "regression" else ("a",)
    target, tables = Target(kind, names), {}
    for model in ("one", "two"):
        table = label_cases(1.0)[["sample_id", "patient_id", "split"]]
        if kind == "multi-class":
            scores = rng.dirichlet(np.ones(3), len(table))
            table = table.assign(truth=np.arange(len(table)) % 3, decision=scores.argmax(axis=1))
        else:
            scores = rng.random((len(table), len(names)))
            for index in range(len(names)):
                table[f"truth_{index}"] = (np.arange(len(table)) % (index + 2) == 0).astype(int)
                if kind == "multi-label":
                    table[f"decision_{index}"] = (scores[:, index] > 0.5).astype(int)
        tables[model] = table.assign(**{f"score_{index}": scores[:, index] for index in range(len(names))})
    facts = compare_cases(KINDS[kind](target), tables, "one", 50)
    assert set(facts["headlines"]) <= set(facts["differences"]["two"])
    assert facts["areas"] == {}
