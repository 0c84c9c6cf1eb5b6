"""The commands of a run, with the stages themselves replaced by what they would write."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from medloom import pipeline
from medloom.cli.main import main
from medloom.cli.texts import prepared_text, trained_text
from medloom.events import Events, FileMade, Progressed, StageBegun, StageEnded, Warned
from medloom.files import write_json, write_text
from medloom.pipeline import whole
from medloom.pipeline.notices import SetAside

COUNTS = {"patients": 2, "samples": 20, "foreground_samples": 7, "foreground_share": 0.35}
METRICS = {
    "dice_foreground": {"value": 0.8765, "low": 0.81, "high": 0.93, "n": 7},
    "false_positive_rate": {"value": None, "low": None, "high": None, "n": 0},
    "patient_dice_foreground": {"value": 0.5, "low": None, "high": None, "n": 2},
    "region_sensitivity": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 9},
    "dice_all": {"value": 0.1234, "low": 0.1, "high": 0.2, "n": 20},
}
SUMMARY = {
    "target": {"kind": "masks", "names": ["background", "lesion"]},
    "operating_point": {"threshold": 0.42, "min_region_px": 9},
    "point_text": "Lesion from probability 0.42 on, and from 9 pixels on.",
    "notes": ["it costs much Dice"],
    "headlines": list(METRICS)[:4],
    "test": {"metrics": METRICS},
    "meanings": {name: {"label": name, "unit": "share"} for name in METRICS},
}


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """Replace the stages; the result's attributes say what they find."""
    found = SimpleNamespace(phantom=True, set_aside=[], warnings=[], finished=True, calls=[], images=[])
    monkeypatch.chdir(tmp_path)

    def prepare(run, images, *, workers=None, events=None):
        found.calls.append("prepare")
        events.emit(StageBegun("prepare", run.folder))
        events.emit(Progressed("prepare", 1, 1))
        counts = dict.fromkeys(("train", "validation", "test"), COUNTS)
        facts = {"phantom": found.phantom, "set_aside": found.set_aside, "warnings": found.warnings, "counts": counts}
        write_json(run.save().folder / "prepare.json", facts)
        lines = ["a.tif: truncated", "b.tif: truncated"][: len(found.set_aside)]
        for event in (*map(SetAside, lines), *map(Warned, found.warnings), StageEnded("prepare", run.folder)):
            events.emit(event)
        return SimpleNamespace(facts=facts, set_aside=lines)

    def train(run, *, images=None, baselines="test", events=None):
        found.calls.append(f"train {run.recipe.train.epochs}")
        found.images.append(images)
        events.emit(StageBegun("train", run.folder))
        facts = {"best_epoch": 3, "epochs": run.recipe.train.epochs, "monitor": "dice_balanced", "best_metric": 0.9}
        facts |= {"device": "cpu", "precision": "32", "seconds": 9.0, "finished": found.finished}
        write_json(run.folder / "training.json", facts)
        events.emit(StageEnded("train", run.folder))
        return SimpleNamespace(finished=found.finished, stop_reason=None if found.finished else "SIGTERM")

    def evaluate(run, *, part="test", images=None, events=None):
        found.calls.append("evaluate")
        found.images.append(images)
        return SUMMARY

    def package(run, *, events=None):
        found.calls.append("package")
        return run.bundle

    def report(run, *, events=None):
        found.calls.append("report")
        write_text(run.folder / "report.html", "<p>")
        (events or Events()).emit(FileMade(run.folder / "report.html"))
        return [run.folder / "report.html"]

    def forecast(run, *, images=None, runs=1, whole=True, events=None):
        return None

    for stage in (forecast, prepare, train, evaluate, package, report):
        monkeypatch.setattr(pipeline, stage.__name__, stage)
        monkeypatch.setattr(whole, stage.__name__, stage)
    (tmp_path / "images").mkdir()
    return found


def test_run_does_every_stage_and_ends_with_what_was_made_the_metrics_and_the_next_two_commands(stages, capsys):
    assert main(["run", "brain-mri", "--data", "images", "--set", "train.epochs=4"]) == 0
    assert stages.calls == ["prepare", "train 4", "evaluate", "package", "report"]
    captured = capsys.readouterr()
    shown = captured.out
    assert "runs/brain-mri/model.tar.gz" in shown
    assert "runs/brain-mri/report.html" in shown
    assert "0.876 (0.810 to 0.930)" in shown
    assert "not defined here" in shown
    assert "dice_all" not in shown
    assert "from probability 0.42 on, and from 9 pixels on.\nNote: it costs much Dice.\n" in shown
    assert shown.rstrip().splitlines()[-2:] == [
        "  medloom predict runs/brain-mri/model.tar.gz IMAGES... -o predictions",
        "  medloom serve runs/brain-mri/model.tar.gz",
    ]
    assert [line for line in captured.err.splitlines() if "/5 " in line] == [
        "1/5 prepare: runs/brain-mri",
        "2/5 train",
    ]  # the other stages are replaced by what says nothing
    assert "7 with foreground (35%)" in captured.err
    assert "best epoch 3 of 4 by dice_balanced 0.9000" in captured.err


@pytest.mark.parametrize("phantom", [True, False])
def test_run_says_phantom_exactly_when_the_images_are(stages, capsys, phantom):
    stages.phantom = phantom
    assert main(["run", "brain-mri", "--data", "images"]) == 0
    assert ("PHANTOM" in capsys.readouterr().out) is phantom


