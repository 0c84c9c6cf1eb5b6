import base64
import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from medloom.evaluation.labels import Binary, MultiClass, MultiLabel, Regression
from medloom.files import write_bytes, write_json, write_text
from medloom.imaging import encode_png
from medloom.reports import write_evaluation_report, write_run_report
from medloom.targets import Target

BINARY = Binary(Target("binary", ("NORMAL", "PNEUMONIA <b>")))
CLASSES = MultiClass(Target("multi-class", ("akiec", "bcc", "mel")))
LABELS = MultiLabel(Target("multi-label", ("effusion", "mass")))
VALUES = Regression(Target("regression", ("age", "dose")))
THRESHOLDS = {"binary": (0.37,), "multi-label": (0.5, 0.25)}


def made_up(labels, n=90, seed=0):
    """A per-case table of validation and test cases."""
    rng = np.random.default_rng(seed)
    patients = [f"P{i:03d}" for i in rng.integers(0, n // 2, n)]
    cases = pd.DataFrame({"sample_id": [f"P-{i:03d}" for i in range(n)], "patient_id": patients})
    cases["split"] = np.where(np.arange(n) % 3 == 0, "validation", "test")
    cases["group_sex"] = rng.choice(["F", "M"], n)
    width = len(labels.score_columns)
    truth = rng.random((n, width)) < 0.4
    score = np.clip(0.3 * truth + 0.7 * rng.random((n, width)), 0, 1)
    if labels is CLASSES:
        cases["truth"] = truth.argmax(1)
        score /= score.sum(1, keepdims=True)
    else:
        for column, name in enumerate(labels.truth_columns):
            cases[name] = truth[:, column].astype(int)
    for column, name in enumerate(labels.score_columns):
        cases[name] = score[:, column]
    return labels.decide(cases, THRESHOLDS.get(labels.target.kind, ()))


def write_evaluation(folder, labels, cases=None, resamples=30, **more):
    cases = made_up(labels) if cases is None else cases
    choice = labels.chosen(THRESHOLDS.get(labels.target.kind, ()), "the best of them", ("a note of the choice",))
    summary = labels.summary(cases, choice, resamples)
    write_json(folder / "summary.json", summary | more)
    write_text(folder / "cases.csv", cases.to_csv(index=False))
    return summary


def write_gallery(folder):
    picture = encode_png(np.zeros((8, 8, 3), np.uint8))
    caption = "P-007: true NORMAL, decided PNEUMONIA <b> of probability 0.987"
    item = {"file": "gallery/P-007.png", "heatmap": "gallery/P-007-heat.png", "caption": caption}
    for name in ("gallery/P-007.png", "gallery/P-007-heat.png"):
        write_bytes(folder / name, picture)
    write_json(folder / "gallery.json", gallery_of(BINARY, item))


def gallery_of(labels, item):
    item |= {"sample_id": "P-007", "order": [-0.5]}
    group = {"name": "worst", "title": labels.title, "most": 8, "items": [item]}
    looks = f"The heat map shows {labels.heat_shows}."
    return {"note": "Test cases.", "heatmaps": looks, "legend": [], "groups": [group]}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    counts = {"patients": 4, "samples": 24, "classes": {"NORMAL": 10, "PNEUMONIA": 14}}
    parts = dict.fromkeys(("train", "validation", "test"), counts)
    write_json(
        folder / "prepare.json",
        {"phantom": False, "target": BINARY.target.plain(), "counts": parts, "warnings": [], "set_aside": []},
    )
    recipe = {"name": "chest", "description": "A trial.", "target": {"kind": "binary"}}
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe))
    line = {"train_loss": 0.5, "val_loss": 0.6, "auc": 0.8, "average_precision": None, "lr": 0.001}
    write_text(folder / "metrics.jsonl", "".join(json.dumps({"epoch": n, **line}) + "\n" for n in (1, 2)))
    write_evaluation(folder / "evaluation", BINARY)
    write_gallery(folder / "evaluation")
    return folder


def test_the_headlines_come_with_interval_number_and_the_constant_answer(page, run_dir, visible):
    test = json.loads((run_dir / "evaluation/summary.json").read_text())["test"]
    metric, text = test["metrics"]["roc_auc"], visible(page)
    assert f"ROC AUC {metric['value']:.3f} {metric['low']:.3f} to {metric['high']:.3f} n = {metric['n']}" in text
    validation = json.loads((run_dir / "evaluation/summary.json").read_text())["validation"]["metrics"]["roc_auc"]
    assert f"to {metric['high']:.3f} {metric['n']} 0.500 {validation['value']:.3f}" in text
    assert "always NORMAL" in text


