"""Several processes at a time: who gets what, what they say, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise

import pytest
import torch

from medloom.errors import RecipeError
from medloom.pipeline import Slot, plan_slots, run_in_slots, sole
from medloom.training import precision, processes

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

TWO = (Slot(1), Slot(1))

SAVES = """
import os, signal, sys
def save(*_):
    os.write(1, b"saved\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
os.write(1, b"ready %d\\n" % os.getpid())
while True:
    signal.pause()
"""


@pytest.fixture
def said():
    """What the processes have said, as they said it."""
    return []


@pytest.fixture
def run(said):
    """Run pieces of Python in slots; ``heard`` is called with each line."""

    def start(pieces, slots=TWO, heard=lambda number, line: None):
        def say(number, line):
            said.append((number, line))
            heard(number, line)

        return run_in_slots([[sys.executable, "-I", "-S", "-c", piece] for piece in pieces], slots, say)

    return start


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


@pytest.mark.parametrize("given", [None, "7"])
def test_a_process_sees_its_own_gpus_and_threads_and_the_users_threads_come_first(run, said, monkeypatch, given):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    piece = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'])"
    run([piece, piece], [Slot(3, ("4",)), Slot(3, ("5",))])
    assert sorted(line for _, line in said) == [f"4 {given or 3}", f"5 {given or 3}"]


def test_no_more_run_at_a_time_than_there_are_slots_and_none_shares_a_slot(run, said):
    piece = (
        "import os, time; begun = time.monotonic_ns(); sum(range(10**6)); "
        "print(os.environ['CUDA_VISIBLE_DEVICES'], begun, time.monotonic_ns())"
    )
    ending = run([piece] * 6, [Slot(1, ("a",)), Slot(1, ("b",))])
    assert ending.codes == [0] * 6
    assert not ending.failed
    times = {}
    for _, line in said:
        name, *span = line.split()
        times.setdefault(name, []).append(tuple(map(int, span)))
    assert set(times) == {"a", "b"}
    for spans in times.values():
        spans.sort()
        assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_every_line_comes_whole_and_in_its_processs_own_order(run, said):
    piece = "import sys\nfor n in range(300): (sys.stdout if n % 2 else sys.stderr).write(f'{n} ' + 'x' * 200 + '\\n')"
    run(["import sys; sys.stdout = sys.stderr\n" + piece] * 3)
    for number in range(3):
        assert [line for who, line in said if who == number] == [f"{n} {'x' * 200}" for n in range(300)]


def test_one_that_fails_or_is_killed_leaves_the_others_alone(run, said):
    dies = "import os, signal; print('begun', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    ending = run([dies, "raise SystemExit(1)", "print('done')", "print('done')"])
    assert ending.codes == [-signal.SIGKILL, 1, 0, 0]
    assert ending.failed == {0: -signal.SIGKILL, 1: 1}
    assert sorted(said) == [(0, "begun"), (2, "done"), (3, "done")]


def test_after_a_wrong_input_no_other_begins(run):
    ending = run(["raise SystemExit(2)"] * 5, [Slot(1)])
    assert ending.codes == [2, None, None, None, None]
    assert ending.failed == {0: 2}
    assert not ending.stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_is_passed_on_once_and_waits_until_all_have_saved(run, said, number):
    def heard(_, line):
        if line.startswith("ready") and sum("ready" in text for _, text in said) == 2:
            os.kill(os.getpid(), number)

    ending = run([SAVES] * 3, heard=heard)
    assert ending.stopped
    assert ending.codes == [0, 0, None]
    assert not ending.failed
    assert sorted(who for who, line in said if line == "saved") == [0, 1]


def test_one_that_could_only_die_when_asked_to_stop_did_not_fail(run):
    piece = "import signal; print('ready', flush=True); signal.pause()"
    ending = run([piece, "pass"], [Slot(1)], heard=lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert ending.codes == [-signal.SIGTERM, None]
    assert ending.stopped
    assert not ending.failed


def test_a_second_ctrl_c_leaves_no_process_behind(run, said):
    stubborn = SAVES.replace("sys.exit(0)", "pass")

    def heard(_, line):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run([stubborn], heard=heard)
    process = int(said[0][1].split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_process_stops_politely_when_the_one_that_started_it_is_gone():
    code = f"from medloom.pipeline import end_with_parent\nend_with_parent()\n{SAVES}"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("ready")
    process.stdin.close()  # as the kernel does, whatever ended the other one
    assert process.stdout.read() == "saved\n"
    assert process.wait() == 0
    process.stdout.close()


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
