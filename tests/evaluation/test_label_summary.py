import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from medloom.errors import DataError
from medloom.evaluation import metric_rows
from medloom.evaluation.labels import (
    METRICS,
    Binary,
    MultiClass,
    MultiLabel,
    Regression,
    Rule,
    choose_threshold,
    summarise,
)
from medloom.files import write_json
from medloom.recipe.kinds.labels import ClassesEvaluate
from medloom.targets import Target

BINARY = Binary(Target("binary", ("normal", "pneumonia")))
CLASSES = MultiClass(Target("multi-class", ("a", "b", "c")))
LABELS = MultiLabel(Target("multi-label", ("effusion", "mass")))
VALUES = Regression(Target("regression", ("age", "dose")))


def frame(n=120, patients=60, seed=0):
    rng = np.random.default_rng(seed)
    owners = rng.integers(0, patients, n)
    table = pd.DataFrame({"sample_id": [f"S{i:03d}" for i in range(n)], "patient_id": [f"P{i:03d}" for i in owners]})
    return rng, table.assign(split="test")


def binary(n=120, patients=60, seed=0, threshold=0.45):
    rng, table = frame(n, patients, seed)
    truth = (rng.random(n) < 0.3).astype(int)
    score = np.clip(0.3 * truth + 0.7 * rng.random(n), 0, 1)
    groups = {"group_sex": rng.choice(["F", "M", ""], n), "group_age_approx": rng.integers(5, 90, n).astype(float)}
    return BINARY.decide(table.assign(truth=truth, score=score, **groups), (threshold,))


def several(n=150, seed=1):
    rng, table = frame(n, 80, seed)
    truth = rng.integers(0, 3, n)
    score = rng.dirichlet(np.ones(3), n) * 0.6 + 0.4 * np.eye(3)[truth] * rng.random((n, 1))
    score /= score.sum(1, keepdims=True)
    return CLASSES.decide(table.assign(truth=truth, **{f"score_{i}": score[:, i] for i in range(3)}), ())


def labels(n=120, seed=2):
    rng, table = frame(n, 60, seed)
    for index, share in enumerate((0.3, 0.1)):
        truth = (rng.random(n) < share).astype(int)
        table = table.assign(
            **{f"truth_{index}": truth, f"score_{index}": np.clip(0.3 * truth + 0.7 * rng.random(n), 0, 1)}
        )
    return LABELS.decide(table, (0.5, 0.4))


def values_table(n=80, seed=3):
    rng, table = frame(n, 40, seed)
    truth = rng.normal(50, 10, (n, 2))
    guess = truth + rng.normal(0, 5, (n, 2))
    return table.assign(
        **{f"truth_{i}": truth[:, i] for i in range(2)}, **{f"score_{i}": guess[:, i] for i in range(2)}
    )


def values(metrics):
    return {name: metric["value"] for name, metric in metrics.items()}


def test_metrics_of_a_question_agree_with_scikit_learn():
    cases = binary()
    truth, score, decision = (cases[name] for name in ("truth", "score", "decision"))
    metrics = values(summarise(cases, BINARY, 0)["metrics"])
    expected = {
        "roc_auc": theirs.roc_auc_score(truth, score),
        "average_precision": theirs.average_precision_score(truth, score),
        "sensitivity": theirs.recall_score(truth, decision),
        "specificity": theirs.recall_score(truth, decision, pos_label=0),
        "precision": theirs.precision_score(truth, decision),
        "npv": theirs.precision_score(truth, decision, pos_label=0),
        "f1": theirs.f1_score(truth, decision),
        "accuracy": theirs.accuracy_score(truth, decision),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, decision),
        "mcc": theirs.matthews_corrcoef(truth, decision),
        "brier": theirs.brier_score_loss(truth, score),
        "log_loss": theirs.log_loss(truth, score),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_metrics_of_several_classes_agree_with_scikit_learn():
    cases = several()
    truth, decision = cases["truth"], cases["decision"]
    score = cases[["score_0", "score_1", "score_2"]].to_numpy()
    summary = summarise(cases, CLASSES, 0)
    expected = {
        "roc_auc": theirs.roc_auc_score(truth, score, multi_class="ovr"),
        "average_precision": theirs.average_precision_score(np.eye(3)[truth], score),
        "f1": theirs.f1_score(truth, decision, average="macro"),
        "accuracy": theirs.accuracy_score(truth, decision),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, decision),
        "mcc": theirs.matthews_corrcoef(truth, decision),
        "log_loss": theirs.log_loss(truth, score),
    }
    found = values(summary["metrics"])
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert summary["confusion"]["matrix"] == theirs.confusion_matrix(truth, decision).tolist()
    for index, name in enumerate(CLASSES.target.names):
        alone = values(summary["per_target"][name]["metrics"])
        assert alone["roc_auc"] == pytest.approx(theirs.roc_auc_score(truth == index, score[:, index]))
        assert alone["sensitivity"] == pytest.approx(theirs.recall_score(truth == index, decision == index))


