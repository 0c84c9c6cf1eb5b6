"""Labels of whole images from files to metrics: what is measured is what was asked, and mistakes are shown."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn import metrics as theirs

from medloom.data import COLUMNS, open_source
from medloom.data.catalogue import join_labels, join_meta
from medloom.data.metadata import TableEncoding
from medloom.errors import DataError
from medloom.evaluation import evaluate
from medloom.evaluation.labels import Regression
from medloom.evaluation.labels.gallery import worst_first
from medloom.files import read_json, write_bytes
from medloom.imaging import encode_png
from medloom.inference import Predictor, default_point
from medloom.recipe import MetadataConfig, parse_recipe
from medloom.targets import Target
from medloom.transforms import Preprocess

SIZE, COUNT = 16, 60
CLASSES = {"binary": ("healthy", "ill"), "multi-class": ("none", "mild", "severe")}
TARGETS = {"multi-label": ("left", "right"), "regression": ("dose",)}


class Brightness:
    """A runtime that answers with the image's mean grey value and keeps what it was given."""

    name = "brightness"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.tables = []

    def run(self, batch, table=None):
        self.tables.append(table)
        grey = batch.mean(axis=(1, 2, 3)) / 255.0
        if self.kind in ("binary", "regression"):
            return grey[:, None].astype(np.float32)
        if self.kind == "multi-label":
            return np.stack([grey, 1 - grey], axis=1).astype(np.float32)
        weights = np.exp(-8 * np.abs(grey[:, None] - np.array([0.2, 0.5, 0.8])))
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def labels_of_kind(kind: str, grey: float, rng) -> list[float]:
    noisy = grey + rng.normal(0, 0.2)
    if kind == "binary":
        return [int(noisy > 0.5)]
    if kind == "multi-class":
        return [int(np.digitize(noisy, [0.35, 0.65]))]
    return [int(noisy > 0.6), int(noisy < 0.4)] if kind == "multi-label" else [round(noisy, 3)]


