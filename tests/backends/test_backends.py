"""What holds for every back end."""

from __future__ import annotations

import json
import signal
import time

import pytest

from backends.conftest import SAVES, job
from medloom.backends import State, Status, run_jobs
from medloom.errors import UserError

LONG_S = 60.0


def until_it_says(backend, handle, word: str) -> None:
    end_s = time.monotonic() + LONG_S
    while not any(line.startswith(word) for line in backend.logs(handle)):
        assert not backend.wait(handle, 0.02).ended, backend.logs(handle)
        assert time.monotonic() < end_s


def test_a_request_is_plain_the_same_each_time_and_begins_nothing(backend, tmp_path):
    made = tmp_path / "made"
    piece = job(f"open({str(made)!r}, 'w')", inputs=("file:///data",), environment={"WORD": "x"})
    request = backend.request(piece)
    assert json.loads(json.dumps(request)) == request
    assert backend.request(piece) == request
    assert "file:///data" in json.dumps(request)
    assert piece.command[0] in request["command"]
    assert not made.exists()


def test_a_job_runs_to_its_end_and_its_lines_can_be_had_in_parts(backend):
    handle = backend.submit(job("print('one')\nprint('two')\nprint('three')"))
    assert backend.wait(handle) == Status(State.DONE, 0)
    assert backend.logs(handle) == ["one", "two", "three"]
    assert backend.logs(handle, 2) == ["three"]
    assert backend.status(handle) == Status(State.DONE, 0)


def test_every_line_comes_whole_in_order_and_from_both_streams(backend):
    piece = "import sys\nfor n in range(300): (sys.stdout if n % 2 else sys.stderr).write(f'{n} ' + 'x' * 200 + '\\n')"
    handles = [backend.submit(job("import sys; sys.stdout = sys.stderr\n" + piece)) for _ in range(3)]
    for handle in handles:
        backend.wait(handle)
        assert backend.logs(handle) == [f"{n} {'x' * 200}" for n in range(300)]


def test_a_job_that_fails_says_with_which_code(backend):
    handles = [backend.submit(job("raise SystemExit(3)")), backend.submit(job("print('fine')"))]
    assert backend.wait(handles[0]) == Status(State.FAILED, 3)
    assert backend.wait(handles[1]) == Status(State.DONE, 0)


def test_a_job_gets_its_environment_variables(backend):
    handle = backend.submit(job("import os; print(os.environ['WORD'])", environment={"WORD": "of its own"}))
    backend.wait(handle)
    assert backend.logs(handle) == ["of its own"]


def test_a_job_that_is_cancelled_may_save_first(backend):
    handle = backend.submit(job(SAVES))
    until_it_says(backend, handle, "ready")
    assert backend.status(handle) == Status(State.RUNNING)
    backend.cancel(handle)
    assert backend.wait(handle) == Status(State.CANCELLED, 0)
    assert backend.logs(handle)[-1] == "saved"


def test_a_job_that_waits_for_its_turn_and_is_cancelled_never_begins(backend):
    running = [backend.submit(job(SAVES)) for _ in range(2)]
    waiting = backend.submit(job("print('begun')"))
    assert backend.status(waiting) == Status(State.WAITING)
    backend.cancel(waiting)
    assert backend.wait(waiting) == Status(State.CANCELLED)
    assert backend.logs(waiting) == []
    for handle in running:
        until_it_says(backend, handle, "ready")
        backend.cancel(handle)
        backend.wait(handle)


def test_a_job_that_has_ended_is_not_changed_by_cancelling_it(backend):
    handle = backend.submit(job("print('done')"))
    backend.wait(handle)
    backend.cancel(handle)
    assert backend.status(handle) == Status(State.DONE, 0)


def test_waiting_ends_after_its_time(backend):
    handle = backend.submit(job(SAVES))
    assert not backend.wait(handle, 0.01).ended


@pytest.mark.parametrize("ask", ["status", "logs", "cancel", "wait"])
def test_a_job_that_was_never_submitted_is_refused(backend, ask):
    with pytest.raises(UserError, match="there is no job 'nothing'"):
        getattr(backend, ask)("nothing")


def test_several_jobs_hand_on_their_lines_and_one_that_fails_leaves_the_others_alone(backend):
    said = []
    dies = "import os, signal; print('begun', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    pieces = [dies, "raise SystemExit(1)", "print('done')", "print('done')"]
    ending = run_jobs(backend, [job(piece) for piece in pieces], lambda *line: said.append(line), at_a_time=2)
    assert ending.codes == [-signal.SIGKILL, 1, 0, 0]
    assert ending.failed == {0: -signal.SIGKILL, 1: 1}
    assert sorted(said) == [(0, "begun"), (2, "done"), (3, "done")]


def test_after_a_wrong_input_no_other_begins(backend):
    ending = run_jobs(backend, [job("raise SystemExit(2)")] * 5, print, at_a_time=1)
    assert ending.codes == [2, None, None, None, None]
    assert ending.failed == {0: 2}
    assert not ending.stopped


def test_who_hears_the_lines_may_ask_for_an_end(backend):
    ending = run_jobs(backend, [job(SAVES)] * 3, lambda _, line: line.startswith("ready"), at_a_time=1)
    assert ending.stopped
    assert ending.codes == [0, None, None]
    assert not ending.failed
