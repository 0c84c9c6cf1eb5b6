"""What operators see of requests, and that no name of a patient is in it."""

import io
import json
import logging
import re
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from medloom.imaging import encode_png
from medloom.serving import Service, create_app
from medloom.serving.http.logs import logging_to
from medloom.serving.http.operations import Operation, operated
from medloom.serving.problems import Problem

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CANARY = "DOEJOHN19470302"
PIXELS = np.arange(48 * 40 * 3, dtype=np.uint32).reshape(48, 40, 3).astype(np.uint8)
PNG = encode_png(PIXELS)


class Server:
    """An application with everything around it, and what it wrote."""

    def __init__(self, client, app, log, around):
        self._client, self.app, self._log, self.around = client, app, log, around

    def ask(self, method="POST", path="/invocations", content=PNG, **headers):
        given = {"content-type": "image/png", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self._client(self.app).request(method, path, content, given)

    def metrics(self):
        """The value of each sample by its name and labels."""
        text = self._client(self.app).get("/metrics").text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name, **labels):
        return self.metrics().get((name, frozenset(labels.items())))


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def serving(make_client, served, log):
    """Makes servers whose log is in ``log``, complete when the block is left."""

    @contextmanager
    def serving(**options):
        with operated(Operation(**{"allow_hosts": ("test",), **options}), log) as around:
            service = Service.of(*served)
            service.observers = (around.watch,)
            app = create_app(service, middleware=around.middleware, routes=around.routes(service))
            yield Server(make_client, app, log, around)
            service.close()

    return serving


def _lines(log):
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_request_is_one_line_with_its_stages_and_the_moments_of_its_image(serving, log):
    with serving() as server:
        answer = server.ask(X_Request_Id="8C5D7A6E-0000-4000-8000-123456789abc")
    assert answer.headers["x-request-id"] == "8c5d7a6e-0000-4000-8000-123456789abc"
    (line,) = _lines(log)
    assert line["request_id"] == "8c5d7a6e-0000-4000-8000-123456789abc"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    expected = {
        "level": "info",
        "method": "POST",
        "route": "/invocations",
        "status": 200,
        "code": "ok",
        "content_type": "image/png",
        "bytes_in": len(PNG),
        "bytes_out": len(answer.content),
        "model": "tiny",
        "batch_size": 1,
        "image_bytes": len(PNG),
    }
    assert {key: line[key] for key in expected} == expected
    assert set(line["stages_s"]) >= {"read", "decode", "prepare", "predict", "encode"}
    assert line["mean"] == pytest.approx(PIXELS.mean(), rel=1e-5)
    assert line["std"] == pytest.approx(PIXELS.std(), rel=1e-5)


def test_the_moments_of_a_large_image_are_of_all_its_channels(serving, log):
    pixels = np.zeros((256, 1024, 3), np.uint8)
    pixels[..., 2] = 90
    with serving() as server:
        assert server.ask(content=encode_png(pixels)).status_code == 200
    (line,) = _lines(log)
    assert (line["mean"], line["std"]) == (30.0, pytest.approx(pixels.std(), rel=1e-5))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"X-Request-Id": "0123456789abcdef0123456789abcdef"}, "0123456789abcdef0123456789abcdef"),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
    ],
)
def test_the_id_of_a_request_is_the_clients_or_that_of_its_trace(serving, given, taken):
    with serving() as server:
        assert server.ask("GET", "/ping", **given).headers["x-request-id"] == taken


