"""How good answers are to be expected: learned on validation, measured by the bad cases that a review finds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

from medloom.data import COLUMNS, open_source
from medloom.evaluation import combine, evaluate
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.labels.expected import learned, review_of, with_expected
from medloom.evaluation.quality import Achieved, fit_quality, review_facts
from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.inference import LabelPoint, Predictor, default_point
from medloom.inference.quality import Quality
from medloom.metrics import caught_by_review
from medloom.recipe import MasksRecipe
from medloom.reports.review import review_table
from medloom.targets import Target
from medloom.transforms import Preprocess

SIZE, IMAGES = 16, 240


class Blurred:
    """A network whose foreground probability is the brightness; it sees what is dim as doubtful."""

    name = "blurred"

    def run(self, batch, table=None):
        return np.clip(batch[:, :1] / 255.0, 0.0, 1.0).astype(np.float32)


def write_images(folder):
    """Discs, bright and where the truth is, or dim and mostly elsewhere; every fourth image is empty."""
    folder.mkdir()
    rng, rows = np.random.default_rng(3), []
    places = np.mgrid[:SIZE, :SIZE]
    for number in range(IMAGES):
        patient, dim = number // 4, rng.random() < 0.25
        truth = ((places - np.array([7, 6])[:, None, None]) ** 2).sum(axis=0) <= 9
        truth &= number % 4 != 0
        shown = np.roll(truth, 6, axis=1) if dim and rng.random() < 0.7 else truth
        level = rng.integers(140, 170) if dim else rng.integers(215, 255)
        pixels = np.where(shown, level, rng.integers(0, 20, (SIZE, SIZE))).astype(np.uint8)
        write_bytes(folder / f"i{number}.png", encode_png(pixels))
        write_bytes(folder / f"m{number}.png", encode_png((truth * 255).astype(np.uint8)))
        rows.append(
            {
                **{"sample_id": f"P{patient:03d}-{number % 4}", "patient_id": f"P{patient:03d}", "frame": 0},
                **{"image": f"i{number}.png", "mask": f"m{number}.png", "height": SIZE, "width": SIZE, "channels": 1},
                **{"dtype": "uint8", "sha256": "", "foreground_px": int(truth.sum()), "fold": -1},
                "split": ("validation", "test")[patient % 2],
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def masks_recipe(**evaluate):
    plain = {
        "name": "discs",
        "target": {"kind": "masks", "mask_values": {"background": 0, "lesion": 255}},
        "data": {"layout": "image-mask", "channels": ["grey"]},
        "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
        "evaluate": {"bootstrap": 60, "threshold": 0.5, "min_region_px": 0, **evaluate},
    }
    return MasksRecipe.model_validate(plain)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What an evaluation says of masks, its per-case table, the images, and a predictor as it is served."""
    folder = tmp_path_factory.mktemp("quality")
    catalogue, recipe = write_images(folder / "data"), masks_recipe()
    target = recipe.predicts()
    preprocess = Preprocess.of(recipe.preprocess)
    predictor = Predictor(Blurred(), preprocess, target, ("grey",), point=default_point(target))
    with open_source(folder / "data") as source:
        summary = evaluate(recipe, catalogue, source, predictor, folder / "run")
    cases = pd.read_csv(folder / "run/evaluation/cases.csv")
    fitted = Quality.from_plain(summary["quality"]["fitted"])
    return summary, cases, catalogue, replace(predictor, quality=fitted), folder


def test_masks_that_are_bad_are_expected_to_be(measured):
    summary, cases, *_ = measured
    test = cases[cases["split"] == "test"]
    found, bad = summary["test"]["review"], test["dice"] < 0.5
    assert found["bad"] == bad.sum() > 10
    assert found["cases"] == len(test)
    assert found["caught"]["value"] == pytest.approx(caught_by_review(bad, test["expected"], 0.1)[0])
    assert found["caught"]["low"] > found["random"] == 0.1
    assert found["caught"]["value"] <= found["best"] + 1e-9
    assert found["roc_auc"]["value"] > 0.8
    assert abs(found["expected"]["value"] - found["achieved"]["value"]) < 0.1


def test_about_the_share_of_validation_is_marked_for_review(measured):
    summary, cases, _, predictor, _ = measured
    validation = cases.loc[cases["split"] == "validation", "expected"]
    assert 0.02 < (validation < predictor.quality.review_below).mean() <= 0.1
    assert predictor.quality.share == 0.1
    assert "240" not in summary["quality"]["text"]
    assert "learned on 120 validation cases" in summary["quality"]["text"]


def test_what_was_measured_is_what_the_predictor_says(measured):
    _, cases, catalogue, predictor, folder = measured
    files = catalogue.set_index("sample_id")["image"]
    for case in cases.tail(6).to_dict("records"):
        found = predictor.predict(folder / "data" / files[case["sample_id"]])
        assert found.quality.expected == case["expected"]