def test_metrics_of_labels_are_means_over_the_labels():
    cases = labels()
    summary = summarise(cases, LABELS, 0)
    truth, score = cases[["truth_0", "truth_1"]], cases[["score_0", "score_1"]]
    assert values(summary["metrics"])["roc_auc"] == pytest.approx(theirs.roc_auc_score(truth, score))
    decision = cases[["decision_0", "decision_1"]]
    assert values(summary["metrics"])["exact_match"] == pytest.approx(theirs.accuracy_score(truth, decision))
    assert set(summary["per_target"]) == {"effusion", "mass"}
    expected = theirs.confusion_matrix(cases["truth_1"], cases["decision_1"]).tolist()
    assert summary["per_target"]["mass"]["confusion"]["matrix"] == expected


def test_metrics_of_values_are_given_for_each_target():
    cases = values_table()
    summary = summarise(cases, VALUES, 20)
    dose = values(summary["per_target"]["dose"]["metrics"])
    assert dose["mae"] == pytest.approx(theirs.mean_absolute_error(cases["truth_1"], cases["score_1"]))
    assert values(summary["per_target"]["dose"]["baselines"]["constant"]["metrics"])["r2"] == pytest.approx(0.0)
    assert set(summary["metrics"]) == {"r2", "spearman"}  # errors in different units have no mean
    one = summarise(cases, Regression(Target("regression", ("age",))), 0)
    assert values(one["metrics"])["rmse"] == pytest.approx(
        theirs.root_mean_squared_error(cases["truth_0"], cases["score_0"])
    )


def unknown(table, columns, share=0.3, seed=5):
    """The truth is not known of some cases, of each label of others."""
    hidden = np.random.default_rng(seed).random((len(table), len(columns))) < share
    return table.assign(**{name: table[name].mask(hidden[:, place]) for place, name in enumerate(columns)})


def test_metrics_of_labels_that_are_partly_unknown_are_scikit_learns_on_the_known_ones():
    cases = unknown(labels(400), ["truth_0", "truth_1"])
    summary = LABELS.summary(cases, LABELS.chosen((0.5, 0.4), "a rule"), 20)["test"]
    means = {"roc_auc": [], "average_precision": [], "f1": [], "mcc": [], "brier": [], "log_loss": []}
    for index, name in enumerate(LABELS.target.names):
        known = cases[cases[f"truth_{index}"].notna()]
        truth, score, decision = (known[f"{column}_{index}"] for column in ("truth", "score", "decision"))
        expected = {
            "roc_auc": theirs.roc_auc_score(truth, score),
            "average_precision": theirs.average_precision_score(truth, score),
            "sensitivity": theirs.recall_score(truth, decision),
            "specificity": theirs.recall_score(truth, decision, pos_label=0),
            "precision": theirs.precision_score(truth, decision),
            "f1": theirs.f1_score(truth, decision),
            "mcc": theirs.matthews_corrcoef(truth, decision),
            "brier": theirs.brier_score_loss(truth, score),
            "log_loss": theirs.log_loss(truth, score),
        }
        facts = summary["per_target"][name]
        found = values(facts["metrics"])
        assert {key: found[key] for key in expected} == pytest.approx(expected)
        assert facts["metrics"]["roc_auc"]["n"] == len(known)
        assert facts["confusion"]["matrix"] == theirs.confusion_matrix(truth, decision).tolist()
        assert sum(facts["reliability"]["width"]["cases"]) == len(known)
        counts = summary["counts"]["positives"][name]
        assert (counts["images"], counts["unknown"]) == (truth.sum(), len(cases) - len(known))
        assert counts["patients"] == known[truth == 1]["patient_id"].nunique()
        for key, each in means.items():
            each.append(expected[key])
    found = values(summary["metrics"])
    assert {key: found[key] for key in means} == pytest.approx({key: np.mean(each) for key, each in means.items()})
    whole = cases.dropna(subset=["truth_0", "truth_1"])
    right = theirs.accuracy_score(whole[["truth_0", "truth_1"]].astype(int), whole[["decision_0", "decision_1"]])
    assert found["exact_match"] == pytest.approx(right)
    assert summary["metrics"]["exact_match"]["n"] == len(whole)


