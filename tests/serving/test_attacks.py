"""Requests that want a server's memory or its time, against ``medloom serve`` itself: rows b1 and b2."""

import contextlib
import gzip
import http.client
import itertools
import json
import re
import socket
import threading
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest

from medloom.imaging import encode_png
from support.server_process import serving_process

pytestmark = pytest.mark.slow

MIB = 2**20
PNG = encode_png(np.full((48, 40, 3), 90, np.uint8))
HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
V2 = b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
ZEROS = bytes(MIB)


def _sized(head, body):
    return [head + b"Content-Length: %d\r\n\r\n" % len(body), body]


def _chunks(count):
    return itertools.repeat(b"%x\r\n" % len(ZEROS) + ZEROS + b"\r\n", count)


ATTACKS = {
    "a length of 4 GiB": lambda: (413, [HEAD + b"Content-Length: 4294967296\r\n\r\n", *[ZEROS] * 64]),
    "a length just above the limit": lambda: (413, _sized(HEAD, ZEROS * 26)),
    "a length that is longer than the body": lambda: (
        None,
        [HEAD + b"Content-Length: 26214400\r\n\r\n", *[ZEROS] * 24],
    ),
    "a length that is shorter than the body": lambda: (415, [HEAD + b"Content-Length: 5\r\n\r\n", *[ZEROS] * 64]),
    "two lengths": lambda: (400, [HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", *[ZEROS] * 64]),
    "no length": lambda: (411, [HEAD + b"\r\n", *[ZEROS] * 64]),
    "chunks without end": lambda: (413, itertools.chain([HEAD + CHUNKED], _chunks(1000))),
    "chunks without end of JSON": lambda: (413, itertools.chain([V2 + CHUNKED], _chunks(1000))),
    "half a million chunks of one byte": lambda: (400, [HEAD + CHUNKED, b"1\r\nx\r\n" * 500_000]),
    "a chunk whose header has no end": lambda: (400, [HEAD + CHUNKED + b"1;", *[b"x" * MIB] * 64]),
    "trailers without end": lambda: (400, [HEAD + CHUNKED + b"0\r\n", *[b"X: y\r\n" * 10_000] * 64]),
    "headers without end": lambda: (431, [HEAD, *[b"X: y\r\n" * 10_000] * 64]),
    "a packed body": lambda: (415, _sized(HEAD + b"Content-Encoding: gzip\r\n", gzip.compress(ZEROS * 200, 9))),
    "a bomb in gzip": lambda: (413, _sized(V2 + b"Content-Encoding: gzip\r\n", gzip.compress(ZEROS * 200, 9))),
    "a bomb in zlib": lambda: (413, _sized(V2 + b"Content-Encoding: deflate\r\n", zlib.compress(ZEROS * 200, 9))),
}


@pytest.fixture(scope="module")
def server(bundle_path):
    with serving_process(bundle_path, "--log-format", "none") as server:
        for _ in range(3):
            assert _predict(server.port)[0] == 200
        server.settle()
        yield server


def _predict(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/invocations", PNG, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _attack(port, parts):
    """Send as long as anything is taken, and return all that is answered before the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:

        def send():
            with contextlib.suppress(OSError):  # it was cut
                for part in parts:
                    raw.sendall(part)
                raw.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        answer = b""
        with contextlib.suppress(ConnectionError):
            while received := raw.recv(65536):
                answer += received
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
        sending.join()
        return answer


class _Peak:
    """The most resident memory that a server took, with all its processes."""

    def __init__(self, process):
        self._pids = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(recursive=True))]
        for pid in self._pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # begins to count anew
        self._before = self._read()

    def _read(self):
        found = [re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()) for pid in self._pids]
        return sum(int(one[1]) for one in found) * 1024

    def growth(self):
        return self._read() - self._before


@contextlib.contextmanager
def _pinged(port):
    """Ask whether the server is there as long as the block runs; the statuses, complete when it is left."""
    statuses, done = [], threading.Event()

    def ask():
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            while not done.wait(0.01):  # as clients do, and not as fast as it goes
                connection.request("GET", "/ping")
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield statuses
    finally:
        done.set()
        asking.join()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_body_that_lies_is_refused_with_little_memory_and_ends_its_connection(server, name):
    before = _predict(server.port)
    peak = _Peak(server.process)
    status, parts = ATTACKS[name]()
    with _pinged(server.port) as pings:
        answer = _attack(server.port, parts)
    assert peak.growth() <= 32 * MIB
    assert set(pings) <= {200}
    assert server.process.poll() is None
    assert _predict(server.port) == before
    if status is not None:
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", answer) == [b"%d" % status]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])


def _drip(connections, pace_s=0.5):
    """Send all of them a byte at a time until the server has cut each; what every one heard."""
    heard, pause = {}, threading.Event()
    for one in connections:
        one.setblocking(False)
    while len(heard) < len(connections) and not pause.wait(pace_s):
        for one in set(connections) - heard.keys():
            try:
                one.send(b"x")
                heard[one] = one.recv(65536)
            except BlockingIOError:
                continue
            except ConnectionError:
                heard[one] = b""
    return list(heard.values())


def test_two_hundred_slow_headers_and_fifty_slow_bodies_are_cut_and_others_are_answered_all_the_while(server):
    before, peak, heard = _predict(server.port), _Peak(server.process), {}
    body = HEAD + b"Content-Length: 100000\r\n\r\n"
    with contextlib.ExitStack() as opened, _pinged(server.port) as pings:

        def slow(name, count, begin):
            sockets = [opened.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(count)]
            for one in sockets:
                one.sendall(begin)
            heard[name] = _drip(sockets)

        slowly = [
            threading.Thread(target=slow, args=("headers", 200, b"GET /ping HTTP/1.1\r\nX-Slow: ")),
            threading.Thread(target=slow, args=("bodies", 50, body)),
        ]
        for one in slowly:
            one.start()
        answers = []
        while any(one.is_alive() for one in slowly):
            answers.append(_predict(server.port))
            slowly[1].join(0.2)
    for name, count in (("headers", 200), ("bodies", 50)):
        assert [answer[:13] for answer in heard[name]] == [b"HTTP/1.1 408 "] * count
    assert set(answers) == {before}
    assert set(pings) == {200}
    assert peak.growth() <= 32 * MIB


def test_what_was_refused_of_many_bodies_in_a_row_does_not_add_up(server):
    peak = _Peak(server.process)
    for _ in range(12):
        with socket.create_connection(("127.0.0.1", server.port)) as raw, contextlib.suppress(OSError):
            raw.sendall(HEAD + CHUNKED)
            for part in _chunks(27):
                raw.sendall(part)
            raw.recv(100)
    assert peak.growth() <= 64 * MIB