def test_the_report_says_what_a_review_finds(measured):
    shown = review_table(measured[0])
    assert shown["rows"][0][1].startswith("0.")
    assert shown["rows"][1] == ["The same number, drawn at random", "0.100"]
    assert "more of the bad cases than chance" in shown["verdict"]
    assert "Dice below 0.5" in shown["more"]


def test_the_whole_of_folds_takes_the_mean_of_what_they_learned(measured):
    *_, folder = measured
    recipe = masks_recipe()
    summary = combine(recipe, [folder / "run", folder / "run"], folder / "whole")
    one = json.loads((folder / "run/evaluation/summary.json").read_text())["quality"]["fitted"]
    found = Quality.from_plain(summary["quality"]["fitted"])
    assert found.names == tuple(one["names"])
    assert found.weights == pytest.approx(one["weights"])
    assert found.review_below == pytest.approx(one["review_below"])
    assert summary["test"]["review"]["cases"] == 120
    assert "each fold" in summary["quality"]["text"]


def test_too_few_cases_teach_nothing_and_the_text_says_why():
    good = Achieved(np.ones(50), np.zeros(50, bool), np.arange(50), "Dice below 0.5")
    found = fit_quality("dice", ("a",), np.arange(50.0)[:, None], good)
    assert found.quality is None
    assert "validation has 50 cases, of which 0 bad" in found.text
    few = Achieved(np.arange(20) / 20, np.arange(20) < 10, np.arange(20), "Dice below 0.5")
    assert fit_quality("dice", ("a",), np.arange(20.0)[:, None], few).quality is None
    assert fit_quality("", (), np.zeros((50, 0)), good).text == ""


def test_an_expectation_that_says_nothing_finds_no_more_than_chance():
    bad = np.arange(200) % 5 == 0
    achieved = Achieved(1.0 - bad, bad, np.arange(200) // 2, "decided wrongly")
    found = review_facts(pd.DataFrame({"expected": np.zeros(200)}), achieved, np.zeros(200), 100)
    assert found["caught"]["value"] == pytest.approx(0.1)
    summary = {"part": "test", "quality": {"text": "learned."}, "test": {"review": found}}
    assert "not shown to find more" in review_table(summary)["verdict"]
    assert review_facts(pd.DataFrame({"truth": bad}), achieved, np.zeros(200), 100) == {}


def label_cases(kind, count=600):
    """A per-case table of answers whose probabilities are right, decided."""
    rng = np.random.default_rng(11)
    x = rng.normal(scale=2.0, size=count)
    table = pd.DataFrame({"sample_id": np.arange(count).astype(str), "patient_id": (np.arange(count) // 3).astype(str)})
    table["split"] = np.where(np.arange(count) // 3 % 2 == 0, "validation", "test")
    if kind == "binary":
        p = expit(x)
        return table.assign(truth=(rng.random(count) < p).astype(int), score=p)
    if kind == "multi-class":
        p = softmax(np.stack([x, -x, rng.normal(size=count)], axis=1), axis=1)
        truth = [int(rng.choice(3, p=row)) for row in p]
        return table.assign(truth=truth, **{f"score_{index}": p[:, index] for index in range(3)})
    columns = {}
    for index, sign in enumerate((1, -1)):
        p = expit(sign * x)
        columns |= {f"score_{index}": p, f"truth_{index}": (rng.random(count) < p).astype(float)}
    columns["truth_1"][::7] = np.nan
    return table.assign(**columns)


@pytest.mark.parametrize(
    ("kind", "names", "thresholds"),
    [
        ("binary", ("well", "ill"), (0.5,)),
        ("multi-class", ("a", "b", "c"), ()),
        ("multi-label", ("left", "right"), (0.5, 0.5)),
    ],
)
def test_decisions_that_are_wrong_are_expected_to_be(kind, names, thresholds):
    family = KINDS[kind](Target(kind, names))
    table = family.decide(label_cases(kind), thresholds)
    certainty, rated = learned(table, family, LabelPoint(thresholds))
    table = with_expected(table, certainty, rated)
    test = table[table["split"] == "test"]
    found = review_of(test, family, 100)
    assert rated.quality.measure == "correct"
    assert found["caught"]["low"] > 0.1
    assert found["expected"]["value"] == pytest.approx(found["achieved"]["value"], abs=0.08)
    achieved = family.achieved(test)
    apart = np.corrcoef(test["expected"], achieved.quality)[0, 1]
    assert apart > 0.15


def test_numbers_do_not_say_how_sure_they_are():
    family = KINDS["regression"](Target("regression", ("mm",)))
    table = pd.DataFrame(
        {"sample_id": ["a"], "patient_id": ["a"], "split": ["validation"], "truth_0": [1.0], "score_0": [2.0]}
    )
    certainty, rated = learned(table.rename(columns={"truth_0": "truth_0"}), family, LabelPoint())
    assert rated.quality is None
    assert rated.text == ""
    assert with_expected(table, certainty, rated) is table