def test_an_unknown_truth_moves_neither_the_threshold_nor_the_mistakes():
    cases = unknown(labels(400), ["truth_0", "truth_1"])
    choice = LABELS.choose_by(cases, ClassesEvaluate())
    for index, threshold in enumerate(choice.point["thresholds"]):
        known = cases[cases[f"truth_{index}"].notna()]
        assert threshold == choose_threshold(known[f"truth_{index}"], known[f"score_{index}"], Rule())
    wrong = LABELS.mistakes(cases, cases)
    told = {(row.sample_id, row.output) for row in wrong.itertuples()}
    for index in range(2):
        hidden = cases["sample_id"][cases[f"truth_{index}"].isna()]
        assert not told & {(sample, index) for sample in hidden}


def test_metrics_of_numbers_that_are_partly_unknown_are_those_of_the_known_ones():
    cases = unknown(values_table(), ["truth_0", "truth_1"])
    facts = summarise(cases, VALUES, 0)["per_target"]["dose"]["metrics"]
    known = cases.dropna(subset=["truth_1"])
    assert facts["mae"]["value"] == pytest.approx(theirs.mean_absolute_error(known["truth_1"], known["score_1"]))
    assert facts["r2"]["value"] == pytest.approx(theirs.r2_score(known["truth_1"], known["score_1"]))
    assert facts["mae"]["n"] == len(known)


def few(table, column, value, count):
    """Only so many cases with a value, all others as they are."""
    return table.drop(table.index[table[column] == value][count:]).reset_index(drop=True)


@pytest.mark.parametrize("side", [1, 0])
def test_a_metric_is_not_shown_from_fewer_than_five_cases_of_a_class(side):
    word = ("negative", "positive")[side]
    for count in range(8):
        summary = BINARY.summary(few(binary(), "truth", side, count), BINARY.chosen((), "a rule"), 20)
        metrics, rows = summary["test"]["metrics"], dict(metric_rows(summary))
        for name in ("roc_auc", "average_precision", "balanced_accuracy", "mcc"):
            assert (metrics[name]["value"] is None) == (count < 5), name
        alone = "Sensitivity" if side else "Specificity"
        if count < 5:
            plural = "" if count == 1 else "s"
            assert rows["ROC AUC"] == rows[alone] == f"not defined here ({count} {word}{plural})"
            assert metrics["roc_auc"]["low"] is None
            assert summary["test"]["curves"] == {}
        assert metrics["accuracy"]["value"] is not None
        assert rows["Specificity" if side else "Sensitivity"][:2] == "0."


def test_a_mean_over_classes_is_not_shown_where_one_has_few_cases():
    summary = summarise(few(several(), "truth", 2, 3), CLASSES, 0)
    for name in ("balanced_accuracy", "roc_auc", "average_precision", "f1", "mcc"):
        assert (summary["metrics"][name]["value"], summary["metrics"][name]["note"]) == (None, "3 of c"), name
    assert summary["metrics"]["accuracy"]["value"] is not None
    shown = {name: facts["metrics"]["roc_auc"]["value"] for name, facts in summary["per_target"].items()}
    assert [name for name, value in shown.items() if value is None] == ["c"]


