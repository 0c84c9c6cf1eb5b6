"""Several server processes at one socket: each is started again, none takes a request along, all end together."""

import contextlib
import http.client
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

pytestmark = pytest.mark.slow


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, np.full((48, 40, 3), 9, np.uint8))
    return buffer.getvalue()


NPY = _npy()


def _request(port, method="POST", path="/invocations"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, NPY if method == "POST" else None, {"Content-Type": "application/x-npy"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def start(bundle_path):
    started = []

    def start(*options):
        command = [sys.executable, "-m", "medloom.cli.main", "serve", str(bundle_path), "--port", "0"]
        process = subprocess.Popen([*command, "--log-format", "none", *options], stderr=subprocess.PIPE, text=True)
        started.append(process)
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                return process, int(found[1])
        raise AssertionError("it did not start")

    yield start
    for process in started:
        for one in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            one.kill()
        process.kill()
        process.communicate()


def _servers(process):
    """Numbers of those that serve or are about to; not of those that ended and nobody has looked at yet."""
    found = set()
    for one in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is none either
            if "serve" in one.cmdline():
                found.add(one.pid)
    return found


def _wait_for(state):
    until = time.monotonic() + 600  # for a machine that does much else beside
    while not state():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_process_that_is_killed_is_started_again_and_sigterm_ends_all_of_them(start):
    process, port = start("--processes", "2")
    before = _servers(process)
    assert len(before) == 2
    expected = _request(port)
    assert expected[0] == 200
    os.kill(min(before), signal.SIGKILL)
    _wait_for(lambda: len(_servers(process) - before) == 1)
    assert _request(port) == expected
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    _wait_for(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))


def test_none_of_a_thousand_requests_over_twenty_rolling_restarts_is_lost(start):
    process, port = start("--processes", "2", "--threads", "1")
    expected, found, done = _request(port)[1], [], threading.Event()

    def ask():
        while not done.is_set() or len(found) < 1000:
            found.append(_request(port))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for one in asking:
        one.start()
    for _ in range(10):  # each replaces both
        before = _servers(process)
        process.send_signal(signal.SIGUSR1)
        _wait_for(lambda before=before: len(_servers(process)) == 2 and not _servers(process) & before)
    done.set()
    for one in asking:
        one.join()
    assert len(found) >= 1000
    assert set(found) == {(200, expected)}


def test_a_server_that_cannot_start_says_why_and_ends(bundle_path, tmp_path):
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(bundle_path.read_bytes()[:1000])
    command = [sys.executable, "-m", "medloom.cli.main", "serve", str(bad), "--port", "0", "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "bad.tar.gz" in done.stderr or "bundle" in done.stderr
