"""The account of where time goes, by clocks that only move when they are told to."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from medloom.training.profiling.account import Account, Gpu, Session, Slow, Stretch, add_up, slow_steps
from medloom.training.profiling.phases import OF_A_STEP, PHASES, VALIDATION, phase_of
from medloom.training.profiling.sampling import Sampling
from medloom.training.profiling.stretches import Lap, Seen, StretchMaker
from medloom.training.profiling.watch import Watch
from support.profiled import FakeClock, used


def test_nested_parts_add_up_to_the_whole_and_each_has_its_own_time():
    clock = FakeClock()
    watch = Watch(clock)
    watch.start()
    clock.now += 1
    watch.begin("optimizer")
    clock.now += 2
    watch.begin("forward")
    clock.now += 3
    watch.begin("augment")
    clock.now += 5
    watch.end()
    clock.now += 7
    watch.end()
    clock.now += 11
    watch.end()
    clock.now += 13
    watch.lap("step")
    ((name, seconds),) = watch.finished()
    assert name == "step"
    assert seconds == {"loop": 14, "optimizer": 13, "forward": 10, "augment": 5}
    assert sum(seconds.values()) == clock.now


def test_the_steps_of_a_validation_are_one_part_and_its_checkpoint_is_not():
    clock = FakeClock()
    watch = Watch(clock)
    watch.start()
    watch.rest(VALIDATION)
    for phase in ("data", "forward", "checkpoint", "listeners"):
        watch.begin(phase)
        clock.now += 1
        watch.end()
    watch.rest("loop")
    clock.now += 1
    watch.lap(None)
    assert watch.finished()[0][1] == {"validation": 2, "checkpoint": 1, "listeners": 1, "loop": 1}


def test_a_part_that_raises_ends_all_the_same():
    clock = FakeClock()
    watch = Watch(clock)
    watch.start()

    def fail() -> None:
        clock.now += 4
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        watch.around("listeners", fail)()
    clock.now += 1
    watch.lap(None)
    assert watch.finished()[0][1] == {"listeners": 4, "loop": 1}


def test_a_clock_that_is_read_later_loses_nothing():
    """As a GPU's: marks can be read only when the GPU has come to them."""
    clock = FakeClock(behind=True)
    watch = Watch(clock)
    watch.start()
    found = []
    for step in range(4):
        watch.begin("forward")
        clock.now += 1 + step
        watch.end()
        watch.lap(step)
        found += watch.finished()
        clock.read_to = clock.now - 2  # the loop has waited for what came before, not for this
    assert [name for name, _ in found] == [0, 1]
    clock.wait()
    found += watch.finished()
    assert [seconds["forward"] for _, seconds in found] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("action", "phase"),
    [
        ("[_TrainingEpochLoop].train_dataloader_next", "data"),
        ("[Strategy]DDPStrategy.batch_to_device", "transfer"),
        ("[Strategy]SingleDeviceStrategy.training_step", "forward"),
        ("[Strategy]SingleDeviceStrategy.backward", "backward"),
        ("[LightningModule]TaskModule.optimizer_step", "optimizer"),
        ("[LightningModule]TaskModule.on_train_batch_start", None),
        ("[Callback]Keeper.on_train_epoch_end", "checkpoint"),
        ("[Callback]Keeper.on_train_batch_end", None),
        ("[Callback]Profile.on_train_batch_end", "profiling"),
        ("[Callback]Diagnosis{'every': 2.5}.on_after_backward", "callbacks"),
        ("[Callback]Diagnosis{'every': 2.5}.on_fit_start", None),
        ("save_checkpoint", "checkpoint"),
        ("run_training_epoch", None),
    ],
)
def test_actions_of_lightning_are_known_by_their_names(action, phase):
    hooks = {"Keeper.on_train_epoch_end", "Profile.on_train_batch_end", "Diagnosis{'every': 2.5}.on_after_backward"}
    assert phase_of(action, hooks) == phase


def stretch(**changes) -> Stretch:
    values = {"session": 0, "epochs": (1, 1), "wall_s": 10.0, "seconds": {"forward": 8.0}, "steps": 40, "images": 160}
    return Stretch(**{**values, "step_s": 0.2, "longest_s": 0.3, **changes})


def test_an_account_is_the_same_after_a_file():
    account = Account(
        "full",
        [Session("cuda", 2, 4, 8, None, 16, "ahead", ("mlflow",))],
        [stretch(slow=Slow(2, 0.5, "data", 7), gpu=Gpu(0.5, 1, 2, 3)), stretch(epochs=(2, 3))],
        [{"at_s": 5.0, "process_cpu": 90.0}],
        [{"name": "aten::conv2d"}],
        "profile/trace.json.gz",
    )
    assert Account.of(json.loads(json.dumps(account.plain()))) == account


def test_what_a_reader_looks_for_first_is_summed():
    account = Account("light", [Session("cpu", 1, 1, 2, None, 4)])
    account.add(stretch(seconds={"forward": 6.0, "validation": 3.0, "checkpoint": 1.0}))
    account.add(stretch(seconds={"forward": 7.0, "data": 3.0}))
    plain = account.plain()
    assert plain["seconds"] == {"data": 3.0, "forward": 13.0, "validation": 3.0, "checkpoint": 1.0}
    assert (plain["wall_s"], plain["steps"], plain["step_s"], plain["images_per_s_in_steps"]) == (20.0, 80, 0.2, 20.0)


