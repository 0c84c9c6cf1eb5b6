"""Clients that send slower than anyone has to are cut, and others do not notice."""

import http.client
import json
import socket
import subprocess
import sys

import pytest

SERVER = """
import sys
from medloom.packaging import read_bundle
from medloom.serving import Limits, Service, create_app
from medloom.serving.http.server import listen, serve

with read_bundle(sys.argv[1]) as bundle:
    predictor, manifest = bundle.predictor(threads=1), bundle.manifest
listener = listen(port=0)
print(listener.getsockname()[1], flush=True)
serve(create_app(Service.of(predictor, manifest, Limits(header_timeout_s=0.4, body_timeout_s=0.4))), listener)
"""

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n"


@pytest.fixture(scope="module")
def port(bundle_path):
    command = [sys.executable, "-c", SERVER, str(bundle_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        yield int(process.stdout.readline())
        process.kill()


@pytest.fixture
def connect(port):
    """Open connections that are closed at the end."""
    opened = []

    def connect():
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def _ping(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/ping")
    status = connection.getresponse().status
    connection.close()
    return status


def _ping_on(connection):
    """Ask on a connection that stays open."""
    connection.sendall(PING)
    answer = b""
    while not answer.endswith(b"}"):
        received = connection.recv(65536)
        assert received
        answer += received
    assert answer.startswith(b"HTTP/1.1 200 ")


def _receive_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


def _send(connection, data):
    try:
        connection.sendall(data)
    except OSError:  # it was cut
        return False
    return True


def _assert_cut(connection):
    """Refused with a reason, and closed."""
    head, _, body = _receive_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["code"] == "too_slow"


def _drip(connections, port):
    """Send all of them a byte at a time until the server has cut every one; others are answered meanwhile."""
    pending, pings = set(connections), []
    while pending:
        pings.append(_ping(port))
        pending = {one for one in pending if _send(one, b"x")}
    assert set(pings) == {200}


def test_two_hundred_connections_whose_headers_drip_are_cut_and_ping_is_answered(connect, port):
    dripping = [connect() for _ in range(200)]
    for one in dripping:
        one.sendall(b"GET /ping HTTP/1.1\r\nX-Slow: ")
    _drip(dripping, port)
    assert _ping(port) == 200


def test_a_connection_that_sends_nothing_or_half_a_line_is_told_why_it_is_cut(connect):
    silent, half = connect(), connect()
    half.sendall(b"GET /pi")
    _assert_cut(silent)
    _assert_cut(half)


def test_the_second_request_of_a_connection_must_come_in_time_as_well(connect):
    connection = connect()
    _ping_on(connection)
    connection.sendall(PING[:10])
    _assert_cut(connection)


def test_a_connection_may_rest_between_requests(connect, port):
    resting, later = connect(), connect()
    _ping_on(resting)
    _assert_cut(later)  # by now the time for headers has passed
    _ping_on(resting)
    assert _ping(port) == 200


def test_bodies_that_drip_are_cut_and_ping_is_answered(connect, port):
    dripping = [connect() for _ in range(50)]
    for one in dripping:
        one.sendall(HEAD)
    _drip(dripping, port)


def test_a_body_that_does_not_come_is_told_why_it_is_cut(connect):
    connection = connect()
    connection.sendall(HEAD)
    _assert_cut(connection)
