"""The container as a function of Lambda, driven by AWS's own client of the runtime API."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from medloom.container.__main__ import main
from medloom.imaging import encode_png
from support.bundles import write_tiny_bundle


class RuntimeApi(BaseHTTPRequestHandler):
    """Hands out events, and ends the container's wait once there are none.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    def do_GET(self):
        if not self.server.events:
            self.server.done.set()
            self.server.gone.wait()
            return
        body = json.dumps(self.server.events.pop(0)).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "one")
        self.send_header("Lambda-Runtime-Deadline-Ms", "99999999999999")
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:m")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.answers.append((self.path.rpartition("/")[2], json.loads(body)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_the_entry_point_answers_image_after_image_and_goes_on_after_an_event_that_is_none(tmp_path):
    write_tiny_bundle(tmp_path / "model.tar.gz")
    request = {
        "version": "2.0",
        "rawPath": "/invocations",
        "rawQueryString": "",
        "headers": {"content-type": "image/png"},
        "requestContext": {"http": {"method": "POST", "sourceIp": "192.0.2.1"}, "stage": "$default"},
        "body": base64.b64encode(encode_png(np.zeros((32, 32, 3), np.uint8))).decode(),
        "isBase64Encoded": True,
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
    server.daemon_threads = True
    server.events, server.answers = [request, {"Records": []}, request], []
    server.done, server.gone = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {
        **os.environ,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
        "MEDLOOM_BUNDLE": str(tmp_path / "model.tar.gz"),
    }
    process = subprocess.Popen([sys.executable, "-m", "medloom.container", "lambda"], env=variables)
    try:
        assert server.done.wait(120)
    finally:
        process.kill()
        process.wait()
        server.gone.set()
        server.shutdown()
        server.server_close()
    assert [kind for kind, _ in server.answers] == ["response", "error", "response"]
    assert [said["statusCode"] for kind, said in server.answers if kind == "response"] == [200, 200]
    assert server.answers[1][1]["errorType"] == "UserError"


def test_outside_of_lambda_it_is_said_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    assert main(["lambda"]) == 2
    assert "AWS_LAMBDA_RUNTIME_API is not set" in capsys.readouterr().err
