"""Cross-validation from images to one bundle, and on from where it was interrupted."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import medloom
from medloom import pipeline
from medloom.cli.main import main
from medloom.data import open_source, read_catalogue
from medloom.errors import RecipeError
from medloom.evaluation.folds import notes_of_folds
from medloom.evaluation.labels.groups import groups
from medloom.evaluation.parts import ENSEMBLE_NOT_MEASURED
from medloom.evaluation.tables import read_cases
from medloom.files import read_json, sha256_file, write_text
from medloom.pipeline import Run, folds

FOLDS = 3
TINY = [
    f"split.folds={FOLDS}",
    "data.phantom.patients=12",
    "data.phantom.size=32",
    "data.phantom.slices=[3, 4]",
    "data.phantom.prevalence=0.4",
    "preprocess.size=[32, 32]",
    "preprocess.crop=null",
    "model.name=perceptron",
    "train.epochs=2",
    "train.device=cpu",
    "train.precision=32",
    "evaluate.bootstrap=20",
]
COMMAND = ["run", "melanoma", "--json", *(word for setting in TINY for word in ("--set", setting))]


@dataclass
class Crossed:
    """A cross-validation that was interrupted while its second fold was measured, and then finished."""

    folder: Path
    code: int
    trained: list[tuple[str, int]] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    interrupted: dict[str, str] = field(default_factory=dict)

    def fold(self, number: int) -> Run:
        return Run.open(self.folder / f"fold-{number}")

    def hashes(self) -> dict[str, str]:
        """What each file of weights and metrics of the folds holds."""
        names = ("checkpoints/*", "metrics.jsonl", "evaluation/summary.json")
        files = [path for name in names for path in self.folder.glob(f"fold-*/{name}")]
        return {path.relative_to(self.folder).as_posix(): sha256_file(path) for path in files}


@pytest.fixture(scope="module")
def crossed(place):
    patch = pytest.MonkeyPatch()
    train, evaluate = folds.train, folds.evaluate
    found = Crossed(place / "runs" / "melanoma", 0)

    def counted_train(run, **options):
        before = run.folder / "metrics.jsonl"
        epochs = len(before.read_text().splitlines()) if before.exists() else 0
        result = train(run, **options)
        found.trained.append((run.folder.name, result.epochs_done - epochs))
        return result

    def counted_evaluate(run, **options):
        found.measured.append(run.folder.name)
        if found.measured == ["fold-0", "fold-1"]:
            raise KeyboardInterrupt
        return evaluate(run, **options)

    patch.setattr(folds, "train", counted_train)
    patch.setattr(folds, "evaluate", counted_evaluate)
    with patch.context():
        assert main(COMMAND) == 130
        found.interrupted = found.hashes()
        found.code = main(COMMAND)
    patch.undo()
    return found


def test_an_interrupted_cross_validation_goes_on_where_it_stopped(crossed):
    assert crossed.code == 0
    assert crossed.trained == [("fold-0", 2), ("fold-1", 2), ("fold-1", 0), ("fold-2", 2)]
    assert crossed.measured == ["fold-0", "fold-1", "fold-1", "fold-2"]
    now = crossed.hashes()
    crossed.interrupted.pop("fold-0/checkpoints/previous.safetensors")  # which a finished run does not need
    assert "fold-1/checkpoints/best.safetensors" in crossed.interrupted
    assert {name: now[name] for name in crossed.interrupted if name.startswith("fold-0")} == {
        name: content for name, content in crossed.interrupted.items() if name.startswith("fold-0")
    }


def test_every_patient_is_tested_exactly_once_by_a_fold_that_never_saw_that_patient(crossed):
    tested = []
    for number in range(FOLDS):
        assert crossed.fold(number).recipe.split.fold == number
        rows = read_catalogue(crossed.folder / f"fold-{number}" / "catalogue.csv")
        patients = {split: set(part["patient_id"]) for split, part in rows.groupby("split")}
        assert not patients["test"] & (patients["train"] | patients["validation"])
        assert not patients["train"] & patients["validation"]
        tested += sorted(patients["test"])
    assert sorted(tested) == sorted(set(rows["patient_id"]))
    cases = pd.read_csv(crossed.folder / "evaluation" / "cases.csv")
    assert sorted(cases["sample_id"]) == sorted(rows["sample_id"])


def test_the_metrics_are_those_of_the_test_cases_of_all_folds(crossed):
    cases = pd.read_csv(crossed.folder / "evaluation" / "cases.csv")
    summary = read_json(crossed.folder / "evaluation" / "summary.json")
    expected = roc_auc_score(cases["truth"], cases["score"])
    assert summary["test"]["metrics"]["roc_auc"]["value"] == pytest.approx(expected)
    assert [fold["fold"] for fold in summary["folds"]] == list(range(FOLDS))
    limits, page = [], (crossed.folder / "report.html").read_text()
    for number in range(FOLDS):
        own = read_json(crossed.folder / f"fold-{number}" / "evaluation" / "summary.json")
        limits.append(own["operating_point"]["thresholds"][0])
        part = cases[cases["fold"] == number]
        assert list(part["decision"]) == list((part["score"] >= limits[-1]).astype(int))
        assert summary["folds"][number]["metrics"] == own["test"]["metrics"]
        rows = read_catalogue(crossed.folder / f"fold-{number}" / "catalogue.csv")
        learned = rows[rows["split"] == "train"]
        counts = {"patients": learned["patient_id"].nunique(), "samples": len(learned)}
        assert summary["folds"][number]["learned_from"] == counts
        assert len(learned) > 0.4 * len(rows)
        assert f"{counts['patients']} patients, {counts['samples']} images" in page
    assert summary["operating_point"]["thresholds"] == [pytest.approx(np.mean(limits), abs=1e-5)]


def test_the_bundle_answers_with_the_mean_of_the_folds_each_with_its_own_encoding_of_the_metadata(crossed):
    bundles = [pipeline.package(crossed.fold(number)) for number in range(FOLDS)]
    assert len({(crossed.folder / f"fold-{number}" / "table.json").read_text() for number in range(FOLDS)}) == FOLDS
    whole, parts = medloom.load(crossed.folder / "model.tar.gz"), [medloom.load(path) for path in bundles]
    rows = read_catalogue(crossed.folder / "catalogue.csv")
    people = [
        {},
        {"age_approx": 70, "sex": "male", "anatom_site_general_challenge": "torso"},
        {"age_approx": "", "sex": "female", "anatom_site_general_challenge": "never seen"},
    ]
    answers = []
    with open_source(pipeline.find_images(Run.open(crossed.folder))) as source:
        for person, file in zip(people, rows["image"], strict=False):
            image = source.read(file)
            expected = np.mean([part.predict(image, metadata=person).scores for part in parts], axis=0)
            answers.append(whole.predict(image, metadata=person).scores)
            np.testing.assert_allclose(answers[-1], expected, atol=2e-6)
    assert len(set(answers)) == len(people)


def test_the_gallery_of_the_whole_holds_the_most_confident_mistakes_of_all_folds(crossed):
    galleries = [read_json(crossed.fold(number).folder / "evaluation/gallery.json") for number in range(FOLDS)]
    items = [[item for group in gallery["groups"] for item in group["items"]] for gallery in galleries]
    orders = sorted(item["order"] for found in items for item in found)
    (shown,) = read_json(crossed.folder / "evaluation/gallery.json")["groups"]
    assert [item["order"] for item in shown["items"]] == orders[: shown["most"]]
    assert all((crossed.folder / "evaluation" / item["file"]).is_file() for item in shown["items"])
    assert {item["sample_id"] for item in shown["items"]} - {item["sample_id"] for item in items[0]}


@pytest.mark.parametrize("page", ["report.html", "data_report.html"])
def test_the_pages_of_the_whole_are_written_and_say_phantom(crossed, page):
    assert "phantom" in (crossed.folder / page).read_text().lower()


def test_the_bundle_of_the_whole_verifies_itself_and_says_how_it_was_measured(crossed, capsys):
    assert main(["verify", str(crossed.folder / "model.tar.gz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    summary = read_json(crossed.folder / "evaluation" / "summary.json")
    assert "each fold has its own" in summary["rule"]
    with tarfile.open(crossed.folder / "model.tar.gz") as archive:
        measured = json.load(archive.extractfile("bundle.json"))["measured"]
    assert measured == {"part": "folds", "runtime": "onnx", "precision": "fp32", "note": ENSEMBLE_NOT_MEASURED}
    assert summary["measured_with"] == {"runtime": "onnx", "precision": "fp32"}
    page = (crossed.folder / "report.html").read_text()
    assert ENSEMBLE_NOT_MEASURED in page
    assert "The test part of each fold was opened" in page


def test_a_fold_is_left_alone_until_something_of_its_recipe_changes(crossed):
    whole = Run.open(crossed.folder)
    assert [pipeline.is_measured(fold) for fold in pipeline.fold_runs(whole)] == [True] * FOLDS
    for key, value in (("evaluate", {"views": 2}), ("train", {"epochs": 3})):
        section = getattr(whole.recipe, key).model_copy(update=value)
        changed = whole.recipe.model_copy(update={key: section})
        parts = pipeline.fold_runs(Run(whole.folder, changed))
        assert [pipeline.is_measured(fold) for fold in parts] == [False] * FOLDS
    pipeline.fold_runs(whole)


@pytest.mark.parametrize("stage", [lambda run: pipeline.prepare(run, run.folder), pipeline.train])
def test_a_stage_alone_does_one_fold_and_asks_which(make_recipe, tmp_path, stage):
    run = Run.start(make_recipe(split={"folds": 3}), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"`medloom run` does every fold .* split\.fold=0"):
        stage(run)
    assert [path.name for path in run.folder.iterdir()] == ["recipe.yaml"]


def test_groups_are_called_over_the_folds_as_in_each_of_them(tmp_path):
    lines = ["sample_id,patient_id,split,truth,score,group_skin", "007,01,test,1,0.5,1", "008,01,test,0,0.25,NA"]
    lines += ["009,02,test,0,0.125,"]
    write_text(tmp_path / "cases.csv", "\n".join(lines) + "\n")
    cases = read_cases(tmp_path / "cases.csv")
    assert [label for _, label, _ in groups(cases)] == ["NA", "1", "unknown"]
    assert list(cases["sample_id"]) == ["007", "008", "009"]
    assert list(cases["score"]) == [0.5, 0.25, 0.125]


def test_the_whole_and_its_report_have_the_notes_and_thresholds_of_every_fold(crossed):
    summary = read_json(crossed.folder / "evaluation" / "summary.json")
    own = [read_json(crossed.fold(number).folder / "evaluation" / "summary.json") for number in range(FOLDS)]
    points = [one["operating_point"] for one in own]
    assert [fold["operating_point"] for fold in summary["folds"]] == points
    assert tuple(summary["notes"]) == notes_of_folds([one["notes"] for one in own])
    page = (crossed.folder / "report.html").read_text()
    assert all(f"{point['thresholds'][0]:.3f}" in page for point in points)
    assert all(note in page for note in summary["notes"])


@pytest.mark.slow
def test_segmentation_is_cross_validated_too(place, capsys):
    tiny = [
        f"split.folds={FOLDS}",
        "data.phantom.patients=6",
        "data.phantom.size=32",
        "data.phantom.slices=[4, 5]",
        "preprocess.size=[32, 32]",
        "model.args={channels: [4, 8], num_res_units: 1}",
        "train.epochs=1",
        "train.device=cpu",
        "evaluate.bootstrap=20",
    ]
    assert main(["run", "brain-mri-small", "--json", *(word for one in tiny for word in ("--set", one))]) == 0
    made = json.loads(capsys.readouterr().out)
    folder = Path(made["run"])
    rows = read_catalogue(folder / "catalogue.csv")
    cases = pd.read_csv(folder / "evaluation" / "cases.csv")
    assert sorted(cases["sample_id"]) == sorted(rows["sample_id"])
    bundles = [pipeline.package(Run.open(folder / f"fold-{number}")) for number in range(FOLDS)]
    whole, parts = medloom.load(made["bundle"]), [medloom.load(path) for path in bundles]
    with open_source(pipeline.find_images(Run.open(folder))) as source:
        image = source.read(rows["image"][0])
    expected = np.mean([part.predict(image).probabilities for part in parts], axis=0)
    np.testing.assert_allclose(whole.predict(image).probabilities, expected, atol=2e-6)
    assert main(["verify", made["bundle"]]) == 0
    worst = read_json(folder / "evaluation/gallery.json")["groups"][0]["items"]
    dice = cases.set_index("sample_id")["dice"]
    assert [dice[item["sample_id"]] for item in worst] == dice.sort_values().tolist()[:3]
    assert all((folder / "evaluation" / item["file"]).is_file() for item in worst)
    summary, page = read_json(folder / "evaluation/summary.json"), (folder / "report.html").read_text()
    own = [read_json(folder / f"fold-{number}/evaluation/summary.json") for number in range(FOLDS)]
    assert tuple(summary["notes"]) == notes_of_folds([one["notes"] for one in own])
    assert [fold["operating_point"] for fold in summary["folds"]] == [one["operating_point"] for one in own]
    patients = pd.read_csv(folder / "evaluation/patients.csv")
    assert sorted(patients["patient_id"]) == sorted(set(rows["patient_id"]))
    for title in ("Folds", "Test patients"):
        assert f"<h2>{title}</h2>" in page
