"""A run that is killed or stopped, in processes of its own, ends like one that was left alone."""

from __future__ import annotations

import json
import multiprocessing
import random
import runpy
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from medloom.training.checkpoint import BEST, LAST
from medloom.training.tree import read_tree

CHILD = str(Path(__file__).with_name("child.py"))
STEP = ("medloom.training.module:TaskModule", "optimizer_step")
VALIDATION = ("medloom.training.module:TaskModule", "validation_step")
WRITE = ("medloom.training.tree", "save_file")
FLUSH = ("os", "fsync")
RENAME = ("pathlib:Path", "replace")
APPEND = ("medloom.training.keeper", "_append")
ALL = [STEP, VALIDATION, WRITE, FLUSH, RENAME, APPEND]

LABELS = {
    "perceptron": {"averaging": "ema"},
    "thawed": {  # one block more with each epoch, batch norms, dropout, a table beside, rare classes drawn more often
        "model": {
            "name": "test_efficientnet",
            "tune": "blocks",
            "blocks": 2,
            "unfreeze_every": 1,
            "backbone_rate": 0.3,
            "dropout": 0.2,
            "metadata": "fused",
        },
        "loss": {"name": "cross-entropy", "args": {"class_weights": "balanced", "label_smoothing": 0.05}},
        "averaging": "ema",
        "positive_share": 0.6,
    },
}
"""What a training on labels is; there are five steps in an epoch."""


@pytest.fixture(scope="session")
def processes():
    """Processes forked from one that has imported everything; see ``tests/conftest.py``."""
    return multiprocessing.get_context("forkserver")


@pytest.fixture
def run(processes, store, catalogue, make_recipe, labelled, make_label_recipe):
    """Run a training in its own process; returns the exit code. With ``labels`` it learns these from pictures."""

    def start(run_dir, fault=None, *, labels=None, **train) -> int:
        recipe = make_recipe(**train) if labels is None else make_label_recipe(**{**LABELS[labels], **train})
        fused = labels is not None and recipe.model.metadata != "none"
        job = {
            "store": str((store if labels is None else labelled.store).path),
            "catalogue": catalogue if labels is None else labelled.catalogue(),
            "run_dir": str(run_dir),
            "recipe": recipe.plain(),
            "tables": labelled.tables if fused else None,
            "fault": fault,
        }
        child = processes.Process(target=runpy.run_path, args=(CHILD,), kwargs={"init_globals": {"job": job}})
        child.start()
        child.join(60)
        return child.exitcode

    return start


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    return {}


@pytest.fixture
def reference(run, undisturbed, tmp_path_factory):
    """The same training without any disturbance, done once for each setting."""

    def get(**train) -> Path:
        key = json.dumps(train, sort_keys=True)
        if key not in undisturbed:
            undisturbed[key] = tmp_path_factory.mktemp("undisturbed")
            assert run(undisturbed[key], **train) == 0
        return undisturbed[key]

    return get


def outcome(run_dir: Path) -> tuple:
    """Everything a run ends with, without the times."""
    last, best = read_tree(run_dir / LAST), read_tree(run_dir / BEST)
    last["run"].pop("epoch_seconds")
    last["run"]["ledger"].pop("train_seconds")
    for line in last["run"]["ledger"]["lines"]:
        line.pop("seconds")
    lines = [json.loads(text) for text in (run_dir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
    pictures = {path.name: path.read_bytes() for path in (run_dir / "progress").glob("*")}
    return last, best, lines, pictures


def assert_same(one, other, where="") -> None:
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)), where
    else:
        assert one == other or (one != one and other != other), where


def finish(run, run_dir, **train) -> None:
    for _ in range(3):
        assert run(run_dir, **train) == 0
        if (run_dir / "result").read_text().startswith("True"):
            return
    raise AssertionError("the run never finished")


EVERY_STEP = {"checkpoint_minutes": 1e-9}


@pytest.mark.parametrize(
    ("fault", "train"),
    [
        ([*STEP, 2, "after"], {}),
        ([*STEP, 5, "before"], {}),
        ([*STEP, 5, "after"], EVERY_STEP),
        ([*VALIDATION, 3, "before"], EVERY_STEP),
        ([*WRITE, 4, "before"], {}),
        ([*FLUSH, 8, "after"], EVERY_STEP),
        ([*RENAME, 9, "before"], EVERY_STEP),
        ([*RENAME, 10, "after"], EVERY_STEP),
        ([*APPEND, 2, "after"], {}),
    ],
    ids=lambda value: "-".join(map(str, value[1:])) if isinstance(value, list) else "every-step" * bool(value),
)
def test_a_killed_run_continues_to_the_same_bits(run, reference, tmp_path, fault, train):
    expected = outcome(reference())
    assert run(tmp_path, [*fault, "SIGKILL"], **train) == -signal.SIGKILL
    finish(run, tmp_path, **train)
    assert_same(outcome(tmp_path), expected)


@pytest.mark.parametrize(
    "train",
    [
        {"averaging": "ema"},
        {"averaging": "swa", "swa_start": 0.3, "optimizer": {"name": "sgd", "lr": 0.05}, "positive_share": 0.5},
        {"schedule": {"name": "plateau", "patience": 0}, "monitor": "loss", "clip": None},
    ],
    ids=["ema", "swa-sgd-oversampled", "plateau"],
)
def test_every_state_of_the_run_survives_a_kill_in_mid_epoch(run, reference, tmp_path, train):
    expected = outcome(reference(**train, **EVERY_STEP))
    assert run(tmp_path, [*STEP, 8, "before", "SIGKILL"], **train, **EVERY_STEP) == -signal.SIGKILL
    finish(run, tmp_path, **train, **EVERY_STEP)
    assert_same(outcome(tmp_path), expected)