def test_every_chart_is_there(page):
    alternatives = " ".join(re.findall(r'<img class="chart"[^>]*alt="([^"]*)"', page))
    for words in ("Confusion matrix", "ROC curve", "precision over recall", "Reliability", "threshold", "Loss"):
        assert words in alternatives


def drawings(page):
    """The source of each chart by its alternative text."""
    found = re.findall(r'<img class="chart" src="data:image/svg\+xml;base64,([^"]*)" alt="([^"]*)"', page)
    return {alternative: base64.b64decode(source).decode() for source, alternative in found}


def test_the_monitored_area_is_drawn_over_the_epochs(page):
    curves = [drawing for name, drawing in drawings(page).items() if "Loss" in name]
    assert len(curves) == 3  # one below the other on a phone
    assert [">Areas on validation: ROC AUC<" in one for one in curves] == [False, True, False]
    assert all(">Epoch<" in one for one in curves)


def test_the_operating_point_and_its_notes_are_told(page, visible):
    text = visible(page)
    assert "Rule: the best of them." in text
    assert "0.3700" in text
    assert "a note of the choice" in text


def test_groups_patients_and_classes_of_the_parts_have_tables(page, visible):
    text = visible(page)
    assert "sex: F" in text
    assert "Per patient" in text
    assert "Images NORMAL PNEUMONIA train 4 24 10 14" in text


def test_mistakes_are_shown_with_their_heat_maps(page):
    assert "P-007: true NORMAL, decided PNEUMONIA &lt;b&gt; of probability 0.987" in page
    assert 'alt="Heat map: P-007' in page
    assert "The heat map shows what speaks for PNEUMONIA &lt;b&gt;" in page


def test_the_largest_errors_of_numbers_are_shown_with_what_raises_them(tmp_path, visible):
    write_evaluation(tmp_path, VALUES)
    item = {"file": "gallery/P-003.png", "heatmap": "gallery/P-003.png", "caption": "P-003: dose true 12,346"}
    write_bytes(tmp_path / "gallery/P-003.png", encode_png(np.zeros((8, 8, 3), np.uint8)))
    write_json(tmp_path / "gallery.json", gallery_of(VALUES, item))
    text = visible(write_evaluation_report(tmp_path).read_text())
    assert "Largest errors" in text
    assert "P-003: dose true 12,346" in text
    assert "The heat map shows what raises the predicted number" in text


def test_a_gallery_without_heat_maps_does_not_speak_of_them(tmp_path, visible):
    write_evaluation(tmp_path, BINARY)
    write_gallery(tmp_path)
    gallery = json.loads((tmp_path / "gallery.json").read_text())
    del gallery["groups"][0]["items"][0]["heatmap"]
    write_json(tmp_path / "gallery.json", gallery)
    text = visible(write_evaluation_report(tmp_path).read_text())
    assert "Most confident mistakes" in text
    assert "heat map" not in text


def test_one_image_of_one_patient_is_said_in_the_singular(tmp_path, visible):
    cases = made_up(VALUES)
    write_evaluation(tmp_path, VALUES, pd.concat([cases[cases["split"] == "validation"], cases.iloc[1:2]]))
    assert "Measured on 1 image of 1 patient." in visible(write_evaluation_report(tmp_path).read_text())


def test_classes_with_few_positive_patients_share_one_warning(tmp_path, visible):
    cases = made_up(CLASSES, n=30)
    summary = write_evaluation(tmp_path, CLASSES, cases)
    counts = {name: one["patients"] for name, one in summary["test"]["counts"]["positives"].items()}
    few = ", ".join(f"{name} ({count})" for name, count in counts.items() if count < 10)
    assert few
    assert f"Few test patients are positive for {few}: " in visible(write_evaluation_report(tmp_path).read_text())


def test_names_are_escaped_and_nothing_is_loaded_from_elsewhere(page):
    assert "PNEUMONIA <b>" not in page
    assert not re.findall(r"""src=["'](?!data:)""", page)
    assert "://" not in page


def test_the_same_facts_give_the_same_page(run_dir, page):
    assert write_run_report(run_dir).read_text() == page


@pytest.mark.parametrize("labels", [BINARY, CLASSES, LABELS, VALUES], ids=lambda labels: labels.target.kind)
def test_every_kind_of_target_has_a_page(tmp_path, labels, visible):
    write_evaluation(tmp_path, labels)
    text = visible(write_evaluation_report(tmp_path).read_text())
    assert not re.search(r"\b(nan|None|undefined)\b", text)
    assert "Evaluation report" in text
    for name in labels.target.names if labels is not BINARY else ():
        assert name in text


def test_the_page_of_numbers_does_not_speak_of_probabilities_or_decisions(tmp_path, visible):
    write_evaluation(tmp_path, VALUES)
    text = visible(write_evaluation_report(tmp_path).read_text())
    assert "always the mean." in text
    assert not re.search(r"Operating point|operating point|Rule:|as probability", text)