@pytest.mark.parametrize(
    "given",
    [
        {"X-Request-Id": "DOE-JOHN"},
        {"X-Request-Id": "00012345678"},
        {"X-Request-Id": "a" * 200},
        {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
        {"traceparent": "DOE"},
    ],
    ids=["name", "number", "long", "zero", "word"],
)
def test_an_id_that_might_be_a_name_or_a_number_of_a_patient_is_not_taken(serving, given):
    with serving() as server:
        assert uuid.UUID(server.ask("GET", "/ping", **given).headers["x-request-id"]).version == 4


def test_a_refusal_is_a_line_with_its_code_and_one_of_the_server_is_a_warning(serving, log):
    with serving() as server:
        server.ask(content=PNG[:200])
        server.ask(content_type="text/plain")
        server.ask("GET", "/nothing")
        server.ask(path="/v2/models/tiny/infer", content=b"{")
        server.ask("GET", "/v2/models/none")
        server.app.state.gate.draining = True
        server.ask()
    lines = _lines(log)
    assert [(line["status"], line["code"], line["level"]) for line in lines] == [
        (400, "truncated", "info"),
        (415, "unsupported_type", "info"),
        (404, "not_found", "info"),
        (400, "bad_tensor", "info"),
        (404, "unknown_model", "info"),
        (503, "going_down", "warning"),
    ]
    assert lines[0]["image_code"] == "truncated"
    assert lines[1]["content_type"] == "other"
    assert lines[2]["route"] == "unmatched"


def test_health_and_metrics_that_are_well_are_not_worth_a_line_and_trouble_is(serving, log):
    with serving() as server:
        for path in ("/ping", "/healthz", "/readyz", "/metrics"):
            assert server.ask("GET", path).status_code == 200
        server.app.state.gate.draining = True
        server.ask("GET", "/ping")
    assert [(line["route"], line["status"]) for line in _lines(log)] == [("/ping", 503)]


def test_lines_for_people_name_what_took_how_long(serving, log):
    with serving(log_format="plain") as server:
        server.ask()
    (line,) = log.getvalue().splitlines()
    assert re.search(
        r"Z POST /invocations 200 ok \d+\.\d ms \(read .*, decode .*, encode \d+\.\d\) [0-9a-f-]{36}$", line
    )


def test_without_a_log_of_requests_warnings_are_still_told(serving, log):
    with serving(log_format="none") as server:
        server.ask()
        logging.getLogger("medloom.serving").warning("the disk is slow")
    (line,) = log.getvalue().splitlines()
    assert line.endswith("warning: the disk is slow")


def test_of_what_libraries_say_and_of_exceptions_only_the_place_is_told(serving, log):
    with serving():
        logging.getLogger("pydicom").warning("bad value %s", CANARY)
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger("uvicorn.error").exception("it broke")
    first, second = _lines(log)
    assert first["message"].startswith("pydicom said something at test_operations.py:")
    assert second["message"].startswith("it broke (ValueError at test_operations.py:")
    assert CANARY not in log.getvalue()


class _Stuck(io.StringIO):
    """Takes nothing until it is freed."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()

    def write(self, text):
        self.free.wait(30)
        return super().write(text)


def test_a_log_that_nobody_reads_keeps_nobody_waiting_and_tells_what_was_lost(monkeypatch):
    monkeypatch.setattr("medloom.serving.http.logs._MOST_WAITING", 4)
    stuck = _Stuck()
    logger = logging.getLogger("medloom.serving")
    with logging_to("json", stuck):
        for number in range(20):
            logger.warning("line %d", number)
        stuck.free.set()
    lines = [json.loads(line)["message"] for line in stuck.getvalue().splitlines()]
    (lost,) = (int(line.split()[0]) for line in lines if "were lost" in line)
    assert len(lines) - 1 + lost == 20


def test_requests_images_stages_and_batches_are_counted(serving):
    with serving() as server:
        for _ in range(3):
            server.ask()
        server.ask(content=PNG[:200])
        server.ask(content_type="text/plain")
        found = server.metrics()
    get = {(name, *sorted(dict(labels).items())): value for (name, labels), value in found.items()}.get
    said = ("method", "POST"), ("route", "/invocations")
    assert get(("medloom_requests_total", ("code", "ok"), *said, ("status", "200"))) == 3
    assert get(("medloom_requests_total", ("code", "truncated"), *said, ("status", "400"))) == 1
    assert get(("medloom_request_duration_seconds_count", ("route", "/invocations"))) == 5
    assert get(("medloom_images_total", ("code", "ok"), ("model", "tiny"))) == 3
    assert get(("medloom_decode_errors_total", ("code", "truncated"))) == 1
    assert get(("medloom_rejections_total", ("reason", "unsupported_type"))) == 1
    assert get(("medloom_rejections_total", ("reason", "truncated"))) is None
    for stage, count in (("decode", 4), ("predict", 3), ("encode", 3)):
        assert get(("medloom_stage_duration_seconds_count", ("model", "tiny"), ("stage", stage))) == count
    assert get(("medloom_batch_size_sum", ("model", "tiny"))) == 3
    assert get(("medloom_models_loaded",)) == 1
    assert get(("medloom_requests_in_progress",)) == 1  # the one that asks
    assert get(("medloom_queue_depth",)) == 0
    assert get(("medloom_request_body_bytes_total",)) >= 3 * len(PNG)


def test_what_clients_invent_makes_no_series(serving):
    with serving() as server:
        server.ask()
        server.ask("GET", "/nothing")
        server.ask("BREW", "/ping")
        server.ask(path="/models/none/invocations")
        server.ask(content_type="x/y")
        server.metrics()
        before = set(server.metrics())
        for number in range(20):
            server.ask("GET", f"/{CANARY}{number}")
            server.ask(f"BREW{number}", "/ping")
            server.ask(path=f"/models/{CANARY}{number}/invocations")
            server.ask(content_type=f"x/{CANARY}{number}")
        after = set(server.metrics())
    assert after == before
    assert CANARY not in str(after)


def test_what_was_refused_before_it_was_a_request_is_counted_and_written(serving, log):
    with serving() as server:
        server.app.state.refused(Problem(408, "too_slow", "the headers did not arrive", close=True))
        assert server.value("medloom_rejections_total", reason="too_slow") == 1
        assert server.value("medloom_requests_in_progress") == 1  # the one that asks
    (line,) = _lines(log)
    assert (line["code"], line["level"]) == ("too_slow", "info")
    assert "status" not in line


def test_the_dashboard_asks_for_figures_that_there_are(serving):
    dashboard = (Path(__file__).parents[2] / "docs" / "grafana.json").read_text()
    with serving() as server:
        server.ask(content=PNG[:200])
        server.ask()
        server.ask(content_type="text/plain")
        there = {name for name, _ in server.metrics()}
    asked = set(re.findall(r"medloom_[a-z_]+", dashboard))
    assert len(asked) > 8
    assert asked <= there


def test_others_add_gauges_of_their_own(serving):
    with serving() as server:
        server.around.metrics.gauge("drift_energy", "How unlike the training.", "model").labels("tiny").set(0.25)
        assert server.value("medloom_drift_energy", model="tiny") == 0.25


def test_openmetrics_is_given_to_who_asks_for_it(serving):
    with serving() as server:
        text = server.ask("GET", "/metrics", accept="application/openmetrics-text").text
    assert text.endswith("# EOF\n")


def test_an_application_that_breaks_is_answered_and_its_message_is_told_nobody(serving, log):
    async def broken(scope, receive, send):
        raise ValueError(CANARY)

    with serving() as server:
        app = broken
        for around in reversed(server.around.middleware):
            app = around(app)
        server.app = app
        answer = server.ask()
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert CANARY not in log.getvalue() + answer.text
    assert [line["level"] for line in _lines(log)] == ["error", "warning"]


def test_tokens_hosts_and_sites_are_checked_in_that_order_from_the_outside(serving, tmp_path, assert_problem):
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-0123456789\n")
    with serving(token_file=tokens, allow_origins=("https://friend.example",)) as server:
        assert_problem(server.ask(host="evil.example"), 403, "host_not_allowed")
        assert_problem(server.ask(origin="https://evil.example"), 403, "origin_not_allowed")
        assert_problem(server.ask(), 401, "unauthorized")
        assert_problem(server.ask("GET", "/metrics"), 401, "unauthorized")
        assert server.ask(authorization="Bearer a-token-0123456789").status_code == 200
        may = server.ask("OPTIONS", origin="https://friend.example", access_control_request_method="POST")
        assert may.headers["access-control-allow-origin"] == "https://friend.example"


def test_a_server_for_other_machines_warns_of_what_can_be_read_on_the_way(tmp_path):
    assert Operation().warnings() == []
    assert "asks for no token" in Operation(host="0.0.0.0", insecure=True).warnings()[0]
    assert "--tls-cert" in Operation(host="0.0.0.0", token_file=tmp_path / "tokens").warnings()[0]
