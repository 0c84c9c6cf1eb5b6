"""Trainings whose time is accounted for: what they compute is the same, and their account goes on."""

from __future__ import annotations

import gzip
import json

import pytest
import torch
from lightning.pytorch import Callback

from medloom.events import BatchEnded, EpochEnded, Events, Stop
from medloom.files import read_json
from medloom.training import fit, train
from medloom.training.batches import HostPixels
from medloom.training.module import TaskModule
from medloom.training.profiling import profile
from medloom.training.profiling.phases import OF_A_STEP
from medloom.transforms.augment import Augment
from support.profiled import FakeClock

STEPS = 3
"""Of an epoch: 22 images in batches of 8."""


@pytest.fixture
def slow(monkeypatch):
    """A clock that stands still, but for what each part of a training takes."""
    clock = FakeClock()
    monkeypatch.setattr(profile, "clock_for", lambda device: clock)
    monkeypatch.setattr(profile, "perf_counter", lambda: clock.now)

    def takes(seconds: float, owner: type, name: str) -> None:
        plain = getattr(owner, name)

        def slowly(*args, **kwargs):
            clock.now += seconds
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, slowly)

    takes(0.25, HostPixels, "take")
    takes(0.5, Augment, "apply")
    takes(1.0, TaskModule, "training_step")
    takes(2.0, TaskModule, "backward")
    takes(4.0, TaskModule, "configure_gradient_clipping")
    takes(8.0, TaskModule, "validation_step")
    monkeypatch.setattr("medloom.training.checkpoint.write_tree", _slowly(clock, 16.0))
    return clock


def _slowly(clock: FakeClock, seconds: float):
    from medloom.training.tree import write_tree

    def write(*args) -> None:
        clock.now += seconds
        write_tree(*args)

    return write


def test_every_second_of_a_training_is_in_its_part(slow, store, catalogue, make_recipe, tmp_path):
    def listen(event) -> None:
        slow.now += 32.0 if isinstance(event, EpochEnded) else 0.0

    train(make_recipe(epochs=2), catalogue, store, tmp_path, events=Events([listen]))
    found = read_json(tmp_path / "profile.json")
    steps, batches = 2 * STEPS - 1, 2 * 2  # the first step is by itself; 9 images are validated, 8 at a time
    best = len(list((tmp_path / "progress").glob("*.png")))
    assert found["seconds"] == {
        "data": 0.25 * steps,
        "transfer": 0.0,
        "augment": 0.5 * steps,
        "forward": 1.0 * steps,
        "backward": 2.0 * steps,
        "optimizer": 4.0 * steps,
        "loop": 0.0,
        "callbacks": 0.0,
        "listeners": 32.0 * 2,
        "profiling": 0.0,
        "validation": (8.0 + 0.25) * batches,
        "checkpoint": 16.0 * 2 + 16.0 * best + 0.25 * best,  # a picture is drawn of a batch
        "start": 7.75,
    }
    assert found["wall_s"] == sum(found["seconds"].values()) == slow.now
    counts = {name: [one[name] for one in found["stretches"]] for name in ("epochs", "steps", "images", "checkpoints")}
    assert counts == {"epochs": [[1, 1], [2, 2]], "steps": [2, 3], "images": [14, 22], "checkpoints": [1, 1]}
    assert sum(one["batches"] for one in found["stretches"]) == 2 * STEPS


def test_callbacks_of_others_have_a_part_of_their_own(slow, store, catalogue, make_recipe, tmp_path, monkeypatch):
    class Other(Callback):
        def on_after_backward(self, trainer, pl_module) -> None:
            slow.now += 100.0

    build = fit.build_trainer
    monkeypatch.setattr(fit, "build_trainer", lambda job, *given, **rest: build(job, *given, Other(), **rest))
    train(make_recipe(epochs=1), catalogue, store, tmp_path)
    seconds = read_json(tmp_path / "profile.json")["seconds"]
    assert (seconds["callbacks"], seconds["start"]) == (200.0, 107.75)
    assert seconds["backward"] == 2 * 2.0


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    return {}


@pytest.fixture
def trained(levels, one_thread, store, catalogue, make_recipe, tmp_path_factory):
    """A training with each kind of account, once."""
    if not levels:
        for level in ("none", "light", "full"):
            folder = tmp_path_factory.mktemp(level)
            recipe = make_recipe(epochs=2, batch_size=4, profile=level, averaging="ema", checkpoint_minutes=1e-9)
            train(recipe, catalogue, store, folder)
            levels[level] = folder
    return levels


def test_the_weights_are_the_same_to_the_last_bit(trained):
    for name in ("best.safetensors", "metrics.jsonl"):
        found = {level: _result(folder, name) for level, folder in trained.items()}
        assert found["light"] == found["full"] == found["none"], name