def test_run_as_json_prints_one_document_on_stdout(stages, capsys):
    stages.warnings = ["patients may be shared"]
    assert main(["run", "brain-mri", "--data", "images", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bundle"] == "runs/brain-mri/model.tar.gz"
    assert result["summary"]["test"]["metrics"] == METRICS
    assert result["files"] == ["runs/brain-mri/report.html"]
    assert result["warnings"] == ["patients may be shared"]


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
    assert main(["train", "brain-mri"]) == 0
    assert [call.split()[0] for call in stages.calls] == ["prepare", "train", "train"]
    shown = capsys.readouterr()
    assert shown.err.count("the same command goes on") == 2
    assert "best epoch" not in shown.err
    assert shown.out == ""


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


def test_a_run_may_be_a_folder_anywhere(stages, tmp_path):
    assert main(["run", "brain-mri", "--data", "images", "--run", "elsewhere/mine"]) == 0
    assert main(["prepare", "brain-mri", "--data", "images", "--run", str(tmp_path / "there")]) == 0
    assert main(["report", "elsewhere/mine"]) == 0
    assert (tmp_path / "elsewhere" / "mine" / "recipe.yaml").is_file()
    assert (tmp_path / "there" / "recipe.yaml").is_file()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("folder", ["./images", "./missing/../images"])
def test_a_folder_with_something_else_in_it_is_not_made_a_run(stages, tmp_path, capsys, folder):
    (tmp_path / "images" / "scan.tif").write_bytes(b"")
    assert main(["run", "brain-mri", "--data", "images", "--run", folder]) == 2
    assert not (tmp_path / "missing").exists()
    assert "it is not empty and it is not a run" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["scan.tif"]


def test_a_run_that_has_moved_is_told_where_the_images_are(stages):
    assert main(["prepare", "brain-mri", "--data", "images"]) == 0
    for command in ("train", "evaluate"):
        assert main([command, "brain-mri", "--data", "images"]) == 0
    assert stages.images == ["images", "images"]


def test_where_the_images_are_is_not_kept_in_the_run(stages, tmp_path):
    assert main(["prepare", "brain-mri", "--set", f"data.path={tmp_path}/images"]) == 0
    assert str(tmp_path) not in (tmp_path / "runs" / "brain-mri" / "recipe.yaml").read_text()


def test_a_dry_run_prints_the_request_and_makes_nothing(stages, tmp_path, capsys):
    command = ["run", "brain-mri", "--data", "images", "--run", "mine", "--set", "train.epochs=4"]
    assert main([*command, "--dry-run"]) == 0
    (request,) = json.loads(capsys.readouterr().out)
    words = [
        "run",
        "brain-mri",
        "--run",
        str(tmp_path / "runs" / "mine"),
        "--data",
        "images",
        "--set",
        "train.epochs=4",
    ]
    assert request["command"][-len(words) :] == words
    assert request["inputs"] == [(tmp_path / "images").as_uri()]
    assert request["outputs"] == [(tmp_path / "runs" / "mine").as_uri()]
    assert stages.calls == []
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_folds_prints_a_request_for_each(stages, tmp_path, capsys):
    settings = ["--set", "split.folds=3", "--set", "train.device=cpu"]
    assert main(["run", "brain-mri", "--data", "images", "--dry-run", "--jobs", "2", *settings]) == 0
    requests = json.loads(capsys.readouterr().out)
    assert [request["name"] for request in requests] == ["fold 1/3", "fold 2/3", "fold 3/3"]
    folders = [str(tmp_path / "runs" / "brain-mri" / f"fold-{number}") for number in range(3)]
    assert [request["command"][-2:] for request in requests] == [["fold", folder] for folder in folders]
    assert int(requests[0]["environment"]["OMP_NUM_THREADS"]) >= 1
    assert not (tmp_path / "runs").exists()


def test_a_run_is_extended_with_more_epochs_and_remembers_it(stages):
    assert main(["prepare", "brain-mri", "--data", "images"]) == 0
    assert main(["train", "brain-mri", "--set", "train.epochs=77"]) == 0
    assert main(["train", "brain-mri"]) == 0
    assert stages.calls[1:] == ["train 77", "train 77"]


@pytest.mark.parametrize("command", [["run", "brain-mri", "--data", "images"], ["train", "brain-mri"]])
def test_a_closer_look_at_the_time_is_asked_for_with_an_option(stages, tmp_path, command):
    recipe = tmp_path / "runs" / "brain-mri" / "recipe.yaml"
    assert main(["prepare", "brain-mri", "--data", "images"]) == 0
    assert "profile: light" in recipe.read_text()
    assert main([*command, "--profile"]) == 0
    assert "profile: full" in recipe.read_text()


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


def test_what_each_part_holds_is_said_for_masks_classes_and_numbers():
    age = {"mean": 61.25, "std": 8.5, "min": 40.0, "max": 80.0}
    nobody = dict.fromkeys(age)
    parts = {
        "train": {"patients": 2, "samples": 3, "targets": {"age": age, "weight": nobody}},
        "validation": {"patients": 2, "samples": 3, "classes": {"well": 2, "ill": 1}},
        "test": COUNTS,
    }
    lines = prepared_text({"counts": parts}).splitlines()
    assert [line.split(maxsplit=3)[3] for line in lines] == [
        "truth",
        "age 61.25 ± 8.5",
        "well 2, ill 1",
        "7 with foreground (35%)",
    ]


def test_an_early_stop_is_said():
    facts = {"best_epoch": 3, "epochs": 8, "monitor": "auc", "best_metric": 0.5, "device": "cpu", "precision": "32"}
    assert "best epoch 3 of 8, stopped early by auc" in trained_text({**facts, "seconds": 2.0, "stopped_early": True})
    assert "early" not in trained_text({**facts, "seconds": 2.0, "stopped_early": False})
