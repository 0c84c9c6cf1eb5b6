"""``medloom evaluate BUNDLE --data OTHER``: a finished model on images of another source."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from onnx import numpy_helper
from sklearn.metrics import roc_auc_score

import medloom
from medloom.cli.main import main
from medloom.files import read_json
from medloom.imaging import encode_png
from medloom.inference.calibration import Calibration
from medloom.packaging import read_bundle, verify
from support.bundles import (
    tiny_label_graph,
    tiny_recipe,
    write_tiny_bundle,
    write_tiny_label_bundle,
)

FOLDERS = ("--set", "data.layout=folder-classes", "--set", r"data.labels.patient_pattern=(p\d+)_")
AT_HOME = {
    "test": {
        "roc_auc": {"value": 0.99, "low": 0.97, "high": 1.0, "n": 60},
        "sensitivity": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 30},
        "ece": {"value": 0.05, "low": 0.02, "high": 0.09, "n": 60},
    }
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def other(tmp_path):
    """Sixty images of thirty patients in a folder for each class, which the model mostly gets wrong."""
    rng = np.random.default_rng(2)
    for number in range(60):
        name = ("benign", "malignant")[number // 2 % 2]
        bright = 110 + 25 * (name == "benign") + rng.normal(0, 30)
        pixels = np.clip(rng.normal(bright, 25, (40, 50)), 0, 255).astype(np.uint8)
        (tmp_path / "other" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "other" / name / f"p{number // 2:02d}_{number % 2}.png").write_bytes(encode_png(pixels))
    return tmp_path / "other"


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_label_bundle(tmp_path / "model.tar.gz", thresholds=(0.55,), metrics=AT_HOME)


def evaluate(bundle, other, out, *more):
    return main(["evaluate", str(bundle), "--data", str(other), "-o", str(out), "--resamples", "50", *more])


def test_the_figures_are_those_of_the_bundles_own_answers(bundle, other, tmp_path, capsys):
    before = bundle.read_bytes()
    assert evaluate(bundle, other, tmp_path / "out", *FOLDERS, "--name", "the other hospital") == 0
    summary = read_json(tmp_path / "out" / "summary.json")
    predictor = medloom.load(bundle)
    files = sorted(other.rglob("*.png"))
    found = [predictor.predict(file) for file in files]
    truth = [file.parent.name == "malignant" for file in files]
    scores = [float(one.probabilities[0]) for one in found]
    metrics = summary["test"]["metrics"]
    assert metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, scores))
    decided = np.array([one.decision == ("malignant",) for one in found])
    assert metrics["accuracy"]["value"] == pytest.approx((decided == truth).mean())
    assert metrics["roc_auc"]["patients"] == 30
    one = summary["elsewhere"]["beside"]["roc_auc"]
    assert one["there"] == AT_HOME["test"]["roc_auc"]
    assert one["difference"]["value"] == pytest.approx(metrics["roc_auc"]["value"] - 0.99)
    assert one["difference"]["high"] < 0
    assert bundle.read_bytes() == before
    said = capsys.readouterr()
    assert "ROC AUC is" in said.err
    assert "at home" in said.out
    page = (tmp_path / "out" / "report.html").read_text()
    for text in ("the other hospital", "Here and at home", "Do its probabilities hold here?", "nothing was trained"):
        assert text in page
    assert "Not validated elsewhere" not in page


def test_what_is_calibrated_stays_so_and_is_compared_there(other, tmp_path):
    how = Calibration("platt", (2.0,), (-0.4,))
    made = write_tiny_label_bundle(tmp_path / "c" / "model.tar.gz", metrics=AT_HOME, calibration=how)
    assert evaluate(made, other, tmp_path / "out", *FOLDERS) == 0
    cases = pd.read_csv(tmp_path / "out" / "cases.csv")
    own = cases["uncalibrated_score"].to_numpy(np.float32)[:, None]
    np.testing.assert_array_equal(how(own, "sigmoid")[:, 0], cases["score"].to_numpy(np.float32))
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["test"]["calibration"]["before"]["ece"]["value"] is not None
    assert summary["calibration"]["fitted"] == how.plain()


def test_a_bundle_is_written_anew_with_the_validation_only_when_asked(bundle, other, tmp_path, capsys):
    with read_bundle(bundle) as opened:
        assert opened.manifest.validations == ()
        assert "Not validated elsewhere" in (opened.folder / "MODEL_CARD.md").read_text()
    made = tmp_path / "validated" / "model.tar.gz"
    assert evaluate(bundle, other, tmp_path / "out", *FOLDERS, "--name", "Site B", "--record", str(made)) == 0
    assert verify(made).validations == ("Site B",)
    with read_bundle(made) as opened, read_bundle(bundle) as first:
        (one,) = opened.manifest.validations
        summary = read_json(tmp_path / "out" / "summary.json")
        assert one.metrics["roc_auc"] == summary["test"]["metrics"]["roc_auc"]
        assert one.counts == {"images": 60, "patients": 30}
        card = (opened.folder / "MODEL_CARD.md").read_text()
        assert "Not validated elsewhere" not in card
        assert "Site B: 60 images of 30 patients" in card
        changed = {"validations", "files"}
        assert opened.manifest.model_dump(exclude=changed) == first.manifest.model_dump(exclude=changed)
    image = next(other.rglob("*.png"))
    answers = [medloom.load(path).predict(image).probabilities for path in (made, bundle)]
    np.testing.assert_array_equal(*answers)
    assert evaluate(bundle, other, tmp_path / "out", *FOLDERS, "--record", str(bundle)) == 2
    assert "is the bundle itself" in capsys.readouterr().err


def test_a_recipe_or_the_bundle_says_how_the_images_are_arranged(tmp_path, other, bundle, capsys):
    rows = [f"{file.relative_to(other)},{file.name[:3]},{file.parent.name}" for file in sorted(other.rglob("*.png"))]
    (other / "labels.csv").write_text("\n".join(["image,patient,level", *rows]))
    assert evaluate(bundle, other, tmp_path / "own") == 0  # the bundle learned from a CSV of these columns
    recipe = {
        "name": "mine",
        "target": {"kind": "binary", "classes": ["benign", "malignant"]},
        "data": {"layout": "csv", "labels": {"patient": "patient"}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    assert evaluate(bundle, other, tmp_path / "mine", "--recipe", str(tmp_path / "mine.yaml")) == 0
    own, mine = (read_json(tmp_path / name / "summary.json") for name in ("own", "mine"))
    assert own["test"]["metrics"]["roc_auc"]["value"] == mine["test"]["metrics"]["roc_auc"]["value"]
    assert (own["interval"]["over"], mine["interval"]["over"]) == ("images", "patients")
    assert "No patient is known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--set", "preprocess.size=[16,16]"), "what is done to images is the bundle's"),
        (("--set", "evaluate.threshold=0.9"), "settings here are of target and data"),
        ((*FOLDERS, "--set", "target.classes=[malignant,benign]"), "the bundle predicts benign, malignant"),
        (("--set", "data.layout=folder-classes", "--set", "target.kind=multi-class"), "multi-class"),
        (("--recipe", "nowhere.yaml"), "no recipe file"),
    ],
)
def test_what_would_change_the_model_or_its_classes_is_refused(bundle, other, tmp_path, capsys, more, says):
    assert evaluate(bundle, other, tmp_path / "out", *more) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_folder_with_other_things_is_not_filled_and_images_must_be_named(bundle, other, tmp_path, capsys):
    assert evaluate(bundle, other, tmp_path, *FOLDERS) == 2
    assert main(["evaluate", str(bundle)]) == 2
    assert "--data PATH" in capsys.readouterr().err
    assert main(["evaluate", "--record", "x.tar.gz"]) == 2
    assert "are for a bundle" in capsys.readouterr().err


def test_masks_are_validated_with_the_values_of_the_other_source(tmp_path):
    recipe = tiny_recipe(channels=("grey",))
    made = write_tiny_bundle(
        tmp_path / "model.tar.gz",
        recipe,
        metrics={"test": {"dice_foreground": {"value": 0.9, "low": 0.8, "high": 0.95}}},
    )
    rng = np.random.default_rng(0)
    for number in range(8):
        truth = np.zeros((40, 44), np.uint8)
        truth[8:20, 10:30] = number % 4 > 0
        pixels = np.clip(40 + 180 * truth + rng.normal(0, 8, truth.shape), 0, 255).astype(np.uint8)
        for folder, array in (("images", pixels), ("masks", 200 * truth)):
            (tmp_path / "other" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "other" / folder / f"{number}.png").write_bytes(encode_png(array.astype(np.uint8)))
    values = "target.mask_values={class0: 0, class1: 200}"
    assert evaluate(made, tmp_path / "other", tmp_path / "out", "--set", values) == 0
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["test"]["counts"]["images"] == 8
    assert summary["elsewhere"]["beside"]["dice_foreground"]["there"]["value"] == 0.9
    assert summary["operating_point"] == {"threshold": 0.5, "min_region_px": 4}
    assert (summary["elsewhere"]["heat"], summary["elsewhere"]["recalibration"]) == ({}, {})
    assert "Here and at home" in (tmp_path / "out" / "report.html").read_text()


def test_images_that_look_unlike_those_of_the_training_are_said(bundle, other, tmp_path, capsys):
    from medloom.evaluation.elsewhere.shift import shift_findings

    assert shift_findings({"unlike": 0.5, "described": 60})[0].startswith("50 % of 60 images look unlike")
    assert shift_findings({"unlike": 0.01, "described": 60}) == []
    assert evaluate(bundle, other, tmp_path / "out", *FOLDERS, "--json") == 0
    shift = json.loads(capsys.readouterr().out)["elsewhere"]["shift"]
    assert shift["sizes"]["height"] == {"median": 40.0, "least": 40.0, "most": 40.0}
    assert "features" not in shift  # this bundle does not know how the training images look


def opposite(target, channels, table_features=0):
    """The graph of a model that answers the other way round."""
    model = tiny_label_graph(target, channels, table_features)
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), "w"))
    return model


def test_two_bundles_are_compared_on_the_same_images_elsewhere(bundle, other, tmp_path, capsys):
    """One of them is set aside an image, and calls the others by other pseudonyms: what counts is the image."""
    second = write_tiny_label_bundle(tmp_path / "b" / "model.tar.gz", thresholds=(0.5,), graph=opposite)
    assert evaluate(bundle, other, tmp_path / "first", *FOLDERS) == 0
    next(iter(sorted(other.rglob("*.png")))).unlink()
    assert evaluate(second, other, tmp_path / "second", *FOLDERS) == 0
    folders, out = [str(tmp_path / name) for name in ("first", "second")], tmp_path / "found"
    assert main(["compare", *folders, "-o", str(out)]) == 0
    facts = read_json(out / "comparison.json")
    assert facts["counts"] == {"images": 59, "patients": 30, "left_out": {"first": 1}}
    files = sorted(other.rglob("*.png"))
    truth = [file.parent.name == "malignant" for file in files]
    areas = [
        roc_auc_score(truth, [float(medloom.load(path).predict(file).probabilities[0]) for file in files])
        for path in (bundle, second)
    ]
    assert facts["differences"]["second"]["roc_auc"]["value"] == pytest.approx(areas[1] - areas[0])
    assert facts["areas"]["second"]["p"] is not None
    assert "Measured on images of another source" in (out / "comparison.html").read_text()
    assert "p00" not in (tmp_path / "first" / "samples.csv").read_text()
    capsys.readouterr()
    assert main(["compare", *folders, "--part", "validation", "-o", str(out)]) == 2
    assert "is an external validation, which has no validation patients" in capsys.readouterr().err
    (tmp_path / "first" / "samples.csv").unlink()
    assert main(["compare", *folders, "-o", str(out)]) == 2
    assert "does not say which images it was measured on" in capsys.readouterr().err