def test_each_of_several_labels_has_a_confusion_matrix_with_its_counts(tmp_path):
    summary = write_evaluation(tmp_path, LABELS)
    charts = drawings(write_evaluation_report(tmp_path).read_text())
    for name, facts in summary["test"]["per_target"].items():
        (drawing,) = (
            drawing for alternative, drawing in charts.items() if f"Confusion matrix of {name}" in alternative
        )
        assert all(f">{count}<" in drawing for row in facts["confusion"]["matrix"] for count in row)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda cases: cases[:0], "There is no test case"),
        (lambda cases: cases.assign(truth=0), "No test case is positive"),
        (lambda cases: cases.assign(truth=1), "Every test case is positive"),
        (lambda cases: cases.assign(patient_id="P001"), "Only 1 test patient: there are no intervals"),
    ],
)
def test_missing_facts_are_named_and_do_no_harm(tmp_path, change, warning, visible):
    write_evaluation(tmp_path, BINARY, change(made_up(BINARY)))
    text = visible(write_evaluation_report(tmp_path).read_text())
    assert warning in text
    assert not re.search(r"\b(nan|None|undefined)\b", text)


def test_folds_are_shown_beside_the_metrics_of_all(tmp_path, visible):
    metric = {"value": 0.8125, "low": 0.7, "high": 0.9, "n": 10, "patients": 5}
    folds = [
        {"fold": index, "metrics": {"roc_auc": metric}, "operating_point": {"thresholds": []}} for index in range(3)
    ]
    write_evaluation(tmp_path, BINARY, folds=folds)
    text = visible(write_evaluation_report(tmp_path).read_text())
    assert re.findall(r"(\d) 0\.812 \(0\.700 to 0\.900\)", text) == ["1", "2", "3"]  # counted as the command does


def test_the_split_is_said_to_be_the_first_folds_and_each_fold_tells_its_training(run_dir, tmp_path, visible):
    for name in ("prepare.json", "recipe.yaml"):
        write_text(tmp_path / name, (run_dir / name).read_text())
    summary = write_evaluation(
        tmp_path / "evaluation",
        BINARY,
        folds=[{"fold": number, "metrics": {}, "operating_point": {"thresholds": []}} for number in (0, 1)],
    )
    write_json(
        tmp_path / "evaluation/summary.json", {k: v for k, v in summary.items() if k != "validation"} | {"folds": []}
    )
    folds = [{"epochs": 9, "best_epoch": 4}, {"epochs": 7, "best_epoch": 3, "stopped_early": True}]
    write_json(tmp_path / "training.json", {**folds[0], "folds": folds})
    text = visible(write_run_report(tmp_path).read_text())
    assert "Split of the first fold" in text
    assert "Training Fold 1 Fold 2 Epochs 9 7, stopped early Best epoch 4 3" in text
    assert "Constant answer Validation" not in text


def test_the_parts_of_numbers_have_their_mean_and_range(run_dir, tmp_path, visible):
    counts = {"patients": 2, "samples": 4}
    counts["targets"] = {"age": {"mean": 41.25, "std": 9.0, "min": 20.0, "max": 63.5}}
    parts = dict.fromkeys(("train", "validation", "test"), counts)
    write_json(
        tmp_path / "prepare.json",
        {"phantom": False, "target": BINARY.target.plain(), "counts": parts, "warnings": [], "set_aside": []},
    )
    write_text(tmp_path / "recipe.yaml", (run_dir / "recipe.yaml").read_text())
    text = visible(write_run_report(tmp_path).read_text())
    assert "Part Patients Images age: mean (range) train 2 4 41.2 (20 to 63.5)" in text


def test_the_recipe_is_shown_without_where_data_and_weights_are(run_dir, tmp_path):
    write_text(tmp_path / "prepare.json", (run_dir / "prepare.json").read_text())
    recipe = {"name": "chest", "data": {"path": "/home/jane/scans"}}
    recipe |= {"split": {"file": "/home/jane/split.csv"}, "model": {"weights": "/home/jane/start.safetensors"}}
    write_text(tmp_path / "recipe.yaml", yaml.safe_dump(recipe))
    page = write_run_report(tmp_path).read_text()
    assert "jane" not in page
    assert "weights: start.safetensors" in page


def test_a_run_that_was_only_prepared_says_that_nothing_was_measured(run_dir, tmp_path, visible):
    for name in ("prepare.json", "recipe.yaml"):
        write_text(tmp_path / name, (run_dir / name).read_text())
    assert "has not been measured yet" in visible(write_run_report(tmp_path).read_text())