def test_a_mean_over_labels_leaves_out_those_with_few_cases_and_says_so():
    cases = few(labels(), "truth_1", 1, 4)
    summary = summarise(cases, LABELS, 0)
    auc = summary["metrics"]["roc_auc"]
    assert auc["value"] == pytest.approx(theirs.roc_auc_score(cases["truth_0"], cases["score_0"]))
    assert auc["note"] == "mean over 1 of 2 labels; too few cases of the others"
    assert summary["per_target"]["mass"]["metrics"]["roc_auc"]["note"] == "4 positives"


@pytest.mark.parametrize("count", [1, 4, 5])
def test_numbers_are_not_measured_on_a_few_cases(count):
    metrics = summarise(values_table().iloc[:count], VALUES, 0)["metrics"]
    assert (metrics["r2"]["value"] is None) == (count < 5)


@pytest.mark.parametrize(
    ("cases", "labels"), [(binary(), BINARY), (several(), CLASSES), (labels(), LABELS), (values_table(), VALUES)]
)
def test_every_summary_can_be_saved_and_every_metric_has_a_meaning_and_an_interval(tmp_path, cases, labels):
    summary = labels.summary(cases, labels.chosen((), "a rule"), 60)
    write_json(tmp_path / "summary.json", summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    for name, metric in summary["test"]["metrics"].items():
        assert name in METRICS
        assert metric["low"] <= metric["high"]
        assert metric["patients"] == cases["patient_id"].nunique()
    assert "validation" not in summary
    assert [label for label, _ in metric_rows(summary, 2)] == [
        METRICS[name].label for name in labels.headlines if name in summary["test"]["metrics"]
    ][:2]


def test_the_constant_class_is_worth_what_it_is_worth():
    cases = binary()
    share = cases["truth"].mean()
    baseline = summarise(cases, BINARY, 0)["baselines"]["constant"]
    metrics = values(baseline["metrics"])
    assert baseline["answer"] == "normal"
    assert metrics["roc_auc"] == 0.5
    assert metrics["average_precision"] == pytest.approx(share)
    assert metrics["accuracy"] == pytest.approx(1 - share)
    assert metrics["brier"] == pytest.approx(share * (1 - share))
    assert (metrics["sensitivity"], metrics["specificity"], metrics["precision"]) == (0.0, 1.0, None)
    assert metrics["ece"] == pytest.approx(0.0)


def test_the_constant_answers_of_classes_and_labels():
    classes = summarise(several(), CLASSES, 0)["baselines"]["constant"]
    assert values(classes["metrics"])["balanced_accuracy"] == pytest.approx(1 / 3)
    assert values(classes["metrics"])["roc_auc"] == 0.5
    metrics = values(summarise(labels(), LABELS, 0)["baselines"]["constant"]["metrics"])
    assert metrics["roc_auc"] == 0.5


def test_intervals_draw_patients_and_not_images():
    cases = pd.concat([binary(60, 60, 5).assign(patient_id=[f"P{i}" for i in range(60)])] * 10)
    apart = cases.assign(patient_id=[str(index) for index in range(len(cases))])
    together, alone = (summarise(table, BINARY, 100)["metrics"]["roc_auc"] for table in (cases, apart))
    assert together["value"] == alone["value"]
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])


def test_a_weight_counts_a_case_several_times():
    cases = binary()
    weight = np.random.default_rng(1).integers(1, 4, len(cases))
    again = cases.loc[np.repeat(cases.index, weight)]
    weighted, repeated = (
        values(summarise(table, BINARY, 0)["metrics"]) for table in (cases.assign(weight=weight), again)
    )
    weighted.pop("ece_mass")
    assert weighted == pytest.approx({name: repeated[name] for name in weighted})


