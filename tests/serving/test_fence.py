"""The server as it is started decodes in other processes: none of them outlives it, none takes it along."""

import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest
from PIL import Image as PillowImage

from medloom.serving import Service, create_app

FAULTS = Path(__file__).parents[1] / "imaging"  # the place of ``fence_faults``
PIXELS = np.tile(np.arange(0, 200, 5, dtype=np.uint8), (48, 1))

FAULTY = """
import sys
from dataclasses import replace
from medloom.imaging.fence import DecodeFence
from medloom.packaging import read_bundle
from medloom.serving import Service, create_app
from medloom.serving.http.server import listen, serve

with read_bundle(sys.argv[1]) as bundle:
    predictor, manifest = bundle.predictor(threads=1), bundle.manifest
options = {"limit_s": float(sys.argv[2]), "growth_bytes": 2**27, "target": "fence_faults:decode"}
with listen(port=0) as listener, DecodeFence(**options) as fence:
    print(f"on http://127.0.0.1:{listener.getsockname()[1]} ", file=sys.stderr, flush=True)
    serve(create_app(Service.of(replace(predictor, decoder=fence.decode), manifest)), listener)
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(FAULTS), os.environ.get("PYTHONPATH", "")))},
        )
        lines = iter(self.process.stderr.readline, "")
        self.port = next(int(found[1]) for line in lines if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))

    def ask(self, body, kind):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/invocations", body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    @property
    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def start():
    """Start a server; it is killed at the end."""
    started = []

    def start(*command):
        started.append(Server(*command))
        return started[-1]

    yield start
    for server in started:
        with server.process:
            server.process.kill()


def _wait_until_gone(processes):
    deadline = time.monotonic() + 10
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < deadline, processes


def _saved(kind):
    buffer = io.BytesIO()
    PillowImage.fromarray(PIXELS).save(buffer, kind)
    return buffer.getvalue()


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, PIXELS)
    return buffer.getvalue()


GOOD = {
    "image/tiff": _saved("tiff"),
    "image/png": _saved("png"),
    "image/jpeg": _saved("jpeg"),
    "application/x-npy": _npy(),
    "application/octet-stream": nibabel.Nifti1Image(PIXELS.T[..., None], np.eye(4)).to_bytes(),
}


def test_the_command_answers_every_format_as_without_a_fence_and_leaves_no_process(
    start, label_bundle_path, served_labels, make_client, make_dicom
):
    server = start("-m", "medloom.cli.main", "serve", label_bundle_path, "--port", 0, "--threads", 1)
    client = make_client(create_app(Service.of(*served_labels)))
    for kind, body in {**GOOD, "application/dicom": make_dicom(PIXELS)}.items():
        expected = client.post("/invocations", body, {"Content-Type": kind}).content
        assert server.ask(body, kind) == (200, expected), kind
        assert server.ask(body[: len(body) // 2], kind)[0] == (422 if "npy" in kind else 400)
        assert server.ask(body, kind) == (200, expected), kind
    family = server.family
    assert any("medloom.imaging.fence.host" in one.cmdline() for one in family)
    assert len(family) >= 2
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=25) == 0
    _wait_until_gone(family)


def test_a_decoder_that_crashes_hangs_or_starves_costs_its_own_request_and_nothing_else(start, label_bundle_path):
    server = start("-c", FAULTY, label_bundle_path, 1)
    before = server.ask(GOOD["image/png"], "image/png")
    assert before[0] == 200
    for fault, status, code in [
        (b"crash", 400, b"decoder_failed"),
        (b"hang", 400, b"too_slow"),
        (b"starve", 413, b"too_large"),
        (b"killed", 400, b"decoder_failed"),
    ]:
        found, body = server.ask(fault, "image/png")
        assert (found, code in body) == (status, True), fault
        assert server.ask(GOOD["image/png"], "image/png") == before
    assert server.process.poll() is None


def test_kill_9_of_the_server_leaves_no_process_even_while_one_hangs(start, label_bundle_path):
    server = start("-c", FAULTY, label_bundle_path, 60)
    assert server.ask(GOOD["image/png"], "image/png")[0] == 200
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\nhang"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(head)
        assert server.ask(GOOD["image/png"], "image/png")[0] == 200
        family = server.family
        assert len(family) >= 2
        server.process.kill()
    _wait_until_gone(family)