@pytest.mark.parametrize(
    ("fault", "epochs_before"),
    [
        ([*STEP, 2, "before"], "False 0 0"),
        ([*STEP, 3, "before"], "False 0 0"),
        ([*VALIDATION, 1, "before"], "False 0 0"),
        ([*APPEND, 2, "before"], "False 2 2"),
    ],
    ids=["in-mid-epoch", "in-the-last-step", "in-the-validation", "at-the-end-of-an-epoch"],
)
def test_sigterm_saves_within_a_step_and_the_run_continues_to_the_same_bits(
    run, reference, tmp_path, fault, epochs_before
):
    expected = outcome(reference())
    assert run(tmp_path, [*fault, "SIGTERM"]) == 0
    assert (tmp_path / "result").read_text() == epochs_before
    finish(run, tmp_path)
    assert_same(outcome(tmp_path), expected)


@pytest.mark.parametrize(
    ("fault", "train"),
    [
        ([*STEP, 3, "after"], EVERY_STEP),
        ([*STEP, 8, "before"], EVERY_STEP),  # one block is thawed
        ([*VALIDATION, 2, "before"], {}),
        pytest.param([*VALIDATION, 4, "after"], EVERY_STEP, marks=pytest.mark.slow),
        pytest.param([*STEP, 13, "after"], EVERY_STEP, marks=pytest.mark.slow),
        pytest.param([*WRITE, 5, "before"], EVERY_STEP, marks=pytest.mark.slow),
        pytest.param([*APPEND, 2, "after"], {}, marks=pytest.mark.slow),
    ],
    ids=lambda value: "-".join(map(str, value[1:])) if isinstance(value, list) else "every-step" * bool(value),
)
@pytest.mark.parametrize("labels", [pytest.param("perceptron", marks=pytest.mark.slow), "thawed"])
def test_a_killed_run_on_labels_continues_to_the_same_bits(run, reference, tmp_path, labels, fault, train):
    expected = outcome(reference(labels=labels))
    assert run(tmp_path, [*fault, "SIGKILL"], labels=labels, **train) == -signal.SIGKILL
    finish(run, tmp_path, labels=labels, **train)
    assert_same(outcome(tmp_path), expected)


@pytest.mark.parametrize(
    ("fault", "epochs_before"),
    [
        ([*STEP, 7, "before"], "False 1 1"),
        pytest.param([*VALIDATION, 4, "before"], "False 1 1", marks=pytest.mark.slow),
        pytest.param([*APPEND, 2, "before"], "False 2 2", marks=pytest.mark.slow),
    ],
    ids=["in-mid-epoch", "in-the-validation", "at-the-end-of-an-epoch"],
)
@pytest.mark.parametrize("labels", [pytest.param("perceptron", marks=pytest.mark.slow), "thawed"])
def test_sigterm_saves_a_run_on_labels_which_continues_to_the_same_bits(
    run, reference, tmp_path, labels, fault, epochs_before
):
    expected = outcome(reference(labels=labels))
    assert run(tmp_path, [*fault, "SIGTERM"], labels=labels) == 0
    finished, _, epochs_done = (tmp_path / "result").read_text().split()
    assert [finished, epochs_done] == epochs_before.split()[::2]
    finish(run, tmp_path, labels=labels)
    assert_same(outcome(tmp_path), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "average"),
    [
        ([*STEP, 5, "after"], {}),
        ([*RENAME, 9, "before"], {}),
        ([*STEP, 5, "before"], {"of": "weights", "every": 2}),
    ],
    ids=["gradients", "gradients-in-a-write", "weights"],
)
def test_a_killed_coordinator_of_workers_continues_to_the_same_bits(run, reference, tmp_path, fault, average):
    train = {"strategy": "average", "average": average, **EVERY_STEP}
    expected = outcome(reference(**train))
    assert run(tmp_path, [*fault, "SIGKILL"], **train) == -signal.SIGKILL
    finish(run, tmp_path, **train)
    assert_same(outcome(tmp_path), expected)


def test_a_finished_run_is_extended_to_more_epochs_as_if_it_had_been_longer(run, reference, tmp_path):
    steady = {"schedule": {"name": "none"}}
    expected = outcome(reference(epochs=5, **steady))
    assert run(tmp_path, epochs=3, **steady) == 0
    assert run(tmp_path, epochs=5, **steady) == 0
    assert (tmp_path / "result").read_text().endswith(" 5")
    assert_same(outcome(tmp_path), expected)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(50))
@pytest.mark.parametrize("labels", [None, "thawed"])
def test_a_run_killed_at_random_several_times_continues_to_the_same_bits(run, reference, tmp_path, labels, trial):
    expected = outcome(reference(labels=labels))
    chance = random.Random(trial)
    for _ in range(chance.randint(1, 3)):
        train = chance.choice([{}, EVERY_STEP])
        where, name = chance.choice(ALL)
        fault = [where, name, chance.randint(1, 12), chance.choice(["before", "after"]), "SIGKILL"]
        run(tmp_path, fault, labels=labels, **train)
    finish(run, tmp_path, labels=labels)
    assert_same(outcome(tmp_path), expected)


def test_different_seeds_differ(run, reference):
    one, other = (read_tree(reference(**seed) / BEST)["network"] for seed in ({}, {"seed": 1}))
    assert any(not np.array_equal(one[name], other[name]) for name in one)
