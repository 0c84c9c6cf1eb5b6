import contextlib
import http.client
import io
import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medloom.errors import UserError
from medloom.serving.http.server import listen

# Predictions wait inside the runtime until the test writes a line; each says when it has been decoded.
SERVER = """
import sys, threading
from dataclasses import replace
from medloom.imaging import decode
from medloom.packaging import read_bundle
from medloom.serving import Limits, Service, create_app
from medloom.serving.http.server import listen, serve

go, lock = threading.Event(), threading.Lock()

class Waiting:
    name = "waiting"
    def __init__(self, inner):
        self.inner = inner
    def run(self, batch_nchw, table_nf=None):
        go.wait(30)
        return self.inner.run(batch_nchw, table_nf)

def decoded(*args, **options):
    image = decode(*args, **options)
    with lock:
        print("begun", flush=True)
    return image

with read_bundle(sys.argv[1]) as bundle:
    predictor, manifest = bundle.predictor(threads=1), bundle.manifest
predictor = replace(predictor, runtime=Waiting(predictor.runtime), decoder=decoded)
threading.Thread(target=lambda: (sys.stdin.readline(), go.set()), daemon=True).start()
listener = listen(port=0)
print(listener.getsockname()[1], flush=True)
serve(create_app(Service.of(predictor, manifest, Limits(concurrency=8))), listener)
print("finished", flush=True)
"""


def _request(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _wait_for_ping(port, status):
    while _request(port, "GET", "/ping")[0] != status:
        pass


@pytest.fixture
def server(bundle_path):
    command = [sys.executable, "-c", SERVER, str(bundle_path)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, np.full((16, 16, 3), 9, np.uint8))
    return buffer.getvalue()


def test_sigterm_turns_ping_to_503_answers_all_that_is_inside_and_ends_with_0(server):
    process, port = server
    headers = {"Content-Type": "application/x-npy"}
    with ThreadPoolExecutor(8) as pool:
        inside = [pool.submit(_request, port, "POST", "/invocations", _npy(), headers) for _ in range(8)]
        for _ in range(8):
            assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        _wait_for_ping(port, 503)
        process.stdin.write("\n")
        process.stdin.flush()
        assert [one.result(timeout=30)[0] for one in inside] == [200] * 8
    assert process.stdout.readline() == "finished\n"
    assert process.wait(timeout=25) == 0


def test_a_request_without_a_length_or_with_two_is_told_why_it_is_refused(server):
    _, port = server
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    for more, status, code in (
        (b"", b" 411 ", "length_required"),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n", b" 400 ", "bad_request"),
        (b"Content-Length: -1\r\n", b" 400 ", "bad_request"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(head + more + b"\r\n")
            answer = b"".join(iter(lambda raw=raw: raw.recv(65536), b""))
        given, _, body = answer.partition(b"\r\n\r\n")
        assert status in given.split(b"\r\n")[0]
        assert b"application/problem+json" in given
        assert json.loads(body)["code"] == code


def test_a_body_that_breaks_off_its_chunks_after_the_answer_is_cut_without_a_fault(server):
    process, port = server
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(head)
        answer = raw.recv(65536)
        raw.sendall(b"no chunk\r\n")
        answer += b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert answer.count(b"HTTP/1.1") == 1
    process.kill()
    assert "Traceback" not in process.stderr.read()


def test_a_client_that_sends_all_before_it_listens_hears_why_it_was_refused(server):
    _, port = server
    for content_type, status, code in (("image/png", 413, b"too_large"), ("text/plain", 415, b"unsupported_type")):
        found, body = _request(port, "POST", "/invocations", bytes(40 * 2**20), {"Content-Type": content_type})
        assert found == status
        assert code in body


def test_a_body_in_chunks_of_next_to_nothing_is_refused_and_one_in_small_chunks_is_not(server):
    _, port = server
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    for chunk, count, status in (
        (b"1\r\nx\r\n", 200_000, b" 400 "),
        (b"10\r\n" + bytes(16) + b"\r\n", 9000, b" 415 "),
    ):
        answer = b""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(head)
            with contextlib.suppress(OSError):  # it was cut
                raw.sendall(chunk * count + b"0\r\n\r\n")
            with contextlib.suppress(OSError):
                answer = raw.recv(65536)
        assert status in answer or (status == b" 400 " and not answer)  # a reset may overtake the answer
    assert _request(port, "GET", "/ping")[0] == 200


def test_an_endless_body_in_chunks_is_cut_off(server):
    _, port = server
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(head)
        sent = 0
        try:
            while sent < 128:
                raw.sendall(chunk)
                sent += 1
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 128
    assert _request(port, "GET", "/ping")[0] == 200


def test_a_port_in_use_says_how_to_take_a_free_one():
    with listen(port=0) as first, pytest.raises(UserError, match="--port 0 for a free one"):
        listen(port=first.getsockname()[1])
