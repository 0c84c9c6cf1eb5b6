"""Requests over a raw socket that are cut wrongly, on purpose or not: none is answered as two, none costs others."""

import contextlib
import http.client
import io
import json
import re
import socket
import threading

import numpy as np
import pytest

from medloom.serving import Limits, Service, create_app
from medloom.serving.http.server import listen, serve

HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def port(served):
    service = Service.of(*served, Limits(max_body_bytes=2**20))
    listener = listen(port=0)
    thread = threading.Thread(target=serve, args=(create_app(service), listener))
    thread.start()
    yield listener.getsockname()[1]
    service.gate.draining = True
    thread.join(30)
    service.close()


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, np.full((16, 16, 3), 9, np.uint8))
    return buffer.getvalue()


NPY = _npy()


def _ask(port, *parts):
    """Send parts one after the other, say that no more comes, and return all that is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        with contextlib.suppress(OSError):  # it may be cut before all is sent
            for part in parts:
                raw.sendall(part)
        answer = b""
        with contextlib.suppress(OSError):
            while received := raw.recv(65536):
                answer += received
        return answer


def _statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def _code(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["code"]


SMUGGLING = {
    "length and chunks": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + PING,
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + PING,
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(PING) + PING,
    "one length twice": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + PING,
    "a list of lengths": b"Content-Length: 0, 0\r\n\r\n" + PING,
    "a length with a sign": b"Content-Length: +0\r\n\r\n" + PING,
    "a length below zero": b"Content-Length: -1\r\n\r\n" + PING,
    "a length in base 16": b"Content-Length: 0x0\r\n\r\n" + PING,
    "no length in the length": b"Content-Length: \r\n\r\n" + PING,
    "a length beyond 64 bits": b"Content-Length: 18446744073709551616\r\n\r\n" + PING,
    "a folded header": b"X-One: a\r\n b\r\nContent-Length: 0\r\n\r\n" + PING,
    "a folded length": b"Content-Length:\r\n 0\r\n\r\n" + PING,
    "a folded encoding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + PING,
    "a space before the colon": b"Content-Length : 0\r\n\r\n" + PING,
    "a space before the name": b" Content-Length: 0\r\n\r\n" + PING,
    "another encoding": b"Transfer-Encoding: identity\r\n\r\n" + PING,
    "an encoding that is nearly one": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + PING,
    "chunks that are not the last encoding": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + PING,
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + PING,
    "a chunk with a sign": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + PING,
    "a chunk in base 16 with its prefix": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + PING,
    "a chunk beyond 64 bits": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + PING,
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n" + PING,
    "lines that end in a newline alone": b"X-One: a\nContent-Length: 0\n\n" + PING,
    "a carriage return in a value": b"X-One: a\rb\r\nContent-Length: 0\r\n\r\n" + PING,
    "a null in a value": b"X-One: a\x00b\r\nContent-Length: 0\r\n\r\n" + PING,
    "a null in a name": b"X\x00One: a\r\nContent-Length: 0\r\n\r\n" + PING,
    "no name": b": a\r\nContent-Length: 0\r\n\r\n" + PING,
    "two hosts": b"Host: y\r\nContent-Length: 0\r\n\r\n" + PING,
}


@pytest.mark.parametrize("what", SMUGGLING)
def test_a_request_whose_end_could_be_read_in_two_ways_is_refused_and_the_connection_closed(port, what):
    answer = _ask(port, HEAD + SMUGGLING[what])
    assert _statuses(answer) == [400], answer
    assert b"connection: close" in answer.lower()
    assert b'"code": "' in answer


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /ping\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"GET /ping HTTP/2.0\r\nHost: x\r\n\r\n",
        b"NONE /ping HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_http_is_told_so(port, request_line):
    answer = _ask(port, request_line)
    assert _statuses(answer) == [400]
    assert _code(answer) == "bad_request"


def test_sound_requests_on_one_connection_are_answered_in_order(port):
    post = HEAD + b"Content-Length: %d\r\n\r\n" % len(NPY) + NPY
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(NPY) + NPY + b"\r\n0\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = _ask(port, post + PING + chunked + PING, last)
    assert _statuses(answer) == [200, 200, 200, 200, 404]


def test_headers_that_are_too_large_are_refused(port):
    line = b"X-Long: " + b"a" * 1000 + b"\r\n"
    answer = _ask(port, b"GET /ping HTTP/1.1\r\nHost: x\r\n", *[line] * 200)
    assert _statuses(answer) == [431]
    assert _code(answer) == "headers_too_large"
    assert _statuses(_ask(port, b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + line * 20 + b"\r\n")) == [
        200
    ]


def test_a_length_that_is_too_large_is_refused_at_once_and_one_that_lies_is_cut(port):
    assert _statuses(_ask(port, HEAD + b"Content-Length: 4294967296\r\n\r\n")) == [413]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(HEAD + b"Content-Length: 5000\r\n\r\n" + NPY)
        raw.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            assert b" 200 " not in raw.recv(65536)
    assert _statuses(_ask(port, PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) == [200]


def test_a_request_that_expects_to_be_told_to_go_on_and_is_refused_ends_the_connection(port):
    expects = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n"
    answer = _ask(port, expects + b"Content-Length: 60\r\n\r\n", PING)
    assert _statuses(answer) == [415]


def test_a_request_that_expects_to_be_told_to_go_on_is_told(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(NPY))
        assert raw.recv(65536).startswith(b"HTTP/1.1 100 ")
        raw.sendall(NPY)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert _statuses(answer) == [200]


def test_an_upgrade_is_not_taken_and_the_request_answered_as_it_is(port):
    asked = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert _statuses(_ask(port, asked, PING)) == [200]


def test_half_a_million_chunks_of_one_byte_are_refused_and_ping_is_answered_meanwhile(port):
    chunks = b"1\r\nx\r\n" * 500_000
    sent = threading.Thread(target=_ask, args=(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunks))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        sent.start()
        while sent.is_alive():
            connection.request("GET", "/ping")
            assert connection.getresponse().read()
    assert _statuses(_ask(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunks[:600_000])) == [400]


@pytest.mark.parametrize(
    "last",
    [
        b"GET\r\n\r\n",
        HEAD + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nz\r\n",
        HEAD + b"X-Long: " + b"a" * 100_000,
        bytes(2**20),
    ],
    ids=["no request", "two lengths", "a body that is none", "long headers", "rubbish"],
)
def test_what_was_asked_before_a_request_that_is_none_is_answered_and_then_the_connection_ends(port, last):
    post = HEAD + b"Content-Length: %d\r\n\r\n" % len(NPY) + NPY
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(post + post + last)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert _statuses(answer) == [200, 200]


def test_a_refusal_by_load_leaves_the_connection_and_what_is_left_of_its_body_is_not_a_request(served):
    service = Service.of(*served, Limits(queue=0))
    listener = listen(port=0)
    thread = threading.Thread(target=serve, args=(create_app(service), listener))
    thread.start()
    smuggled = PING * 10
    post = HEAD + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = _ask(listener.getsockname()[1], post, post, last)
    service.gate.draining = True
    thread.join(30)
    assert _statuses(answer) == [503, 503, 404]


def test_a_connection_that_was_just_made_is_answered_though_the_server_takes_no_more(served, monkeypatch):
    monkeypatch.setattr("medloom.serving.http.connection._NEW_S", 15.0)
    service = Service.of(*served)
    listener = listen(port=0)
    thread = threading.Thread(target=serve, args=(create_app(service), listener))
    thread.start()
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        assert _statuses(_ask(port, PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) == [200]
        service.gate.draining = True  # with nothing in progress it ends at once
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=20).close()
            except OSError:
                break
        raw.sendall(PING)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    thread.join(30)
    assert _statuses(answer) == [503]
    assert b"connection: close" in answer.lower()
