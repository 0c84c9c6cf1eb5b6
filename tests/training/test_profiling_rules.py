"""Each rule on an account that provokes it and on ones where it has nothing to say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medloom.training.profiling.account import Account, Gpu, Session, Slow, Stretch
from medloom.training.profiling.rules import RULES, Verdict, judge

MB, GB = 10**6, 10**9
CPU = Session("cpu", 1, 2, 4, 16 * GB, 8)
CUDA = replace(CPU, device="cuda", store="device")
HEALTHY = {"data": 0.2, "augment": 0.8, "forward": 3.0, "backward": 4.5, "optimizer": 0.4, "loop": 0.1}
FAST = Gpu(0.95, 20 * GB, 30 * GB, 80 * GB)


def stretch(number: int = 0, session: int = 0, **changes) -> Stretch:
    """Ten seconds of a training in which nothing is wrong; some parts may take other times."""
    seconds = {**HEALTHY, "validation": 0.8, "checkpoint": 0.2, **changes.pop("seconds", {})}
    values = {
        "session": session,
        "epochs": (number + 1, number + 1),
        "wall_s": sum(seconds.values()),
        "seconds": seconds,
        "steps": 40,
        "images": 320,
        "step_s": 0.22,
        "longest_s": 0.25,
        "checkpoints": 1,
        "batches": 40,
        "batch_s": 0.2,
        "waited_s": 0.1,
        "throttled_s": 0.0,
        "tracker_s": 0.0,
        "faults": 0,
        "own_bytes": 900 * MB,
        "swapped_bytes": 0,
    }
    return Stretch(**{**values, **changes})


def training(session: Session = CPU, count: int = 6, **changes) -> Account:
    """A training of as many such stretches; a change may be a list with a value for each."""
    stretches = [
        stretch(
            number, **{name: value[number] if isinstance(value, list) else value for name, value in changes.items()}
        )
        for number in range(count)
    ]
    return Account("light", [session], stretches)


def verdict(account: Account, rule: str) -> Verdict:
    return next(one for one in judge(account) if one.rule == rule)


PROVOKED = {
    "data, from the disk": ("data-bound", training(seconds={"data": 4.0}, faults=4000), ["31 %", "100 pages", "disk"]),
    "data, in memory": ("data-bound", training(seconds={"data": 4.0}), ["more workers would not help"]),
    "data, made ahead": (
        "data-bound",
        training(replace(CUDA, store="ahead"), seconds={"data": 16.0}, batch_s=24.0, gpu=FAST),
        ["one thread makes the batches", "3 would be needed"],
    ),
    "data, on the device": ("data-bound", training(CUDA, seconds={"data": 4.0}, gpu=FAST), ["GPU's own memory"]),
    "augmentation": ("augmentation", training(seconds={"augment": 6.0}), ["42 %", "augment.preset"]),
    "gpu-idle": ("gpu-idle", training(CUDA, gpu=replace(FAST, busy=0.3)), ["idle for 70 %", "train.batch_size"]),
    "gpu-memory-grows": (
        "gpu-memory-grows",
        training(CUDA, gpu=[replace(FAST, reserved_bytes=n * GB) for n in range(20, 26)]),
        ["grew by 4.0 GB", "detach"],
    ),
    "memory-grows": ("memory-grows", training(own_bytes=[(900 + 50 * n) * MB for n in range(6)]), ["grew by 200 MB"]),
    "batch-small": (
        "batch-small",
        training(seconds={"loop": 6.0}),
        ["43 %", "train.batch_size=16 instead of 8", "train.optimizer.lr"],
    ),
    "batch-large, cpu": ("batch-large", training(own_bytes=int(15.5 * GB)), ["97 %", "train.batch_size=4"]),
    "batch-large, gpu": ("batch-large", training(CUDA, gpu=replace(FAST, peak_bytes=78 * GB)), ["the GPU's memory"]),
    "batch-large, found at the second try": ("batch-large", training(CUDA, gpu=replace(FAST, retries=2)), ["100 %"]),
    "batch-large, swapped": ("batch-large", training(own_bytes=9 * GB, swapped_bytes=7 * GB), ["100 %"]),
    "checkpoints, in epochs": (
        "checkpoints",
        training(seconds={"checkpoint": 5.0}, checkpoints=10),
        ["34 %", "0.5 s each", "checkpoint_minutes"],
    ),
    "checkpoints, short epochs": ("checkpoints", training(seconds={"checkpoint": 5.0}), ["5 s each", "--runs"]),
    "slow-steps": (
        "slow-steps",
        training(slow=Slow(4, 2.0, "listeners", 10), longest_s=0.88),
        ["one step in 10, every 10th", "4.0 times", "22 %", "progress and trackers"],
    ),
    "cpu-crowded, by itself": (
        "cpu-crowded",
        training(replace(CPU, processes=4)),
        ["4 processes with 2 threads share 4 cores", "OMP_NUM_THREADS=1"],
    ),
    "cpu-crowded, by others": ("cpu-crowded", training(waited_s=4.0), ["40 %", "OMP_NUM_THREADS below 2"]),
    "cpu-crowded, throttled": ("cpu-crowded", training(throttled_s=1.0), ["10 %", "container"]),
    "trackers, in the loop": (
        "trackers",
        training(replace(CPU, trackers=("mlflow",)), seconds={"listeners": 1.0}),
        ["trackers (mlflow)", "leave one out"],
    ),
    "trackers, beside": (
        "trackers",
        training(replace(CPU, trackers=("wandb",)), tracker_s=4.0),
        ["40 % of a core", "medloom track"],
    ),
    "validation": ("validation", training(seconds={"validation": 9.0}), ["49 %", "validation_batch_size"]),
}


@pytest.mark.parametrize(("rule", "account", "words"), PROVOKED.values(), ids=PROVOKED)
def test_a_rule_says_what_it_sees_and_what_to_try(rule, account, words):
    found = verdict(account, rule)
    assert found.said
    assert found.fired == found.samples > 0
    text = f"{found.finding}; {found.advice}"
    assert [word for word in words if word not in text] == [], text


def test_every_rule_is_provoked():
    assert {rule for rule, _, _ in PROVOKED.values()} == set(RULES)


SOUND = {
    "on a CPU": training(),
    "on a GPU": training(CUDA, gpu=FAST),
    "on a GPU whose driver says nothing": training(CUDA, gpu=replace(FAST, busy=None)),
    "where the system says nothing": training(
        replace(CPU, memory_bytes=None),
        **dict.fromkeys(("waited_s", "throttled_s", "tracker_s", "faults", "own_bytes", "swapped_bytes")),
    ),
    "with memory that was taken at the beginning": training(own_bytes=[100 * MB, 900 * MB, *[905 * MB] * 4]),
    "with memory that comes and goes": training(own_bytes=[(900 + 60 * (n % 2)) * MB for n in range(6)]),
    "with one stretch that was disturbed": training(
        seconds=[{"data": 20.0, "checkpoint": 9.0} if n == 0 else {} for n in range(6)],
        waited_s=[9.0, *[0.1] * 5],
        slow=[Slow(1, 5.0, "data"), *[Slow()] * 5],
    ),
    "with a full GPU and a small batch's costs": training(
        CUDA, seconds={"loop": 6.0}, gpu=replace(FAST, peak_bytes=60 * GB)
    ),
    "on a phantom in a moment": training(wall_s=1.0, seconds={"data": 9.0, "loop": 9.0, "checkpoint": 9.0}),
    "that has not begun": Account("light", [CPU]),
}


@pytest.mark.parametrize("account", SOUND.values(), ids=SOUND)
def test_nothing_is_said_of_a_training(account):
    assert [one.rule for one in judge(account) if one.said] == []


def test_it_is_counted_in_how_many_stretches_a_rule_held():
    found = verdict(training(count=5, seconds=[{"data": 5.0 if n < 2 else 0.1} for n in range(5)]), "data-bound")
    assert (found.fired, found.samples, found.said) == (2, 5, False)
    assert "36 %" in found.finding  # of those in which it held
    found = verdict(training(count=4, seconds=[{"data": 5.0 if n < 2 else 0.1} for n in range(4)]), "data-bound")
    assert (found.fired, found.samples, found.said) == (2, 4, True)


def test_a_rule_that_cannot_be_judged_says_so_by_no_samples():
    on_cpu = {one.rule: one.samples for one in judge(training())}
    assert on_cpu["gpu-idle"] == on_cpu["gpu-memory-grows"] == 0
    assert on_cpu["data-bound"] == on_cpu["validation"] == 6
    assert verdict(training(count=3, own_bytes=[1 * GB, 2 * GB, 3 * GB]), "memory-grows").samples == 0  # too few


def test_growth_is_that_within_a_session():
    """A second command on the run begins with another memory, which is no growth."""
    stretches = [stretch(n, session=n // 6, own_bytes=(900 + 900 * (n // 6)) * MB) for n in range(12)]
    found = verdict(Account("light", [CPU, CPU], stretches), "memory-grows")
    assert (found.fired, found.samples) == (0, 8)


def test_judging_changes_nothing():
    account = training(seconds={"data": 5.0})
    before = account.plain()
    assert judge(account) == judge(account)
    assert account.plain() == before
