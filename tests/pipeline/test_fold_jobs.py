"""Folds as jobs: what each gets of the machine, and what is asked of the back end."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from medloom.backends import LocalBackend, Slot
from medloom.errors import RecipeError
from medloom.jobs import path_of
from medloom.locks import sole
from medloom.pipeline import Run, fold_job, fold_runs, plan_slots, planned_jobs
from medloom.training import precision, processes

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that this machine has some."""

    def pretend(*names):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(names))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))

    return pretend


@pytest.fixture
def plan(make_recipe):
    """The GPUs of each slot."""

    def of(count, jobs=None, **train):
        recipe = make_recipe(train={"device": "auto", **train})
        return [slot.gpus for slot in plan_slots(recipe, count, jobs)]

    return of


def test_trainings_on_a_cpu_go_one_at_a_time_unless_asked_and_share_the_cores(make_recipe):
    for count, jobs, expected in ((5, None, 1), (5, 1, 1), (5, 2, 2), (5, 50, 5), (1, 4, 1)):
        slots = plan_slots(make_recipe(), count, jobs)
        assert slots == [Slot(max(1, CORES // expected))] * expected


def test_every_training_gets_gpus_of_its_own_as_many_as_it_takes(gpus, plan):
    gpus("2", "3", "5", "GPU-af", "7")
    assert plan(3) == [("2",), ("3",), ("5",)]
    assert plan(9) == [("2",), ("3",), ("5",), ("GPU-af",), ("7",)]
    assert plan(9, devices=2) == [("2", "3"), ("5", "GPU-af")]
    assert plan(9, 3, devices=2) == [("2", "3"), ("5", "GPU-af"), ("7", "2")]
    assert plan(9, 1) == [("2",)]
    assert plan(9, device="cpu") == [()]
    with pytest.raises(RecipeError, match=r"8 GPU\(s\) were asked for and torch sees 5"):
        plan(9, device="cuda", devices=8)


def test_one_gpu_takes_one_training_at_a_time_unless_asked(gpus, plan):
    gpus("0")
    assert plan(5) == [("0",)]
    assert plan(5, 2) == [("0",), ("0",)]


def test_gpus_are_called_as_whoever_restricts_them_calls_them(gpus, monkeypatch):
    gpus("GPU-1", "MIG-2")
    assert processes.visible_gpus() == ["GPU-1", "MIG-2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert processes.visible_gpus() == ["0", "1"]
    gpus()
    assert processes.visible_gpus() == []
    assert precision.choose_device("auto") == "cpu"


def test_a_fold_is_a_command_of_ours_and_the_request_for_it_makes_nothing(make_recipe, tmp_path):
    run = Run.planned(make_recipe(split={"folds": 3}), tmp_path / "run")
    jobs = planned_jobs(run, ["run", "x"], None, None)
    assert [job.name for job in jobs] == ["fold 1/3", "fold 2/3", "fold 3/3"]
    fold = fold_runs(run)[2]
    job = fold_job(fold, "fold 3/3", Slot(3, ("0", "1")))
    assert job.command == ("fold", str(fold.folder))
    assert path_of(job.outputs[0]) == fold.folder
    with LocalBackend([Slot(1)]) as backend:
        request = backend.request(job)
    assert request["command"][-2:] == ["fold", str(fold.folder)]
    assert (request["environment"], request["gpus"]) == ({"OMP_NUM_THREADS": "3"}, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_second_worker_in_a_folder_waits_for_the_first(tmp_path):
    order, waits = [], threading.Event()

    def second():
        with sole(tmp_path, waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with sole(tmp_path):
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []
