"""The commands of a run, with the stages themselves replaced by what they would write."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from medloom import pipeline
from medloom.cli.main import main
from medloom.evaluation import FIGURES as MEANINGS
from medloom.files import write_json, write_text

COUNTS = {"patients": 2, "samples": 20, "lesion_samples": 7, "lesion_share": 0.35}
FIGURES = {
    "dice_lesion": {"value": 0.8765, "low": 0.81, "high": 0.93, "n": 7},
    "false_alarm_rate": {"value": None, "low": None, "high": None, "n": 0},
    "patient_dice_lesion": {"value": 0.5, "low": None, "high": None, "n": 2},
    "lesion_sensitivity": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 9},
    "dice_all": {"value": 0.1234, "low": 0.1, "high": 0.2, "n": 20},
}


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """Replace the stages; the result's attributes say what they find."""
    found = SimpleNamespace(phantom=True, set_aside=[], warnings=[], finished=True, calls=[])
    monkeypatch.chdir(tmp_path)

    def prepare(run, data, *, workers=None, progress=None):
        found.calls.append("prepare")
        progress(1, 1)
        counts = dict.fromkeys(("train", "validation", "test"), COUNTS)
        facts = {"phantom": found.phantom, "set_aside": found.set_aside, "warnings": found.warnings, "counts": counts}
        write_json(run.folder / "prepare.json", facts)
        return SimpleNamespace(facts=facts, set_aside=["a.tif: truncated", "b.tif: truncated"][: len(found.set_aside)])

    def train(run, *, progress=False):
        found.calls.append(f"train {run.recipe.train.epochs}")
        facts = {"best_epoch": 3, "epochs": run.recipe.train.epochs, "monitor": "dice_balanced", "best_metric": 0.9}
        write_json(run.folder / "training.json", facts | {"device": "cpu", "precision": "32", "seconds": 9.0})
        return SimpleNamespace(finished=found.finished)

    def evaluate(run, *, progress=None):
        found.calls.append("evaluate")
        return {
            "test": {"figures": FIGURES},
            "meanings": {name: vars(MEANINGS[name]) for name in FIGURES},
            "operating_point": {"threshold": 0.42, "min_lesion_px": 9},
        }

    def package(run):
        found.calls.append("package")
        return run.bundle

    def report(run):
        found.calls.append("report")
        write_text(run.folder / "report.html", "<p>")
        return [run.folder / "report.html"]

    for stage in (prepare, train, evaluate, package, report):
        monkeypatch.setattr(pipeline, stage.__name__, stage)
    (tmp_path / "images").mkdir()
    return found


def test_run_does_every_stage_and_ends_with_what_was_made_the_figures_and_the_next_two_commands(stages, capsys):
    assert main(["run", "brain-mri", "--data", "images", "--set", "train.epochs=4"]) == 0
    assert stages.calls == ["prepare", "train 4", "evaluate", "package", "report"]
    shown = capsys.readouterr().out
    assert "runs/brain-mri/model.tar.gz" in shown
    assert "runs/brain-mri/report.html" in shown
    assert "0.876 (0.810 to 0.930)" in shown
    assert "not defined here" in shown
    assert "from probability 0.42 on, and from 9 pixels on" in shown
    assert shown.rstrip().splitlines()[-2:] == [
        "  medloom predict runs/brain-mri/model.tar.gz IMAGES... -o predictions",
        "  medloom serve runs/brain-mri/model.tar.gz",
    ]


@pytest.mark.parametrize("phantom", [True, False])
def test_run_says_phantom_exactly_when_the_images_are(stages, capsys, phantom):
    stages.phantom = phantom
    assert main(["run", "brain-mri", "--data", "images"]) == 0
    assert ("PHANTOM" in capsys.readouterr().out) is phantom


