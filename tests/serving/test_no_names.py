"""Names of patients in files, metadata, tags, paths and headers: none is in what a server tells anyone. Row f3."""

import base64
import http.client
import io
import json
import threading
import warnings
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pydicom import dcmread

from medloom.imaging import encode_png
from medloom.serving import Service, create_app
from support.server_process import serving_process

CANARY = "DOEJOHN19470302"
PIXELS = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32).astype(np.uint8)
PNG = encode_png(np.repeat(PIXELS[..., None], 3, axis=2))
GREY = encode_png(PIXELS)
_NUMBER = "1.2345678901234"  # as long as the name that takes its place
TOKEN = "a-token-0123456789"


@contextmanager
def _collector():
    """Where traces go, and what came."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _dicom(make_dicom, **tags):
    """A sound file with a name in many places, and in values that are not what their type allows."""
    data = dcmread(io.BytesIO(make_dicom(PIXELS)))
    said = {"PatientName": CANARY, "PatientID": CANARY, "InstitutionName": CANARY, "StudyDescription": CANARY, **tags}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is meant to be wrong
        for name, value in said.items():
            setattr(data, name, value)
        data.add_new(0x00100030, "DA", f"x{CANARY}")
        data.add_new(0x00200013, "IS", "1")
        data.private_block(0x0011, CANARY, create=True).add_new(1, "LO", CANARY)
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue().replace(_NUMBER.encode(), CANARY.encode())


def _form(image):
    boundary = "b"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{CANARY}.png"\r\n'
    return head.encode() + b"Content-Type: image/png\r\n\r\n" + image + f"\r\n--{boundary}--\r\n".encode()


def _json(image, **more):
    return json.dumps({"image": base64.b64encode(image).decode(), **more}).encode()


def _requests(make_dicom, image):
    """Method, path, body, headers."""
    dicom = _dicom(make_dicom)
    odd = _dicom(make_dicom, SOPInstanceUID=CANARY, RescaleSlope=_NUMBER, RescaleIntercept="0")
    kind = {"Content-Type": "image/png"}
    metadata = {"age": 40, "sex": CANARY, CANARY: CANARY}
    return [
        ("POST", "/invocations", image, {**kind, "X-Patient": CANARY, "User-Agent": CANARY, "Cookie": f"n={CANARY}"}),
        ("POST", "/invocations", image, {**kind, "Content-Disposition": f'attachment; filename="{CANARY}.png"'}),
        ("POST", "/invocations", image, {"Content-Type": f"image/png; name={CANARY}", "Referer": f"http://x/{CANARY}"}),
        ("POST", f"/invocations?name={CANARY}&series={CANARY}&page={CANARY}", image, kind),
        ("POST", f"/invocations?series={CANARY}", image, kind),
        ("POST", "/invocations", image, {**kind, "Accept": f"{CANARY}/x", "X-Request-Id": CANARY}),
        ("POST", "/invocations", image, {**kind, "X-Request-Timeout": CANARY, "traceparent": CANARY}),
        ("POST", "/invocations", dicom, {"Content-Type": "application/dicom"}),
        ("POST", "/invocations", odd, {"Content-Type": "application/dicom"}),
        ("POST", "/invocations", dicom[:-500], {"Content-Type": "application/dicom"}),
        ("POST", "/invocations", dicom, {"Content-Type": "image/png"}),
        ("POST", "/invocations", _json(image, metadata=metadata), {"Content-Type": "application/json"}),
        (
            "POST",
            "/invocations",
            _json(image, metadata={"age": CANARY, "sex": "male"}),
            {"Content-Type": "application/json"},
        ),
        ("POST", "/invocations", _json(image, **{CANARY: 1}), {"Content-Type": "application/json"}),
        ("POST", "/invocations", CANARY.encode(), {"Content-Type": "application/json"}),
        ("POST", "/invocations", CANARY.encode(), kind),
        ("POST", "/invocations", _form(image), {"Content-Type": f"multipart/form-data; boundary=b; x={CANARY}"}),
        ("POST", f"/models/{CANARY}/invocations", image, kind),
        ("GET", f"/{CANARY}", None, {}),
        ("GET", f"/ping?{CANARY}", None, {}),
        (CANARY, "/ping", None, {}),
        ("GET", "/", None, {"Authorization": f"Bearer {CANARY}"}),
        ("GET", "/", None, {"Host": f"{CANARY}.example"}),
        ("GET", "/", None, {"Origin": f"https://{CANARY}.example"}),
    ]


def _ask(port, method, path, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers.as_string(), answer.read().decode("latin-1")
    finally:
        connection.close()


def _infer(image, **more):
    given = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()], **more}
    return json.dumps({"inputs": [given]}).encode()


_NAMED = {
    "media type": ("/invocations", PNG, {"Content-Type": f"image/{CANARY}"}),
    "media type without a slash": ("/invocations", PNG, {"Content-Type": CANARY}),
    "encoding": ("/invocations", PNG, {"Content-Type": "image/png", "Content-Encoding": CANARY}),
    "encoding of V2": ("/v2/models/tiny/infer", _infer(PNG), {"Content-Encoding": CANARY}),
    "form": (f"/invocations?form=json,{CANARY}", PNG, {"Content-Type": "image/png"}),
    "form in Accept": (
        "/invocations",
        PNG,
        {"Content-Type": "image/png", "Accept": f"multipart/mixed; forms={CANARY}"},
    ),
    "model in a header": (
        "/invocations",
        PNG,
        {"Content-Type": "image/png", "X-Amzn-SageMaker-Target-Model": CANARY},
    ),
    "time": ("/invocations", PNG, {"Content-Type": "image/png", "X-Request-Timeout": CANARY}),
    "media type in JSON": ("/invocations", _json(PNG, content_type=CANARY), {"Content-Type": "application/json"}),
    "page in JSON": ("/invocations", _json(PNG, page=CANARY), {"Content-Type": "application/json"}),
    "input of V2": ("/v2/models/tiny/infer", _infer(PNG, name=CANARY), {}),
    "datatype of V2": ("/v2/models/tiny/infer", _infer(PNG, datatype=CANARY), {}),
    "media type of V2": ("/v2/models/tiny/infer", _infer(PNG, parameters={"content_type": CANARY}), {}),
    "key of V2": ("/v2/models/tiny/infer", _infer(PNG, **{CANARY: 1}), {}),
    "model of V2": (f"/v2/models/{CANARY}/infer", _infer(PNG), {}),
    "boundary": ("/invocations", PNG, {"Content-Type": f"multipart/form-data; boundary={CANARY}"}),
}


@pytest.mark.parametrize("where", _NAMED)
def test_a_refusal_repeats_nothing_that_a_client_made_up(served, make_client, where):
    answer = make_client(create_app(Service.of(*served))).post(*_NAMED[where])
    assert 400 <= answer.status_code < 500
    assert CANARY.lower() not in f"{answer.text} {answer.headers}".lower()


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Content-Type", "application/x-www-form-urlencoded", 415),
        ("Content-Type", "text/html; charset=utf-8", 415),
        ("Content-Encoding", "gzip", 415),
    ],
)
def test_a_usual_media_type_or_encoding_that_is_not_taken_is_named(served, make_client, header, value, status):
    client = make_client(create_app(Service.of(*served)))
    answer = client.post("/invocations", PNG, {"Content-Type": "image/png", header: value})
    assert (answer.status_code, answer.json()["message"]) == (
        status,
        f"{header} {value.partition(';')[0]} is not taken",
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "plain"])
@pytest.mark.parametrize("kind", ["bundle_path", "label_bundle_path"])
def test_no_name_is_in_logs_metrics_traces_or_refusals(make_dicom, tmp_path, request, kind, form):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="pip install 'medloom[traces]'")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    options = ("--token-file", str(tokens), "--log-format", form)
    image = PNG if kind == "bundle_path" else GREY
    with _collector() as (endpoint, traces):
        environment = {"OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        with serving_process(
            request.getfixturevalue(kind), *options, "--otlp-endpoint", endpoint, environment=environment
        ) as server:
            said = [_ask(server.port, *one) for one in _requests(make_dicom, image)]
            metrics = _ask(server.port, "GET", "/metrics", None, {})
    refused = [one for one in said if one[0] >= 400]
    assert sum(one[0] == 200 for one in said) >= 4
    assert len(refused) >= 10
    assert not [one for one in said if one[0] >= 500]
    assert [one for one in refused if CANARY in one[2] or CANARY in one[1]] == []
    assert CANARY not in metrics[2]
    log = "".join(server.lines)
    assert log.count("/invocations") >= 10
    assert [line for line in server.lines if CANARY in line] == []
    assert traces
    assert not [body for body in traces if CANARY.encode() in body]
