"""``evaluate.calibration``: fitted on validation alone, in every figure after it, and said before and after."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from medloom.data import COLUMNS, open_source
from medloom.data.catalogue import join_labels
from medloom.evaluation import combine, evaluate
from medloom.evaluation.calibrate import FEWEST, calibrate_classes, calibrate_questions
from medloom.evaluation.kinds import KINDS
from medloom.files import read_json
from medloom.imaging import encode_png
from medloom.inference import Predictor, default_point
from medloom.inference.calibration import Calibration
from medloom.metrics import calibration_bins, expected_calibration_error
from medloom.recipe import MasksRecipe, parse_recipe
from medloom.targets import Target
from medloom.transforms import Preprocess

NAMES = {"binary": ("well", "ill"), "multi-class": ("none", "mild", "severe"), "multi-label": ("left", "right")}
SIZE = 16


def honest(kind, grey):
    """Logits of each output of what is true of images of this grey value."""
    x = 6.0 * (np.asarray(grey, float) - 0.6)
    if kind == "binary":
        return x[:, None]
    return np.stack([-x, 0 * x, x], axis=1) if kind == "multi-class" else np.stack([x, -x], axis=1)


class Certain:
    """A runtime that is three times as sure as it may be, and sees more positives than there are."""

    name = "certain"

    def __init__(self, kind):
        self.kind = kind

    def run(self, batch, table=None):
        logits = 3.0 * honest(self.kind, batch.mean(axis=(1, 2, 3)) / 255.0) + 1.5
        made = softmax(logits, axis=1) if self.kind == "multi-class" else expit(logits)
        return made.astype(np.float32)


def write_set(folder, kind, count=360):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    greys = rng.integers(0, 256, count)
    logits = honest(kind, greys / 255.0)
    if kind == "multi-class":
        labels = [[int(rng.choice(3, p=softmax(row)))] for row in logits]
    else:
        labels = (rng.random(logits.shape) < expit(logits)).astype(int).tolist()
    rows = []
    for number, (grey, label) in enumerate(zip(greys, labels, strict=True)):
        (folder / f"i{number}.png").write_bytes(encode_png(np.full((SIZE, SIZE), grey, np.uint8)))
        rows.append(
            {
                **{"sample_id": f"P{number // 2:03d}-{number % 2}", "patient_id": f"P{number // 2:03d}"},
                **{"image": f"i{number}.png", "frame": 0, "mask": "", "height": SIZE, "width": SIZE, "channels": 1},
                **{"dtype": "uint8", "sha256": "", "foreground_px": 0, "labels": join_labels(label), "meta": ""},
                **{"split": ("validation", "test")[number // 2 % 2], "fold": -1},
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def measure(folder, kind, calibration="none", change=lambda rows: rows, **settings):
    catalogue = change(write_set(folder / "data", kind))
    key = "columns" if kind == "multi-label" else "classes"
    plain = {
        "name": "grey",
        "target": {"kind": kind, key: list(NAMES[kind])},
        "data": {"layout": "csv"},
        "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
        "model": {"name": "perceptron"},
        "evaluate": {"bootstrap": 40, "calibration": calibration, **settings},
    }
    recipe = parse_recipe(yaml.safe_dump(plain))
    target = recipe.predicts()
    preprocess = Preprocess.of(recipe.preprocess)
    predictor = Predictor(Certain(kind), preprocess, target, ("grey",), point=default_point(target))
    with open_source(folder / "data") as source:
        summary = evaluate(recipe, catalogue, source, predictor, folder / calibration)
    cases = pd.read_csv(folder / calibration / "evaluation" / "cases.csv")
    return summary, cases, replace(predictor, calibration=fitted_in(summary))


def fitted_in(summary):
    fitted = summary["calibration"]["fitted"]
    return None if fitted is None else Calibration.from_plain(fitted)


def error(truth, score):
    return float(expected_calibration_error(truth, score, calibration_bins(score))[0])


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_the_error_of_two_classes_falls_on_test_and_the_order_of_cases_stays(method, tmp_path):
    summary, cases, predictor = measure(tmp_path, "binary", method)
    test = cases[cases["split"] == "test"]
    found = summary["test"]["calibration"]
    before, after = (error(test["truth"], test[name]) for name in ("uncalibrated_score", "score"))
    assert found["before"]["ece"]["value"] == pytest.approx(before)
    assert found["after"]["ece"]["value"] == pytest.approx(after) == summary["test"]["metrics"]["ece"]["value"]
    assert found["change"]["ece"]["value"] == pytest.approx(after - before)
    assert after < (0.75 if method == "temperature" else 0.5) * before
    assert found["change"]["log_loss"]["high"] < 0
    draws = np.random.default_rng(5).random((300, len(test))) < test["score"].to_numpy()
    assert found["chance"] == pytest.approx(np.mean([error(row, test["score"]) for row in draws]), rel=0.1)
    auc = [roc_auc_score(test["truth"], test[name]) for name in ("score", "uncalibrated_score")]
    assert auc[0] == (auc[1] if method != "isotonic" else pytest.approx(auc[1], abs=0.02))
    own = test["uncalibrated_score"].to_numpy(np.float32)[:, None]
    np.testing.assert_array_equal(predictor.calibration(own, "sigmoid")[:, 0], test["score"].to_numpy(np.float32))


def test_what_is_measured_is_what_the_predictor_answers(tmp_path):
    _, cases, predictor = measure(tmp_path, "binary", "platt")
    files = write_set(tmp_path / "data", "binary").set_index("sample_id")["image"]
    for case in cases.head(5).to_dict("records"):
        found = predictor.predict(tmp_path / "data" / files[case["sample_id"]])
        assert found.probabilities[0] == np.float32(case["score"])


def test_only_validation_is_looked_at(tmp_path):
    def turned(rows):
        labels = [
            row if split == "validation" else "[1]" for row, split in zip(rows["labels"], rows["split"], strict=True)
        ]
        return rows.assign(labels=labels)

    first, _, _ = measure(tmp_path / "a", "binary", "platt")
    second, _, _ = measure(tmp_path / "b", "binary", "platt", turned)
    assert first["calibration"] == second["calibration"]


def test_the_threshold_is_chosen_after_the_calibration_and_decides_as_before(tmp_path):
    plain, cases, _ = measure(tmp_path, "binary")
    assert (plain["calibration"], plain["test"]["calibration"]) == ({"fitted": None, "text": ""}, {})
    assert "uncalibrated_score" not in cases
    made, changed, _ = measure(tmp_path, "binary", "platt")
    assert made["operating_point"] != plain["operating_point"]
    validation = cases["split"] == "validation"
    assert (cases["decision"] == changed["decision"])[validation].all()
    assert "temperature" in made["calibration"]["text"]
    assert "shift" in made["calibration"]["text"]


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_the_error_of_several_classes_falls_and_probabilities_add_up(method, tmp_path):
    summary, cases, _ = measure(tmp_path, "multi-class", method)
    found = summary["test"]["calibration"]
    assert found["after"]["ece"]["value"] < 0.5 * found["before"]["ece"]["value"]
    scores = cases[[f"score_{index}" for index in range(3)]].to_numpy()
    assert scores.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert set(found["per_target"]) == set(NAMES["multi-class"])
    if method == "temperature":
        assert len(set(summary["calibration"]["fitted"]["scale"])) == 1
        own = cases[[f"uncalibrated_score_{index}" for index in range(3)]].to_numpy()
        assert (cases["decision"] == own.argmax(axis=1)).all()


def test_each_label_has_its_own_and_one_with_too_few_cases_keeps_its_probabilities(tmp_path):
    def rare(rows):
        labels = [json.dumps([0, json.loads(text)[1]]) for text in rows["labels"]]
        return rows.assign(labels=labels)

    summary, cases, _ = measure(tmp_path, "multi-label", "platt", rare)
    assert (cases["score_0"] == cases["uncalibrated_score_0"]).all()
    assert (cases["score_1"] != cases["uncalibrated_score_1"]).mean() > 0.9
    assert any(note.startswith("left: not calibrated") for note in summary["notes"])
    facts = summary["test"]["calibration"]["per_target"]["right"]
    assert facts["after"]["ece"]["value"] < 0.5 * facts["before"]["ece"]["value"]


@pytest.mark.parametrize("method", list(FEWEST))
def test_too_few_validation_cases_are_said_and_nothing_is_fitted(method):
    cases, least = FEWEST[method]
    rng = np.random.default_rng(0)
    for total, positives in ((cases - 1, least), (cases + 50, least - 1)):
        truth = np.arange(total) < positives
        found = calibrate_questions([("ill", truth, rng.random(total).astype(np.float32))], method)
        assert found.calibration is None
        (note,) = found.notes
        assert f"{method} needs {cases} and {least}" in note
    several = calibrate_classes(("a", "b"), (np.arange(300) < least - 1).astype(int), rng.random((300, 2)), method)
    assert several.calibration is None
    assert several.notes[0].startswith("b: not calibrated")


def test_nobody_calibrates_numbers():
    family = KINDS["regression"](Target("regression", ("dose",)))
    assert family.fit(pd.DataFrame(), None).calibration is None


# Masks


class Sharp:
    """A runtime for masks that is far too sure of what is bright."""

    name = "sharp"

    def run(self, batch, table=None):
        return expit((batch[:, :1] - 100.0) / 8.0).astype(np.float32)


@pytest.fixture
def blurred(tmp_path):
    """Images whose brightness says with which probability a pixel is foreground, and their catalogue."""
    rng = np.random.default_rng(3)
    folder, rows = tmp_path / "data", []
    folder.mkdir()
    for number in range(12):
        grey = rng.integers(0, 200, (SIZE, SIZE)).astype(np.uint8)
        truth = rng.random((SIZE, SIZE)) < expit((grey - 120.0) / 30.0)
        (folder / f"{number}.png").write_bytes(encode_png(grey))
        (folder / f"{number}_mask.png").write_bytes(encode_png((truth * 255).astype(np.uint8)))
        rows.append(
            {
                **{"sample_id": f"P{number:03d}-000", "patient_id": f"P{number:03d}", "image": f"{number}.png"},
                **{"frame": 0, "mask": f"{number}_mask.png", "height": SIZE, "width": SIZE, "channels": 1},
                **{"dtype": "uint8", "sha256": "", "foreground_px": int(truth.sum())},
                **{"split": "validation" if number < 6 else "test", "fold": -1},
            }
        )
    return folder, pd.DataFrame(rows, columns=list(COLUMNS))


def measure_masks(blurred, run, calibration):
    folder, catalogue = blurred
    recipe = MasksRecipe.model_validate(
        {
            "name": "blurred",
            "data": {"layout": "image-mask", "channels": ["grey"]},
            "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
            "evaluate": {"bootstrap": 40, "calibration": calibration},
        }
    )
    target, preprocess = recipe.predicts(), Preprocess.of(recipe.preprocess)
    predictor = Predictor(Sharp(), preprocess, target, ("grey",), point=default_point(target))
    with open_source(folder) as source:
        return evaluate(recipe, catalogue, source, predictor, run), predictor


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_the_error_of_pixels_falls_and_is_that_of_all_of_them(method, blurred, tmp_path):
    summary, predictor = measure_masks(blurred, tmp_path / "run", method)
    found = summary["test"]["calibration"]
    folder, catalogue = blurred
    scores, truths = [], []
    with open_source(folder) as source:
        for row in catalogue[catalogue["split"] == "test"].to_dict("records"):
            for name, to in ((row["image"], scores), (row["mask"], truths)):
                to.append(np.asarray(predictor.decoder(source.read(name)).pixels[..., 0]))
    own = Sharp().run(np.stack(scores)[:, None].astype(np.float32))
    made = fitted_in(summary)(own, "sigmoid")
    truth = (np.stack(truths) == 255).ravel()
    for name, values in (("before", own), ("after", made)):
        assert found[name]["ece"]["value"] == pytest.approx(error(truth, values.ravel()), abs=1e-5)
    assert found["after"]["ece"]["value"] < (0.5 if method == "platt" else 0.75) * found["before"]["ece"]["value"]
    assert found["change"]["ece"]["high"] < 0
    scale = summary["calibration"]["fitted"]["scale"][0]
    assert scale == pytest.approx(8 / 30, rel=0.2 if method == "platt" else 0.5)


def test_masks_without_a_calibration_are_measured_as_before(blurred, tmp_path):
    summary, _ = measure_masks(blurred, tmp_path / "run", "none")
    assert summary["test"]["calibration"] == {}
    assert "calibration_px" not in pd.read_csv(tmp_path / "run" / "evaluation" / "cases.csv")


def test_of_folds_each_has_its_own_and_the_bundle_their_mean(tmp_path):
    folds = [measure(tmp_path / name, "binary", "platt")[0] for name in ("fold-0", "fold-1")]
    second = tmp_path / "fold-1" / "platt" / "evaluation" / "summary.json"
    changed = read_json(second)
    changed["calibration"]["fitted"]["shift"] = [folds[0]["calibration"]["fitted"]["shift"][0] + 1.0]
    second.write_text(json.dumps(changed))
    recipe = parse_recipe(
        yaml.safe_dump(
            {
                "name": "grey",
                "target": {"kind": "binary", "classes": list(NAMES["binary"])},
                "data": {"channels": ["grey"]},
            }
        )
    )
    whole = combine(recipe, [tmp_path / name / "platt" for name in ("fold-0", "fold-1")], tmp_path / "whole")
    first = folds[0]["calibration"]["fitted"]
    assert whole["calibration"]["fitted"]["shift"] == pytest.approx([first["shift"][0] + 0.5], abs=1e-5)
    assert whole["calibration"]["fitted"]["scale"] == pytest.approx(first["scale"], abs=1e-5)
    assert "the bundle calibrates the mean of the folds' networks" in whole["calibration"]["text"]
    assert whole["test"]["calibration"]["change"]["ece"]["value"] < 0


def test_few_positives_are_enough_to_take_back_what_oversampling_added():
    """Three melanomas of 66: the share of positives is right again, and no temperature is made up from three cases."""
    rng = np.random.default_rng(1)
    truth = np.arange(66) < 3
    score = expit(rng.normal(0.0, 0.7, 66) + 1.5 * truth + 0.5).astype(np.float32)
    found = calibrate_questions([("ill", truth, score)], "platt")
    assert found.calibration.scale == (1.0,)
    assert found.calibration(score[:, None], "sigmoid").mean() == pytest.approx(3 / 66, abs=0.02)
    assert score.mean() > 0.5
    assert found.text.startswith("ill shift -")
    more = calibrate_questions([("ill", np.arange(66) < 20, score)], "platt")
    assert more.calibration.scale != (1.0,)
