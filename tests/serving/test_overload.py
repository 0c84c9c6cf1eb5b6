"""Far more is asked of a server than it can answer: it says so, goes on answering, and is as before when it is over."""

import collections
import http.client
import io
import re
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest

pytestmark = pytest.mark.slow

CLIENTS, REQUESTS = 40, 60


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, np.full((48, 40, 3), 9, np.uint8))
    return buffer.getvalue()


NPY = _npy()


@pytest.fixture
def server(bundle_path):
    command = [sys.executable, "-m", "medloom.cli.main", "serve", str(bundle_path), "--port", "0"]
    options = ["--queue", "4", "--log-format", "none"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        found = next(found for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        yield process, int(found[1])
        process.terminate()


class Client:
    """One that asks again at once, whatever it is told; it keeps its connection while its block runs."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self):
        self.connection.request("POST", "/invocations", NPY, {"Content-Type": "application/x-npy"})
        answer = self.connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("Retry-After")

    def ping(self):
        self.connection.request("GET", "/ping")
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def _storm(port, clients, requests):
    """Ask from so many clients; all answers, and all answers to pings meanwhile."""
    found, pings, done = [], [], threading.Event()

    def ask():
        with Client(port) as client:
            for _ in range(requests):
                found.append(client.ask())

    def ping():
        with Client(port) as client:
            while not done.is_set():
                pings.append(client.ping()[0])

    asking, pinging = [threading.Thread(target=ask) for _ in range(clients)], threading.Thread(target=ping)
    for thread in (pinging, *asking):
        thread.start()
    for thread in asking:
        thread.join()
    done.set()
    pinging.join()
    return found, pings


def test_a_storm_of_retries_is_refused_politely_and_costs_neither_answers_nor_memory(server):
    process, port = server
    with Client(port) as client:
        expected = client.ask()[1]
    _storm(port, CLIENTS, REQUESTS)  # warms it up
    before = psutil.Process(process.pid).memory_info().rss
    found, pings = _storm(port, CLIENTS, REQUESTS)
    statuses = collections.Counter(status for status, _, _ in found)
    assert set(statuses) == {200, 503}
    assert statuses.total() == CLIENTS * REQUESTS
    assert {body for status, body, _ in found if status == 200} == {expected}
    assert all(re.fullmatch("[1-9][0-9]?", after) for status, _, after in found if status == 503)
    assert set(pings) == {200}
    assert psutil.Process(process.pid).memory_info().rss < 1.1 * before
    with Client(port) as client:
        assert [client.ask()[:2] for _ in range(3)] == [(200, expected)] * 3