def test_run_as_json_prints_one_document_on_stdout(stages, capsys):
    assert main(["run", "brain-mri", "--data", "images", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bundle"] == "runs/brain-mri/model.tar.gz"
    assert result["summary"]["test"]["figures"] == FIGURES


def test_inputs_that_were_set_aside_give_exit_code_3_after_the_work_is_done(stages, capsys):
    stages.set_aside = [{"reason": "truncated", "count": 1}] * 2
    assert main(["run", "brain-mri", "--data", "images"]) == 3
    shown = capsys.readouterr()
    assert "2 inputs were set aside" in shown.err
    assert "a.tif: truncated" in shown.err
    assert "Next:" in shown.out


def test_a_training_that_was_asked_to_stop_exits_0_and_nothing_follows(stages, capsys):
    stages.finished = False
    assert main(["run", "brain-mri", "--data", "images"]) == 0
    assert [call.split()[0] for call in stages.calls] == ["prepare", "train"]
    assert "the same command goes on" in capsys.readouterr().err


def test_warnings_of_the_data_are_shown_on_stderr(stages, capsys):
    stages.warnings = ["patients may be shared"]
    assert main(["prepare", "brain-mri", "--data", "images"]) == 0
    shown = capsys.readouterr()
    assert "warning: patients may be shared" in shown.err
    assert "patients may be shared" not in shown.out.replace(json.dumps(stages.warnings), "")


def test_the_stages_can_be_called_one_by_one_by_name_or_folder(stages, capsys):
    assert main(["prepare", "brain-mri", "--data", "images", "--run", "b2"]) == 0
    for command, run in (("train", "b2"), ("evaluate", "runs/b2"), ("package", "b2"), ("report", "b2")):
        assert main([command, run]) == 0
    assert [call.split()[0] for call in stages.calls] == ["prepare", "train", "evaluate", "package", "report"]
    assert "medloom verify runs/b2/model.tar.gz" in capsys.readouterr().out


def test_a_run_is_extended_with_more_epochs_and_remembers_it(stages):
    assert main(["prepare", "brain-mri", "--data", "images"]) == 0
    assert main(["train", "brain-mri", "--set", "train.epochs=77"]) == 0
    assert main(["train", "brain-mri"]) == 0
    assert stages.calls[1:] == ["train 77", "train 77"]


def test_a_run_that_is_not_there_names_those_that_are(stages, capsys):
    main(["prepare", "brain-mri", "--data", "images", "--run", "mine"])
    assert main(["train", "yours"]) == 2
    assert "runs in runs: mine" in capsys.readouterr().err


def test_images_that_are_not_there_leave_no_run_behind(stages, tmp_path):
    assert main(["run", "brain-mri", "--data", "nowhere"]) == 2
    assert main(["run", "image-mask"]) == 2
    assert not (tmp_path / "runs").exists()


def test_kaggle_without_credentials_says_what_to_do(stages, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert main(["data", "get", "brain-mri"]) == 2
    assert "KAGGLE_USERNAME" in capsys.readouterr().err
    assert main(["data", "get", "image-mask"]) == 2
    assert "data.kaggle is empty" in capsys.readouterr().err


def test_phantom_images_are_made_where_asked(tmp_path, capsys):
    folder = tmp_path / "phantoms"
    arguments = ["data", "phantom", str(folder), "--patients", "3", "--size", "32", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["patients"] == 3
    assert len({path.parent for path in folder.rglob("*_mask.tif")}) == 3
    assert main(["data", "phantom", str(folder), "--patients", "2"]) == 2


def test_numbers_are_said_with_their_mean_and_deviation_and_not_as_lesions():
    from medloom.cli.stages import prepared_text

    age = {"mean": 61.25, "std": 8.5, "min": 40.0, "max": 80.0}
    counts = {"patients": 2, "samples": 3, "lesion_samples": 0, "lesion_share": 0.0, "targets": {"age": age}}
    said = prepared_text({"task": "classification", "counts": {"train": counts}})
    assert "age 61.25 ± 8.5" in said
    assert "%" not in said


def test_an_early_stop_is_said():
    from medloom.cli.stages import trained_text

    facts = {"best_epoch": 3, "epochs": 8, "monitor": "auc", "best_metric": 0.5, "device": "cpu", "precision": "32"}
    assert "best epoch 3 of 8, stopped early by auc" in trained_text({**facts, "seconds": 2.0, "stopped_early": True})
    assert "early" not in trained_text({**facts, "seconds": 2.0, "stopped_early": False})


def test_the_operating_point_comes_with_its_notes_and_numbers_have_none():
    from medloom.cli.stages import operating_point_text

    target = {"kind": "binary", "names": ["well", "ill"]}
    point = {"thresholds": [0.25], "notes": ["ill: by this rule every validation case is called positive"]}
    text = operating_point_text({"operating_point": point, "target": target, "rule": "a rule"})
    assert text == (
        "ill from probability 0.25 on: a rule.\nNote: ill: by this rule every validation case is called positive.\n"
    )
    masks = {"operating_point": {"threshold": 0.5, "min_lesion_px": 20}, "notes": ["it costs much Dice"]}
    assert operating_point_text(masks) == (
        "Lesion from probability 0.5 on, and from 20 pixels on.\nNote: it costs much Dice.\n"
    )
    any_size = {"operating_point": {"threshold": 0.5, "min_lesion_px": 0}}
    assert operating_point_text(any_size) == "Lesion from probability 0.5 on.\n"
    numbers = {"operating_point": {"thresholds": []}, "target": {"kind": "real", "names": ["age"]}, "rule": "a rule"}
    assert operating_point_text(numbers) == ""
