"""How trials end otherwise than well, who chooses them, and several processes at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch

from medloom import pipeline, training
from medloom.errors import NonFiniteLossError, TrainingError
from medloom.events import EpochEnded, RuleFired
from medloom.files import read_json
from medloom.tuning import Limits, Study, work
from medloom.tuning.storage import lose, next_trial, opened
from medloom.tuning.trial import cause_of

RATE = {"train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}


def known(folder):
    return opened(Study.open(folder).resolved()).get_trials()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NonFiniteLossError(7, ["sample-1"], None), "the loss of step 7 was not finite"),
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1 byte"), "out of memory"),
        (KeyError("patient-7.png"), "KeyError"),
    ],
)
def test_the_cause_of_a_failure_names_no_sample(error, cause):
    assert cause_of(error) == cause


def test_a_trial_that_fails_is_written_down_with_its_cause_and_the_study_goes_on(trials_of, recipe_of, monkeypatch):
    train = training.train

    def failing(recipe, *args, **settings):
        if recipe.train.batch_size == 4:
            raise NonFiniteLossError(3, ["sample-1"], None)
        return train(recipe, *args, **settings)

    monkeypatch.setattr(training, "train", failing)
    grid = {"train.batch_size": {"choices": [2, 4, 8]}}
    folder = trials_of(recipe_of(grid, tune={"sampler": "grid"}), count=20)
    ended = {trial.params["train.batch_size"]: trial for trial in known(folder)}
    assert {size: trial.state.name for size, trial in ended.items()} == {2: "COMPLETE", 4: "FAIL", 8: "COMPLETE"}
    assert ended[4].user_attrs["cause"] == "the loss of step 3 was not finite"


def test_a_trial_that_a_rule_ends_is_given_up_and_the_study_goes_on_without_a_word_of_it(trials_of, recipe_of):
    heard = []
    slow = {"train.optimizer.lr": {"log_uniform": [1e-12, 1e-10]}}
    rules = {"rules": ["frozen-weights"], "every": 1, "action": "stop"}
    folder = trials_of(recipe_of(slow, diagnose=rules), count=2, on_event=heard.append)
    assert [trial.state.name for trial in known(folder)] == ["PRUNED", "PRUNED"]
    assert not [event for event in heard if isinstance(event, RuleFired)]
    (finding,) = read_json(folder / "trials" / "0000" / "diagnosis.json")["findings"]
    assert finding["rule"] == "frozen-weights"


def test_a_study_of_which_every_trial_fails_ends(trials_of, recipe_of, monkeypatch):
    def fail(*args, **settings):
        raise MemoryError

    monkeypatch.setattr(training, "train", fail)
    with pytest.raises(TrainingError, match=r"first 5 trials failed.*out of memory"):
        trials_of(recipe_of(RATE), count=20)


def test_a_disk_that_is_full_ends_the_study_and_is_no_fault_of_the_settings(trials_of, recipe_of, monkeypatch):
    def fail(*args, **settings):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", fail)
        with pytest.raises(OSError, match="No space left"):
            trials_of(recipe_of(RATE), study="full", count=2)
    first, second = known(trials_of(recipe_of(RATE), study="full", count=1))
    assert (first.state.name, second.state.name) == ("FAIL", "COMPLETE")
    assert first.params == second.params


def test_a_trial_that_does_badly_is_given_up_early(trials_of, recipe_of):
    space = {"train.optimizer.lr": {"choices": [1e-3, 1e-9]}}
    epochs = []
    recipe = recipe_of(space, train={"epochs": 6, "schedule": {"name": "none"}}, tune={"sampler": "random"})
    folder = trials_of(
        recipe, count=10, on_event=lambda event: epochs.append(event.epoch) if isinstance(event, EpochEnded) else None
    )
    trials = known(folder)
    given_up = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert given_up
    assert {trial.params["train.optimizer.lr"] for trial in given_up} == {1e-9}
    assert all(max(trial.intermediate_values) < 6 for trial in given_up)
    assert len(epochs) < 60
    never = trials_of(
        recipe_of(space, train={"epochs": 6}, tune={"sampler": "random", "pruner": "none"}), study="never", count=8
    )
    assert {trial.state.name for trial in known(never)} == {"COMPLETE"}


def test_a_grid_tries_every_setting_once_and_ends(trials_of, recipe_of):
    space = {"train.optimizer.lr": {"log_uniform": [1e-3, 1e-1]}, "train.batch_size": {"choices": [4, 8]}}
    folder = trials_of(recipe_of(space, tune={"sampler": "grid", "grid_points": 2}), count=50)
    tried = [tuple(sorted(trial.params.items())) for trial in known(folder)]
    assert len(tried) == len(set(tried)) == 4


def test_compromises_of_score_and_cost_have_two_objectives(trials_of, recipe_of):
    space = {**RATE, "model.table_width": {"choices": [2, 64]}}
    recipe = recipe_of(space, tune={"sampler": "nsga2", "cost": "parameters"})
    storage = opened(Study.open(trials_of(recipe, count=6)).resolved())
    costs = {trial.params["model.table_width"]: trial.values[1] for trial in storage.get_trials()}
    assert costs[2] < costs[64]
    assert [direction.name for direction in storage.directions] == ["MINIMIZE", "MINIMIZE"]


def test_a_gaussian_process_chooses_after_the_first_trials(trials_of, recipe_of):
    folder = trials_of(recipe_of(RATE, tune={"sampler": "gp", "startup_trials": 2}), count=4)
    assert len({trial.params["train.optimizer.lr"] for trial in known(folder)}) == 4


def test_a_trial_that_searches_the_preprocessing_gets_pixels_of_its_own_once(trials_of, recipe_of):
    space = {"preprocess.size": {"choices": [[24, 24], [16, 16]]}, **RATE}
    folder = trials_of(recipe_of(space, tune={"sampler": "grid", "grid_points": 2}), count=4)
    assert [trial.state.name for trial in known(folder)] == ["COMPLETE"] * 4
    others = sorted(folder.glob("prepared*/prepare.json"))
    assert len(others) == 2
    keys = {pipeline.Run(path.parent, None).facts("prepare.json", "prepare")["store"]["key"] for path in others}
    assert len(keys) == 2


def test_settings_whose_process_is_killed_again_and_again_are_recorded_as_failed(trials_of, recipe_of):
    study = Study.open(trials_of(recipe_of(RATE), count=1)).resolved()
    storage = opened(study)
    settings = None
    for _ in range(3):
        trial = next_trial(study, storage)
        value = trial.suggest_float("train.optimizer.lr", 1e-4, 1e-1, log=True)
        assert settings in (None, value)  # the same once more
        settings = value
        lose(storage, trial.number)
    last = storage.get_trials()[-1]
    assert last.user_attrs["cause"] == "its process was killed, most likely for want of memory"
    assert [trial.state.name for trial in storage.get_trials()] == ["COMPLETE", "FAIL", "FAIL", "FAIL"]


WORKER = """
import sys
from pathlib import Path
from medloom.events import EpochEnded, Events
from medloom.tuning import Limits, Study, work
def told(event):
    if isinstance(event, EpochEnded):
        print(event.epoch, flush=True)
study = Study.open(Path(sys.argv[1])).resolved()
work(study, Path(sys.argv[2]), Limits(int(sys.argv[3])), events=Events([told]))
"""


@pytest.mark.slow
def test_processes_that_share_a_study_do_each_trial_once_and_a_killed_one_loses_only_its_own(
    trials_of, recipe_of, pictures
):
    recipe = recipe_of({**RATE, "train.batch_size": {"choices": [4, 8]}}, train={"epochs": 12})
    folder = trials_of(recipe, count=1)
    command = [sys.executable, "-c", WORKER, str(folder), str(pictures), "6"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for _ in range(3):  # so that it is in the middle of a trial
        workers[0].stdout.readline()
    os.kill(workers[0].pid, signal.SIGKILL)
    workers[0].communicate()
    workers[1].communicate()
    assert workers[1].returncode == 0
    trials = known(folder)
    whole = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    lost = [trial for trial in trials if trial.user_attrs.get("lost")]
    assert len(whole) == 6
    assert len(lost) == 1
    assert lost[0].params in [trial.params for trial in whole]
    work(Study.open(folder).resolved(), pictures, Limits(6))
    assert len(known(folder)) == len(trials)