def _result(folder, name):
    if name.endswith("jsonl"):
        lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    return (folder / "checkpoints" / name).read_bytes()


def test_without_an_account_there_is_none(trained):
    folder = trained["none"]
    assert not (folder / "profile.json").exists()
    assert not (folder / "profile").exists()
    assert not (trained["light"] / "profile").exists()


def test_by_the_clock_of_the_machine_the_parts_add_up_to_the_whole(trained):
    for level in ("light", "full"):
        found = read_json(trained[level] / "profile.json")
        assert sum(found["seconds"].values()) == pytest.approx(found["wall_s"], rel=0.1, abs=0.2)
        parts = [part for part in ("data", "augment", "forward", "backward", "optimizer") if found["seconds"][part] > 0]
        assert len(parts) == 5
        assert found["seconds"]["checkpoint"] > 0
    light = read_json(trained["light"] / "profile.json")
    assert light["steps"] == 2 * 6 - 1
    assert light["sessions"][0]["store"] == "mapped"
    assert [one["epochs"] for one in light["stretches"]] == [[1, 2]]
    assert light["stretches"][0]["checkpoints"] == 2 * 6  # one after each step but the last, and one after each epoch


def test_operators_of_a_few_steps_and_a_trace_are_beside_the_run(trained):
    folder = trained["full"]
    found = read_json(folder / "profile.json")
    assert found["trace"] == "profile/trace.json.gz"
    assert any("convolution" in one["name"] or "conv2d" in one["name"] for one in found["operators"])
    shares = [one["share"] for one in found["operators"]]
    assert shares == sorted(shares, reverse=True)
    assert 0.3 < sum(shares) <= 1.0
    trace = json.loads(gzip.decompress((folder / "profile/trace.json.gz").read_bytes()))
    names = {event["name"] for event in trace["traceEvents"]}
    assert {"augment", "forward", "backward", "optimizer"} <= names
    assert not {"host_name", "traceName"} & set(trace)
    assert str(folder) not in json.dumps(trace)


def test_an_account_goes_on_where_the_training_does(store, catalogue, make_recipe, tmp_path):
    train(make_recipe(epochs=1), catalogue, store, tmp_path)
    first = read_json(tmp_path / "profile.json")
    heard = Events([lambda event: Stop("enough") if isinstance(event, BatchEnded) and event.epoch == 2 else None])
    stopped = train(make_recipe(epochs=3), catalogue, store, tmp_path, events=heard)
    assert stopped.stop_reason == "enough"
    second = read_json(tmp_path / "profile.json")
    train(make_recipe(epochs=3), catalogue, store, tmp_path)
    third = read_json(tmp_path / "profile.json")
    assert [len(one["sessions"]) for one in (first, second, third)] == [1, 2, 3]
    assert [one["session"] for one in third["stretches"]] == [0, 1, 2]
    assert first["wall_s"] < second["wall_s"] < third["wall_s"]
    assert third["stretches"][:2] == second["stretches"]
    assert third["seconds"]["forward"] == pytest.approx(
        sum(s["seconds"]["forward"] for s in third["stretches"]), abs=1e-3
    )


def test_a_damaged_account_begins_anew_and_one_that_cannot_be_written_harms_nothing(
    store, catalogue, make_recipe, tmp_path
):
    train(make_recipe(epochs=1), catalogue, store, tmp_path)
    (tmp_path / "profile.json").write_text('{"level": ')
    train(make_recipe(epochs=2), catalogue, store, tmp_path)
    assert len(read_json(tmp_path / "profile.json")["sessions"]) == 1
    (tmp_path / "profile.json").unlink()
    (tmp_path / "profile.json").mkdir()
    assert train(make_recipe(epochs=3), catalogue, store, tmp_path).finished


@pytest.mark.slow
def test_of_several_processes_the_first_keeps_the_account(store, catalogue, make_recipe, tmp_path):
    train(make_recipe(epochs=2, devices=2), catalogue, store, tmp_path)
    found = read_json(tmp_path / "profile.json")
    assert found["sessions"][0]["processes"] == 2
    assert sum(found["seconds"].values()) == pytest.approx(found["wall_s"], rel=0.1, abs=0.2)
    assert found["stretches"][0]["images"] == 2 * 22 - 8  # of all of them
    assert all(part in found["seconds"] for part in OF_A_STEP[:6])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_its_own_clock_adds_up(store, catalogue, make_recipe, tmp_path):
    train(make_recipe(epochs=3, device="cuda"), catalogue, store, tmp_path)
    found = read_json(tmp_path / "profile.json")
    assert sum(found["seconds"].values()) == pytest.approx(found["wall_s"], rel=0.1, abs=0.2)
    assert found["stretches"][0]["gpu"]["peak_bytes"] > 0