def test_curves_pass_through_the_points_of_scikit_learn_and_lie_in_their_bands():
    cases = binary()
    curves = summarise(cases, BINARY, 100)["curves"]
    false, true, _ = theirs.roc_curve(cases["truth"], cases["score"], drop_intermediate=False)
    np.testing.assert_allclose(curves["roc"]["false_positive_rate"][:-1], false, atol=1e-6)
    np.testing.assert_allclose(curves["roc"]["sensitivity"][:-1], true, atol=1e-6)
    band = curves["roc"]["band"]
    middle = np.interp(0.4, false, true)
    at = band["false_positive_rate"].index(0.4)
    assert band["low"][at] <= middle <= band["high"][at]
    points = curves["thresholds"]
    for index in (0, 40, 100):
        called = cases["score"] >= cases["score"].sort_values().iloc[index]
        assert points["sensitivity"][index] == pytest.approx(called[cases["truth"] == 1].mean(), abs=1e-6)
    precision, recall, _ = theirs.precision_recall_curve(cases["truth"], cases["score"])
    np.testing.assert_allclose(curves["precision_recall"]["precision"][::-1], precision[:-1], atol=1e-6)
    np.testing.assert_allclose(curves["precision_recall"]["recall"][::-1], recall[:-1], atol=1e-6)


def test_long_curves_are_thinned_and_stay_true():
    cases = binary(3000, 500)
    curves = summarise(cases, BINARY, 2)["curves"]
    roc = curves["roc"]
    assert len(roc["sensitivity"]) <= 202
    area = np.trapezoid(roc["sensitivity"], roc["false_positive_rate"])
    assert area == pytest.approx(theirs.roc_auc_score(cases["truth"], cases["score"]), abs=0.002)


def test_reliability_counts_every_case_and_holds_its_intervals():
    facts = summarise(binary(), BINARY, 50)["reliability"]
    for kind in ("width", "mass"):
        bins = facts[kind]
        assert sum(bins["cases"]) == 120
        for cases, seen, low, high in zip(bins["cases"], bins["observed"], bins["low"], bins["high"], strict=True):
            assert seen is None if cases == 0 else low <= seen <= high


def test_groups_are_counted_and_small_or_uniform_ones_have_no_metrics():
    cases = binary(200, 90).assign(group_site=["A"] * 150 + ["B"] * 9 + ["C"] * 41)
    cases.loc[cases["group_site"] == "C", "truth"] = 0
    groups = {(g["column"], g["value"]): g for g in summarise(cases, BINARY, 10)["groups"]}
    assert groups["site", "B"]["note"] == "fewer than 10 cases"
    assert groups["site", "C"]["note"] == "one class only"
    assert groups["site", "B"]["metrics"] is None
    inside = cases[cases["group_site"] == "A"]
    found = groups["site", "A"]
    assert found["images"] == 150
    assert found["patients"] == inside["patient_id"].nunique()
    assert found["positives"]["pneumonia"]["images"] == inside["truth"].sum()
    expected = theirs.roc_auc_score(inside["truth"], inside["score"])
    assert found["metrics"]["roc_auc"]["value"] == pytest.approx(expected)
    assert sum(g["images"] for (column, _), g in groups.items() if column == "sex") == 200


def test_ages_are_taken_in_steps_of_twenty_years_and_blanks_apart():
    cases = (
        binary(100).assign(group_age=["", "7", "19.9", "20", "85"] * 20).drop(columns=["group_age_approx", "group_sex"])
    )
    found = {g["value"]: g["images"] for g in summarise(cases, BINARY, 0)["groups"]}
    assert found == {"0 to 19": 40, "20 to 39": 20, "80 to 99": 20, "unknown": 20}
    assert list(found)[-1] == "unknown"


def test_other_numbers_are_taken_in_quarters_and_rare_words_together():
    rng = np.random.default_rng(0)
    cases = binary(400).drop(columns=["group_sex", "group_age_approx"])
    numbers = cases.assign(group_dose=rng.random(400))
    assert [g["images"] for g in summarise(numbers, BINARY, 0)["groups"]] == [100] * 4
    words = cases.assign(group_site=[f"site {i % 30}" for i in range(400)])
    found = [g["value"] for g in summarise(words, BINARY, 0)["groups"]]
    assert len(found) == 13
    assert found[-1] == "other"


def test_a_patient_is_positive_if_one_image_is_and_has_the_highest_score():
    cases = binary()
    pooled = summarise(cases, BINARY, 10)["per_patient"]
    by = cases.groupby("patient_id")
    assert pooled["patients"] == cases["patient_id"].nunique()
    expected = theirs.roc_auc_score(by["truth"].max(), by["score"].max())
    assert pooled["metrics"]["roc_auc"]["value"] == pytest.approx(expected)
    single = cases.assign(patient_id=cases["sample_id"])
    assert summarise(single, BINARY, 0)["per_patient"] is None


