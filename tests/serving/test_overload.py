"""Far more is asked of a server than it can answer: it says so, goes on answering, and is as before when it is over."""

import collections
import http.client
import io
import re
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from support.bundles import spatial_graph, tiny_recipe, write_tiny_bundle
from support.server_process import serving_process

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


QUEUE, TIMES = 8, 10


class Crowd:
    """Clients that ask until so many requests are answered, and what it cost the server.

    Args:
        server: What is asked.
        clients: How many ask at the same time.
        pause_s: How long each waits before it asks again where it was refused.
    """

    def __init__(self, server, clients, pause_s=0.0):
        self.port, self.clients, self.pause_s = server.port, clients, pause_s
        self.answers, self.overtaken, self.pings = [], [], []
        self._process = psutil.Process(server.process.pid)
        self._answered, self._lock, self._done = 0, threading.Lock(), threading.Event()

    def ask(self, wanted):
        """Run until so many are answered, and return the seconds of processor time that the server took for each."""
        before, begin = self._cpu_s(), time.perf_counter()
        threads = [threading.Thread(target=self._client, args=(wanted,)) for _ in range(self.clients)]
        threads.append(threading.Thread(target=self._ping))
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        self.seconds = time.perf_counter() - begin
        return (self._cpu_s() - before) / self._answered

    def _cpu_s(self):
        family = [self._process, *self._process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in family)

    def _client(self, wanted):
        with Client(self.port) as client:
            while not self._done.is_set():
                before = self._answered
                answer = client.ask()
                with self._lock:
                    self.answers.append(answer)
                    if answer[0] == 200:
                        self.overtaken.append(self._answered - before)
                        self._answered += 1
                    if self._answered >= wanted:
                        self._done.set()
                if answer[0] != 200:
                    self._done.wait(self.pause_s)

    def _ping(self):
        with Client(self.port) as client:
            while not self._done.wait(0.05):
                self.pings.append(client.ping()[0])


def test_at_ten_times_its_capacity_a_server_answers_about_as_much_and_as_soon_as_at_it(tmp_path):
    """By what it worked for an answer and how many others were answered meanwhile: others work on this machine too."""
    slow = write_tiny_bundle(
        tmp_path / "model.tar.gz", tiny_recipe(size=(512, 512), views=8), graph=spatial_graph(3, 1), phantom=True
    )
    with serving_process(slow, "--queue", str(QUEUE), "--log-format", "none") as server:
        with Client(server.port) as client:
            expected = client.ask()[1]
        server.settle()
        capacity = Crowd(server, QUEUE)
        cost_s = capacity.ask(80)
        memory = psutil.Process(server.process.pid).memory_info
        storm = [Crowd(server, TIMES * QUEUE, QUEUE * capacity.seconds / 80) for _ in range(2)]
        storm[0].ask(80)
        before = memory().rss
        storm_cost_s = storm[1].ask(160)
        assert 0.9 * before <= memory().rss <= 1.1 * before
        with Client(server.port) as client:  # nothing of it is left
            assert [client.ask()[:2] for _ in range(QUEUE)] == [(200, expected)] * QUEUE
    assert {(status, body) for status, body, _ in capacity.answers} == {(200, expected)}
    for crowd in storm:
        assert {body for status, body, _ in crowd.answers if status == 200} == {expected}
        assert {status for status, _, _ in crowd.answers} == {200, 503}
        assert all(re.fullmatch("[1-9][0-9]?", after) for status, _, after in crowd.answers if status == 503)
        assert set(crowd.pings) == {200}
    assert storm_cost_s <= 1.25 * cost_s
    assert np.percentile(storm[1].overtaken, 99) <= 1.5 * np.percentile(capacity.overtaken, 99)
