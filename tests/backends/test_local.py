"""Processes on this machine: who gets what, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import pairwise

import pytest

from backends.conftest import PROGRAM, SAVES, TWO, job
from medloom.backends import LocalBackend, Slot, State, Status, run_jobs, share_out
from medloom.errors import MedloomError
from medloom.jobs import Resources


@pytest.fixture
def said():
    """What the processes have said, as they said it."""
    return []


@pytest.fixture
def run(said):
    """Run pieces of Python in slots; ``heard`` is called with each line."""

    def start(pieces, slots=TWO, heard=lambda number, line: None, **more):
        def say(number, line):
            said.append((number, line))
            heard(number, line)

        with LocalBackend(slots, PROGRAM) as backend:
            return run_jobs(backend, [job(piece, **more) for piece in pieces], say, at_a_time=len(slots))

    return start


def test_without_gpus_jobs_go_one_at_a_time_unless_asked_and_share_the_cores():
    for count, at_a_time, expected in ((5, None, 1), (5, 1, 1), (5, 2, 2), (5, 50, 5), (1, 4, 1)):
        slots = share_out(count, cores=4, at_a_time=at_a_time)
        assert slots == [Slot(max(1, 4 // expected))] * expected


def test_gpus_are_dealt_out_in_turn():
    gpus = ("2", "3", "5", "GPU-af", "7")
    for count, at_a_time, each, expected in (
        (3, None, 1, [("2",), ("3",), ("5",)]),
        (9, None, 1, [("2",), ("3",), ("5",), ("GPU-af",), ("7",)]),
        (9, None, 2, [("2", "3"), ("5", "GPU-af")]),
        (9, 3, 2, [("2", "3"), ("5", "GPU-af"), ("7", "2")]),
        (9, 1, 1, [("2",)]),
    ):
        slots = share_out(count, cores=8, gpus=gpus, gpus_each=each, at_a_time=at_a_time)
        assert [slot.gpus for slot in slots] == expected


@pytest.mark.parametrize("given", [None, "7"])
def test_a_process_sees_its_own_gpus_and_threads_and_the_users_threads_come_first(run, said, monkeypatch, given):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    piece = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'])"
    run([piece, piece], [Slot(3, ("4",)), Slot(3, ("5",))])
    run([piece], [Slot(3, ("4",))], resources=Resources(cores=2))
    assert sorted(line for _, line in said) == sorted([f"4 {given or 3}", f"5 {given or 3}", f"4 {given or 2}"])


def test_no_more_run_at_a_time_than_there_are_slots_and_none_shares_a_slot(said):
    piece = (
        "import os, time; begun = time.monotonic_ns(); sum(range(10**6)); "
        "print(os.environ['CUDA_VISIBLE_DEVICES'], begun, time.monotonic_ns())"
    )
    with LocalBackend([Slot(1, ("a",)), Slot(1, ("b",))], PROGRAM) as backend:
        handles = [backend.submit(job(piece)) for _ in range(6)]
        assert [backend.wait(handle) for handle in handles] == [Status(State.DONE, 0)] * 6
        times = {}
        for handle in handles:
            name, *span = backend.logs(handle)[0].split()
            times.setdefault(name, []).append(tuple(map(int, span)))
    assert set(times) == {"a", "b"}
    for spans in times.values():
        spans.sort()
        assert all(before[1] < after[0] for before, after in pairwise(spans))


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
    with pytest.raises(KeyboardInterrupt):
        run([stubborn], heard=lambda *_: os.kill(os.getpid(), signal.SIGINT))
    process = int(said[0][1].split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_a_process_that_has_ended_has_started_does_not_hold_its_job(monkeypatch):
    monkeypatch.setattr("medloom.backends.local._GRACE_S", 0.2)
    piece = "import os, signal\nchild = os.fork()\nif child: print(child, flush=True)\nelse: signal.pause()"
    with LocalBackend([Slot(1)], PROGRAM) as backend:
        handle = backend.submit(job(piece))
        assert backend.wait(handle, 60) == Status(State.DONE, 0)


def test_a_command_that_cannot_be_started_has_failed(tmp_path):
    with LocalBackend([Slot(1)], [str(tmp_path / "nothing")]) as backend:
        handles = [backend.submit(job("x")), backend.submit(job("x"))]
        assert [backend.wait(handle, 60) for handle in handles] == [Status(State.FAILED, 1)] * 2
        assert "No such file" in backend.logs(handles[0])[0]


def test_a_closed_back_end_has_no_process_left_and_takes_no_job():
    backend = LocalBackend([Slot(1)], PROGRAM)
    handles = [backend.submit(job(SAVES)), backend.submit(job(SAVES))]
    backend.close()
    assert [backend.status(handle).state for handle in handles] == [State.FAILED, State.CANCELLED]
    with pytest.raises(MedloomError, match="was closed"):
        backend.submit(job(SAVES))


def test_a_process_stops_as_on_sigterm_when_the_one_that_started_it_is_gone():
    code = f"from medloom.backends import end_with_parent\nend_with_parent()\n{SAVES}"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("ready")
    process.stdin.close()  # as the kernel does, whatever ended the other one
    assert process.stdout.read() == "saved\n"
    assert process.wait() == 0
    process.stdout.close()


def test_jobs_are_commands_of_medloom_itself():
    with LocalBackend([Slot(1)]) as backend:
        handle = backend.submit(job("recipes"))
        assert backend.wait(handle) == Status(State.DONE, 0)
        assert any(line.startswith("brain-mri ") for line in backend.logs(handle))


def test_the_back_ends_import_no_torch(modules_after):
    assert modules_after("import medloom.backends").isdisjoint({"torch", "numpy", "pydantic"})
