"""Lambda's runtime API on loopback: hands out events, keeps the answers.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["runtime_api"]

_HEADERS = {
    "Lambda-Runtime-Aws-Request-Id": "one",
    "Lambda-Runtime-Deadline-Ms": "99999999999999",
    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:m",
    "Content-Type": "application/json",
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.server.events:  # as Lambda does, it lets the function wait
            self.server.done.set()
            self.server.gone.wait()
            return
        self._answer(200, json.dumps(self.server.events.pop(0)).encode(), _HEADERS)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.path.rpartition("/")[2]
        self.server.answers.append((kind, json.loads(body)))
        if "/init/" in self.path:
            self.server.done.set()
        self._answer(202, b"", {})

    def _answer(self, status, body, headers):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def runtime_api(events):
    """Serve events in their order.

    The server has ``address``, ``answers`` as pairs of ``response`` or ``error`` and what was said, and ``done``,
    which is set when the function asks for more than there are.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.events, server.answers = list(events), []
    server.done, server.gone = threading.Event(), threading.Event()
    server.address = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.gone.set()
        server.shutdown()
        server.server_close()