def test_a_long_training_has_no_long_account_and_loses_no_time():
    account = Account("light", [Session("cpu", 1, 1, 2, None, 4)])
    for number in range(1001):
        account.add(stretch(epochs=(number + 1, number + 1), longest_s=float(number), slow=Slow(1, 0.25, "data")))
        account.add_use([{"at_s": float(number)}])
    assert len(account.stretches) <= 200
    assert len(account.use) <= 400
    assert account.wall_s == 10010.0
    assert sum(one.steps for one in account.stretches) == 40040
    assert sum(one.slow.steps for one in account.stretches) == 1001
    assert [account.stretches[0].epochs[0], account.stretches[-1].epochs[1]] == [1, 1001]
    assert account.stretches[-1].longest_s == 1000.0
    assert account.stretches[0].step_s == pytest.approx(0.2)


def test_stretches_of_two_sessions_are_never_one():
    account = Account("light", [Session("cpu", 1, 1, 2, None, 4)] * 2)
    for number in range(401):
        account.add(stretch(session=int(number >= 133)))
    assert [one.session for one in account.stretches] == sorted(one.session for one in account.stretches)
    assert sum(one.wall_s for one in account.stretches if one.session == 0) == 1330.0


def test_slow_steps_are_found_with_their_part_and_their_period():
    steps = [{"forward": 0.1, "listeners": 0.5 if number % 8 == 3 else 0.0} for number in range(40)]
    found = slow_steps(steps)
    assert (found.steps, found.phase, found.every) == (5, "listeners", 8)
    assert found.lost_s == pytest.approx(2.5)
    irregular = [{"forward": 0.5 if number in (3, 4, 17, 30) else 0.1} for number in range(40)]
    assert slow_steps(irregular).every is None
    assert slow_steps([{"forward": 0.1}] * 40) == Slow()
    assert slow_steps([{"forward": 0.0001}] * 40 + [{"forward": 0.001}]) == Slow()  # no one notices


@pytest.fixture
def maker():
    times = iter([Seen(0.0, used(1.0), 0, 0.0, 0), Seen(12.5, used(21.0, waited_s=2.0), 5, 0.5, 1), Seen(13.0, used())])
    return StretchMaker(0, lambda: next(times))


def test_the_first_step_is_a_part_by_itself(maker):
    maker.add(Lap(1, 4), {"forward": 5.0, "data": 1.0, "listeners": 0.5})
    for _ in range(4):
        maker.add(Lap(1, 4), {"forward": 1.0, "data": 0.25})
    maker.add(Lap(1), {"validation": 1.0, "loop": 0.0})
    found = maker.finish(lambda retries: None)
    taken = {name: seconds for name, seconds in found.seconds.items() if seconds}
    assert taken == {"data": 1.0, "forward": 4.0, "validation": 1.0, "start": 6.5}
    assert sum(found.seconds.values()) == 12.5 == found.wall_s
    assert (found.steps, found.images, found.step_s, found.checkpoints) == (4, 16, 1.25, 1)
    assert (found.cpu_s, found.waited_s, found.batches) == (20.0, 2.0, 5)


def test_steps_that_were_looked_at_are_not_taken_for_steps(maker):
    maker.add(Lap(1, 4), {"forward": 1.0})
    maker.add(Lap(1, 4, traced=True), {"forward": 9.0, "profiling": 1.0})
    maker.add(Lap(1, 4), {"forward": 1.5})
    found = maker.finish(lambda retries: None)
    assert (found.seconds["profiling"], found.seconds["start"], found.seconds["forward"]) == (10.0, 1.0, 1.5)
    assert found.steps == 1


def test_a_short_epoch_goes_on_into_the_next_and_a_long_one_is_cut(maker):
    assert not maker.is_due(2.0, ends_epoch=True)
    assert maker.is_due(6.0, ends_epoch=True)
    assert not maker.is_due(60.0, ends_epoch=False)
    assert maker.is_due(121.0, ends_epoch=False)
    assert maker.finish(lambda retries: None) is None  # nothing has happened


def test_points_are_taken_until_the_end_and_an_error_ends_them():
    read = iter([{"process_cpu_utilization_percentage": 150.0, "gpu_0_utilization_percentage": 9.0, "unknown": 1.0}])
    sampling = Sampling(lambda: next(read), 0.001, begun_s=100.0)
    sampling._thread.join(10)  # the second reading fails
    (point,) = sampling.take()
    assert point.pop("at_s") >= 100.0
    assert point == {"process_cpu": 150.0, "gpu": 9.0}
    sampling.close()


def test_every_part_has_a_name_and_a_place():
    assert set(OF_A_STEP) < set(PHASES)
    assert list(add_up([dict.fromkeys(reversed(PHASES), 1.0)])) == list(PHASES)
    assert asdict(Slow())["phase"] is None
