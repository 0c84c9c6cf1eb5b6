"""Traces, against a small collector that speaks OTLP over HTTP. It needs the extra ``traces``."""

import gzip
import io
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from medloom.errors import UserError
from medloom.imaging import encode_png
from medloom.serving import Service, create_app
from medloom.serving.http.operations import Operation, operated
from medloom.serving.http.traces import are_wanted, traced

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PNG = encode_png(np.arange(32 * 32 * 3, dtype=np.uint32).reshape(32, 32, 3).astype(np.uint8))
CANARY = "DOEJOHN19470302"


@pytest.fixture
def collector(monkeypatch):
    """Where to send traces, and the spans that came."""
    came, bodies = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            bodies.append((self.path, body))
            for resource in trace_service.ExportTraceServiceRequest.FromString(body).resource_spans:
                said = {one.key: one.value.string_value for one in resource.resource.attributes}
                came.extend((said["service.name"], span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came, bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def serving(make_client, served):
    @contextmanager
    def serving(endpoint=None):
        operation = Operation(allow_hosts=("test",), log_format="none", otlp_endpoint=endpoint)
        with operated(operation, io.StringIO()) as around:
            service = Service.of(*served)
            service.observers = (around.watch,)
            yield make_client(create_app(service, middleware=around.middleware, routes=around.routes(service)))
            service.close()

    return serving


def _attributes(span):
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_request_is_a_span_of_the_clients_trace_with_one_for_each_stage(serving, collector):
    endpoint, came, _ = collector
    headers = {"Content-Type": "image/png", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    with serving(endpoint) as client:
        assert client.post("/invocations", PNG, headers).status_code == 200
    spans = {span.name: span for _, span in came}
    root = spans.pop("POST /invocations")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    said = _attributes(root)
    assert (said["http.route"], said["http.response.status_code"]) == ("/invocations", 200)
    assert said["medloom.request_id"] == TRACE
    assert {"read", "decode", "prepare", "predict", "encode"} <= set(spans)
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert {_attributes(span)["medloom.model"] for span in spans.values()} == {"tiny"}
    starts = [spans[name].start_time_unix_nano for name in ("read", "decode", "prepare", "predict", "encode")]
    assert starts == sorted(starts)
    assert root.start_time_unix_nano <= starts[0]
    assert max(span.end_time_unix_nano for span in spans.values()) <= root.end_time_unix_nano
    assert {name for name, _ in came} == {"medloom"}


def test_a_failure_of_the_server_is_one_in_the_trace_and_health_is_not_traced(serving, collector):
    endpoint, came, _ = collector
    with serving(endpoint) as client:
        client.get("/ping")
        client._transport.app.state.gate.draining = True
        client.post("/invocations", PNG, {"Content-Type": "image/png"})
    ((_, span),) = came
    assert (span.status.code, _attributes(span)["error.type"]) == (2, "going_down")


def test_what_clients_write_is_in_no_trace(serving, collector):
    endpoint, _, bodies = collector
    headers = {"Content-Type": f"x/{CANARY}", "tracestate": f"a={CANARY}", "baggage": f"p={CANARY}", "X-Name": CANARY}
    headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
    with serving(endpoint) as client:
        client.post(f"/invocations?name={CANARY}", PNG, headers)
        client.post(f"/{CANARY}", PNG, headers)
        client.request(CANARY, "/ping", headers=headers)
    assert {path for path, _ in bodies} == {"/v1/traces"}
    assert all(CANARY.encode() not in body for _, body in bodies)


def test_the_environment_of_opentelemetry_is_enough(serving, collector, monkeypatch):
    endpoint, came, _ = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "radiology")
    with serving() as client:
        client.get("/")
    assert [(name, span.name) for name, span in came] == [("radiology", "GET /")]


def test_nothing_is_sent_unless_it_is_asked_for(serving, collector):
    _, came, _ = collector
    with serving() as client:
        client.get("/")
    assert came == []


@pytest.mark.parametrize(
    ("endpoint", "environment", "wanted"),
    [
        (None, {}, False),
        ("https://collector", {}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector"}, True),
        (None, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (None, {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector"}, False),
        ("https://collector", {"OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
    ids=["nothing", "option", "endpoint", "exporter", "none", "disabled"],
)
def test_traces_are_wanted_when_someone_says_so(endpoint, environment, wanted):
    assert are_wanted(endpoint, environment) is wanted


def test_what_will_not_do_is_said_before_anything_is_served(monkeypatch):
    with pytest.raises(UserError, match="--otlp-endpoint"), traced("collector:4318"):
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(UserError, match="http/protobuf"), traced(None):
        pass


def test_a_collector_that_is_not_there_harms_no_request_and_holds_up_no_end(serving, monkeypatch):
    monkeypatch.setattr("medloom.serving.http.traces._END_S", 0.1)
    with serving("http://127.0.0.1:9") as client:
        assert client.post("/invocations", PNG, {"Content-Type": "image/png"}).status_code == 200
