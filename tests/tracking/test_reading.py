"""What trackers may know of a run directory, and what they never do."""

from __future__ import annotations

import json
import math

import pytest
import yaml

from medloom.files import write_json, write_text
from medloom.tracking import Point, is_begun, read_record
from support.tracked import PERSON, line, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "runs" / "one")


def values(record, name):
    return [(point.step, point.value) for point in record.points if point.name == name]


def test_parameters_are_the_resolved_recipe(folder):
    params = read_record(folder).params
    assert params["train.optimizer.lr"] == "0.001"
    assert params["preprocess.size"] == "[32, 32]"
    assert params["target.mask_values.class1"] == "1"
    assert params["train.early_stopping.patience"] == "null"
    assert not any(key.startswith(("tracking", "data.path", "data.origin", "description")) for key in params)


def test_metrics_of_each_epoch_stand_at_its_number_and_time(folder):
    record = read_record(folder)
    assert values(record, "train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    times = [point.when_ms for point in record.points if point.name == "lr"]
    assert [time - record.began_ms for time in times] == [2000, 4000, 6000]
    assert values(record, "nothing") == values(record, "epoch") == []


def test_the_best_metric_is_noted_when_it_improves_and_only_then(folder):
    assert values(read_record(folder), "best/dice_balanced") == [(1, 0.25), (2, 0.75)]


def test_a_metric_that_should_be_small_is_best_when_it_is_smallest(folder):
    plain = yaml.safe_load((folder / "recipe.yaml").read_text())
    plain["train"]["monitor"] = "loss"
    write_text(folder / "recipe.yaml", yaml.safe_dump(plain))
    lines = [{**line(epoch, 0.5), "val_loss": loss} for epoch, loss in enumerate((3.0, 1.0, 2.0), 1)]
    write_text(folder / "metrics.jsonl", "".join(json.dumps(one) + "\n" for one in lines))
    assert values(read_record(folder), "best/val_loss") == [(1, 3.0), (2, 1.0)]


def test_what_was_measured_has_the_ends_of_its_interval_at_the_best_epoch(folder):
    record = read_record(folder)
    assert values(record, "test/dice_foreground") == [(2, 0.5)]
    assert values(record, "test/dice_foreground.low") == [(2, 0.25)]
    assert values(record, "test/dice_foreground.high") == []


def test_the_machines_use_is_read_line_by_line(folder):
    write_text(folder / "system.jsonl", '{"when_ms": 5, "system/cpu": 1.5}\n{"when_ms": 9, "system/cpu": 2.0}\n{"when')
    points = [point for point in read_record(folder).points if point.name.startswith("system")]
    assert points == [Point("system/cpu", 1.5, 0, 5), Point("system/cpu", 2.0, 1, 9)]


def test_a_line_that_is_only_just_being_written_waits_for_the_next_time(folder):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "train_l')
    assert max(point.step for point in read_record(folder).points) == 3


def test_numbers_that_are_none_are_left_out(folder):
    write_json(
        folder / "evaluation" / "summary.json", {"test": {"metrics": {"auc": {"value": None}, "odd": {"value": "x"}}}}
    )
    assert all(math.isfinite(point.value) and not point.name.startswith("test") for point in read_record(folder).points)


def test_no_person_and_no_place_of_this_machine_is_in_what_is_sent(folder, tmp_path):
    record = read_record(folder)
    said = repr([record.name, record.params, record.tags, record.points, record.model, list(record.files)])
    said += "".join(path.read_bytes().decode("latin-1") for path in record.files.values())
    assert PERSON not in said
    assert str(tmp_path) not in said
    assert "/home" not in said
    assert record.params["model.weights"] == "best.pth"
    assert record.params["data.series"] == "(a UID)"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("/data/weights.pth", "weights.pth"),
        ("~/weights.pth", "weights.pth"),
        ("C:\\data\\weights.pth", "weights.pth"),
        ("file:///data/set", "set"),
        ("images/{sample}.png", "images/{sample}.png"),
    ],
)
def test_an_absolute_path_is_sent_as_its_name(folder, given, sent):
    plain = yaml.safe_load((folder / "recipe.yaml").read_text())
    plain["model"] |= {"weights": given, "args": {"files": [given]}}
    write_text(folder / "recipe.yaml", yaml.safe_dump(plain))
    params = read_record(folder).params
    assert (params["model.weights"], json.loads(params["model.args.files"])) == (sent, [sent])


def test_tags_say_what_it_was_made_with(folder):
    tags = read_record(folder).tags
    known = {"git.commit": "abc", "git.changed": "true", "package.numpy": "2.4", "phantom": "true", "kind": "masks"}
    assert {key: tags[key] for key in known} == known


def test_pictures_and_pages_can_be_kept(folder):
    every = {"report.html", "data_report.html", "progress/epoch_0001.png", "progress/epoch_0002.png"}
    facts = {"training.json", "evaluation/summary.json"}
    assert set(read_record(folder).files) == every | facts
    plain = yaml.safe_load((folder / "recipe.yaml").read_text())
    plain["tracking"]["pictures"] = False
    write_text(folder / "recipe.yaml", yaml.safe_dump(plain))
    assert set(read_record(folder).files) == facts


def test_who_a_run_is_moves_with_it(folder):
    before = read_record(folder)
    moved = folder.rename(folder.with_name("elsewhere"))
    after = read_record(moved)
    assert (after.id, after.began_ms, after.name) == (before.id, before.began_ms, "elsewhere")


def test_a_run_that_was_killed_is_stopped_and_one_that_was_only_prepared_is_nothing(tmp_path):
    folder = write_run(tmp_path / "killed", finished=False)
    assert read_record(folder).state == "stopped"
    (folder / "metrics.jsonl").unlink()
    assert not is_begun(folder)