def write_set(folder, kind: str) -> pd.DataFrame:
    """Plain grey images of 20 patients, three each, whose label mostly follows from the grey value."""
    rng = np.random.default_rng(4)
    rows = []
    for number in range(COUNT):
        grey = rng.uniform(0.05, 0.95)
        file = f"i{number:02d}.png"
        write_bytes(folder / file, encode_png(np.full((SIZE, SIZE), round(255 * grey), np.uint8)))
        patient = number // 3
        rows.append(
            {
                "sample_id": f"P{patient:03d}-{number % 3:03d}",
                "patient_id": f"P{patient:03d}",
                "image": file,
                "frame": 0,
                "mask": "",
                "height": SIZE,
                "width": SIZE,
                "channels": 1,
                "dtype": "uint8",
                "sha256": "",
                "foreground_px": 0,
                "labels": join_labels(labels_of_kind(kind, grey, rng)),
                "meta": join_meta({"sex": ("f", "m", "")[patient % 3], "age": str(20 + number), "note": "unused"}),
                "split": ("train", "validation", "test", "test")[patient % 4],
                "fold": -1,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture
def measure(tmp_path):
    """Measure a predictor of a kind; the result has the catalogue, the summary and the per-case table."""

    def run(kind="binary", *, change=lambda rows: rows, heatmap=None, tables=(), **settings):
        catalogue = change(write_set(tmp_path / "data", kind))
        named = {"classes": CLASSES[kind]} if kind in CLASSES else {"columns": TARGETS[kind]}
        plain = {
            "name": "grey",
            "target": {"kind": kind, **{key: list(names) for key, names in named.items()}},
            "data": {"layout": "csv", "labels": {"groups": ["sex", "age"]}},
            "preprocess": {"size": [SIZE, SIZE], "normalise": {"method": "none"}},
            "model": {"name": "perceptron"},
            "evaluate": {"bootstrap": 0, **settings},
        }
        recipe = parse_recipe(yaml.safe_dump(plain))
        target = recipe.predicts()
        predictor = Predictor(
            Brightness(kind), Preprocess.of(recipe.preprocess), target, ("grey",),
            point=default_point(target), tables=tables,
        )  # fmt: skip
        seen = []
        with open_source(tmp_path / "data") as source:
            summary = evaluate(
                recipe, catalogue, source, predictor, tmp_path / "run", heatmap=heatmap,
                progress=lambda *counts: seen.append(counts),
            )  # fmt: skip
        assert summary == read_json(tmp_path / "run" / "evaluation" / "summary.json")
        cases = pd.read_csv(tmp_path / "run" / "evaluation" / "cases.csv", dtype={"sample_id": str})
        return catalogue, summary, cases, predictor.runtime, seen

    return run


def shown_in(folder):
    """What the only group of the gallery shows."""
    (group,) = read_json(folder / "gallery.json")["groups"]
    return group["items"]


def scores_in(items):
    """By what the items come, the largest first."""
    return [-item["order"][0] for item in items]


def truth_in(catalogue: pd.DataFrame, cases: pd.DataFrame) -> np.ndarray:
    known = catalogue.set_index("sample_id")["labels"]
    return np.array([json.loads(known[sample]) for sample in cases["sample_id"]])


@pytest.mark.parametrize("kind", ["binary", "multi-class", "multi-label", "regression"])
def test_every_case_of_validation_and_test_has_its_score_and_truth(measure, kind, tmp_path):
    catalogue, _, cases, _, seen = measure(kind)
    rows = catalogue[catalogue["split"] != "train"]
    assert list(cases["sample_id"]) == list(rows["sample_id"])
    assert list(cases["split"]) == list(rows["split"])
    columns = ["truth"] if kind in CLASSES else [name for name in cases if name.startswith("truth")]
    np.testing.assert_allclose(cases[columns].to_numpy(), truth_in(catalogue, cases))
    grey = [np.asarray(Image.open(tmp_path / "data" / name)).mean() / 255 for name in rows["image"]]
    score = {"multi-class": None, "multi-label": "score_0"}.get(kind, "score" if kind == "binary" else None)
    score = score or next(name for name in cases if name.startswith(("score", "predicted")))
    if kind != "multi-class":
        np.testing.assert_allclose(cases[score], grey, atol=1e-6)
    assert seen[-1] == (len(rows), len(rows))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_the_metrics_are_those_of_scikit_learn_on_the_test_cases(measure):
    _, summary, cases, _, _ = measure()
    test, metrics = cases[cases["split"] == "test"], summary["test"]["metrics"]
    assert metrics["roc_auc"]["value"] == pytest.approx(theirs.roc_auc_score(test["truth"], test["score"]))
    assert metrics["average_precision"]["value"] == pytest.approx(
        theirs.average_precision_score(test["truth"], test["score"])
    )
    assert metrics["sensitivity"]["value"] == pytest.approx(theirs.recall_score(test["truth"], test["decision"]))
    assert metrics["f1"]["value"] == pytest.approx(theirs.f1_score(test["truth"], test["decision"]))
    assert {group["value"] for group in summary["test"]["groups"] if group["column"] == "sex"} == {"f", "m", "unknown"}


def test_the_threshold_is_chosen_on_validation_alone(measure):
    def flip_test(rows):
        test = rows["split"] == "test"
        rows.loc[test, "labels"] = [join_labels([1 - json.loads(cell)[0]]) for cell in rows.loc[test, "labels"]]
        return rows

    _, summary, cases, _, _ = measure()
    _, flipped, _, _, _ = measure(change=flip_test)
    assert flipped["operating_point"] == summary["operating_point"]
    assert flipped["test"]["metrics"]["roc_auc"]["value"] == pytest.approx(
        1 - summary["test"]["metrics"]["roc_auc"]["value"]
    )
    (threshold,) = summary["operating_point"]["thresholds"]
    chosen = cases[cases["split"] == "validation"]
    youden = [
        theirs.balanced_accuracy_score(chosen["truth"], chosen["score"] >= at)
        for at in (threshold, *chosen["score"], 0.5)
    ]
    assert youden[0] == pytest.approx(max(youden))
    assert list(cases["decision"]) == list((cases["score"] >= threshold).astype(int))


def test_the_network_is_given_the_encoded_metadata_of_each_image_and_no_other_column(measure):
    config = MetadataConfig(numeric=("age",), categorical=("sex",))
    table = TableEncoding.fit([{"age": "20", "sex": "f"}, {"age": "60", "sex": "m"}], config)
    catalogue, _, cases, runtime, _ = measure(tables=(table,))
    rows = catalogue.set_index("sample_id").loc[cases["sample_id"], "meta"]
    np.testing.assert_array_equal(np.concatenate(runtime.tables), table.encode([json.loads(row) for row in rows]))


def test_the_gallery_shows_the_most_confident_mistakes_with_where_the_network_looked(measure, tmp_path):
    asked = []

    def heatmap(image, table, output):
        asked.append((image.shape, table, output))
        return np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)

    _, _, cases, _, _ = measure(heatmap=heatmap)
    folder = tmp_path / "run" / "evaluation"
    test = cases[(cases["split"] == "test") & (cases["truth"] != cases["decision"])]
    sure = np.where(test["decision"] == 1, test["score"], 1 - test["score"])
    shown = shown_in(folder)
    assert scores_in(shown) == pytest.approx(sorted(sure, reverse=True)[:8])
    for item in shown:
        row = test.set_index("sample_id").loc[item["sample_id"]]
        truth, decision = (CLASSES["binary"][int(row[column])] for column in ("truth", "decision"))
        said = f"true {truth}, decided {decision} of probability {-item['order'][0]:.3f}"
        assert item["caption"] == f"{item['sample_id']}: {said}"
        plain, heated = (np.asarray(Image.open(folder / item[key])) for key in ("file", "heatmap"))
        assert plain.shape == heated.shape == (320, 320, 3)
        change = heated.astype(int) - plain
        assert abs(change[0, 0]).max() <= 2
        assert change[-1, -1, 0] > change[-1, -1, 2]
    assert asked == [((1, 1, SIZE, SIZE), None, 0)] * len(shown)


def test_a_network_without_a_feature_map_has_a_gallery_of_images_alone(measure, tmp_path):
    measure(heatmap=lambda *given: None)
    shown = shown_in(tmp_path / "run" / "evaluation")
    assert shown
    assert not any("heatmap" in item for item in shown)


def test_the_heat_map_of_several_classes_is_that_of_the_class_decided_for(measure):
    asked = []
    _, _, cases, _, _ = measure("multi-class", heatmap=lambda image, table, output: asked.append(output))
    wrong = cases[(cases["split"] == "test") & (cases["truth"] != cases["decision"])]
    scores = wrong[["score_0", "score_1", "score_2"]].max(axis=1)
    order = scores.sort_values(ascending=False, kind="stable").index[:8]
    assert asked == wrong.loc[order, "decision"].tolist()


def test_the_gallery_of_several_labels_shows_each_label_that_was_wrong(measure, tmp_path):
    asked = []
    _, summary, cases, _, _ = measure("multi-label", heatmap=lambda image, table, output: asked.append(output))
    test, sure = cases[cases["split"] == "test"], []
    for index in range(len(summary["target"]["names"])):
        wrong = test[test[f"truth_{index}"] != test[f"decision_{index}"]]
        decided = wrong[f"decision_{index}"] == 1
        sure += np.where(decided, wrong[f"score_{index}"], 1 - wrong[f"score_{index}"]).tolist()
    shown = shown_in(tmp_path / "run" / "evaluation")
    assert shown
    assert scores_in(shown) == pytest.approx(sorted(sure, reverse=True)[:8])
    for item, output in zip(shown, asked, strict=True):
        name = summary["target"]["names"][output]
        ways = (f"true {name}, decided not {name} of", f"true not {name}, decided {name} of")
        assert any(way in item["caption"] for way in ways)


def test_the_gallery_of_numbers_shows_the_largest_errors_with_what_raises_them(measure, tmp_path):
    asked = []

    def heatmap(image, table, output):
        asked.append(output)
        return np.ones((SIZE, SIZE), np.float32)

    catalogue, summary, cases, _, _ = measure("regression", heatmap=heatmap)
    assert summary["test"]["metrics"]
    test = cases[cases["split"] == "test"].set_index("sample_id")
    error = test["score_0"] - test["truth_0"]
    worst = error[error.abs().sort_values(ascending=False, kind="stable").index[:8]]
    folder = tmp_path / "run" / "evaluation"
    shown = shown_in(folder)
    assert [item["sample_id"] for item in shown] == list(worst.index)
    spread = np.std([json.loads(cell)[0] for cell in catalogue["labels"]])
    for item in shown:
        row = test.loc[item["sample_id"]]
        assert scores_in([item]) == pytest.approx([abs(row["score_0"] - row["truth_0"]) / spread])
        said = f"dose true {row['truth_0']:.4g}, predicted {row['score_0']:.4g}, error {worst[item['sample_id']]:+.4g}"
        assert item["caption"] == f"{item['sample_id']}: {said}"
        assert {(folder / item[key]).is_file() for key in ("file", "heatmap")} == {True}
    assert asked == [0] * len(shown)


def test_errors_of_several_numbers_are_compared_by_the_spread_of_each():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, 2)) * [1000.0, 0.01] + [5000.0, 0.0]
    guess = truth + rng.normal(size=(20, 2)) * [300.0, 0.02]
    columns = {f"truth_{i}": truth[:, i] for i in range(2)} | {f"score_{i}": guess[:, i] for i in range(2)}
    table = pd.DataFrame({"sample_id": [f"S{n}" for n in range(20)], **columns})
    chosen = worst_first(Regression(Target("regression", ("volume", "dose"))).errors(table, truth))
    size = np.abs(guess - truth) / truth.std(axis=0)
    order = np.argsort(-size, axis=None)[:8]
    assert list(zip(chosen["sample_id"], chosen["output"], strict=True)) == [(f"S{n // 2}", n % 2) for n in order]
    assert list(chosen["by"]) == pytest.approx(size.flat[order])
    assert [text.split()[0] for text in chosen["caption"]] == [("volume", "dose")[n % 2] for n in order]
    assert all(text.endswith("standard deviations") for text in chosen["caption"])


def test_a_number_that_is_always_the_same_and_found_exactly_is_no_error():
    table = pd.DataFrame({"sample_id": ["S0", "S1"], "truth_0": [0.1, 0.1], "score_0": [0.1, 0.35]})
    chosen = worst_first(Regression(Target("regression", ("dose",))).errors(table, table[["truth_0"]]))
    assert list(chosen["sample_id"]) == ["S1"]
    assert list(chosen["by"]) == pytest.approx([0.25])
    assert chosen["caption"].tolist() == ["dose true 0.1, predicted 0.35, error +0.25"]


def test_a_file_that_cannot_be_read_any_more_is_an_error(measure):
    def lose_one(rows):
        rows.loc[rows["split"] == "test", "image"] = "gone.png"
        return rows

    with pytest.raises(DataError, match=r"gone\.png"):
        measure(change=lose_one)