def test_classes_of_a_patient_are_decided_by_the_mean_probabilities():
    cases = several()
    cases = cases.assign(truth=cases.groupby("patient_id")["truth"].transform("first"))
    pooled = summarise(cases, CLASSES, 0)["per_patient"]
    by = cases.groupby("patient_id")
    means, truth = by[CLASSES.score_columns].mean().to_numpy(), by["truth"].first()
    assert pooled["metrics"]["roc_auc"]["value"] == pytest.approx(theirs.roc_auc_score(truth, means, multi_class="ovr"))
    assert pooled["metrics"]["accuracy"]["value"] == pytest.approx(theirs.accuracy_score(truth, means.argmax(1)))


def test_numbers_of_a_patient_are_averaged():
    cases = values_table()[["sample_id", "patient_id", "split", "truth_0", "score_0"]]
    cases = cases.assign(truth_0=cases.groupby("patient_id")["truth_0"].transform("first"))
    pooled = summarise(cases, Regression(Target("regression", ("age",))), 0)["per_patient"]
    by = cases.groupby("patient_id")
    expected = theirs.mean_absolute_error(by["truth_0"].first(), by["score_0"].mean())
    assert pooled["metrics"]["mae"]["value"] == pytest.approx(expected)


def test_images_of_one_patient_that_differ_in_their_truth_are_not_put_together():
    assert summarise(several(), CLASSES, 0)["per_patient"] is None


@pytest.mark.parametrize("seed", range(12))
def test_the_interval_of_the_calibration_error_holds_its_value(seed):
    metrics = summarise(binary(n=40, seed=seed), BINARY, 200)["metrics"]
    for name in ("ece", "ece_mass"):
        assert 0 <= metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"]


def test_a_score_without_skill_is_said_to_be_chance_and_a_good_one_is_not():
    cases = binary(n=300, patients=150)
    noise = np.random.default_rng(5).random(len(cases))
    said = summarise(cases.assign(score=noise), BINARY, 200)["cautions"]
    assert [note.split(" may be chance")[0] for note in said] == ["ROC AUC", "Average precision"]
    assert "includes 0.500" in said[0]
    assert summarise(cases, BINARY, 200)["cautions"] == []
    wrong = summarise(cases.assign(score=1 - cases["score"]), BINARY, 200)["cautions"]
    assert wrong[0].startswith("ROC AUC is worse than chance")
    assert summarise(cases.assign(score=noise), BINARY, 0)["cautions"] == []


@pytest.mark.parametrize("truth", [0, 1])
def test_one_class_only_gives_no_area_and_no_curve(truth):
    cases = binary().assign(truth=truth)
    summary = summarise(cases, BINARY, 20)
    assert summary["metrics"]["roc_auc"]["value"] is None
    assert summary["curves"] == {}
    assert summary["metrics"]["accuracy"]["value"] is not None
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize(
    ("cases", "labels"), [(binary(), BINARY), (several(), CLASSES), (labels(), LABELS), (values_table(), VALUES)]
)
def test_no_case_gives_no_metric_and_no_error(cases, labels):
    summary = summarise(cases[:0], labels, 20)
    assert summary["counts"]["images"] == 0
    assert all(metric["value"] is None for metric in summary["metrics"].values())
    json.dumps(summary, allow_nan=False)


def test_a_table_that_is_not_what_it_claims_is_refused_with_every_reason():
    cases = binary().assign(score=1.7, truth=3)
    cases.loc[4, "decision"] = np.nan
    with pytest.raises(DataError) as caught:
        summarise(cases, BINARY, 0)
    assert len(caught.value.problems) == 3
    with pytest.raises(DataError, match="column score_1 is missing"):
        summarise(binary(), CLASSES, 0)


def test_the_saved_table_gives_the_same_summary(tmp_path):
    cases = binary()
    cases.to_csv(tmp_path / "cases.csv", index=False)
    again = pd.read_csv(tmp_path / "cases.csv", dtype={"sample_id": str, "patient_id": str})
    assert summarise(again, BINARY, 20) == summarise(cases, BINARY, 20)
