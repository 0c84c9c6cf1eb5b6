"""The OpenAPI document says everything that comes, and schemathesis finds nothing else. Rows b8 and b9."""

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Route

import medloom.serving
from medloom.imaging import encode_png
from medloom.serving import Service, create_app
from medloom.serving.http.openapi import document
from medloom.serving.http.openapi_paths import PATHS
from medloom.serving.http.openapi_schemas import PROBLEMS
from medloom.serving.http.operations import Operation, operated
from support.server_process import serving_process

PNG = encode_png(np.full((24, 20, 3), 40, np.uint8))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def opened(make_client):
    """Makes a client of an application with everything around it."""
    with contextlib.ExitStack() as stack:

        def open_one(served, **options):
            options = {"allow_hosts": ("test",), "log_format": "none", **options}
            around = stack.enter_context(operated(Operation(**options), io.StringIO()))
            service = Service.of(*served)
            stack.callback(service.close)
            service.observers = (around.watch,)
            app = create_app(service, middleware=around.middleware, routes=around.routes(service))
            return make_client(app), app

        yield open_one


@pytest.fixture
def client(opened, served):
    return opened(served)[0]


@pytest.fixture
def described(client):
    return client.get("/openapi.json").json()


def test_every_path_and_method_that_is_answered_is_described(opened, served):
    _, app = opened(served)
    answered = {
        (method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods - {"HEAD"}
    }
    assert answered == set(PATHS), "say in openapi_paths.py what comes there"


def test_every_problem_in_the_sources_is_described():
    folder = Path(medloom.serving.__file__).parent
    text = "\n".join(path.read_text() for path in sorted(folder.rglob("*.py")))
    found = {(int(status), code) for status, code in re.findall(r'Problem\(\s*(\d{3}),\s*"(\w+)"', text)}
    assert len(found) > 20
    assert {(status, code) for status, code in found if code not in PROBLEMS[status]} == set()


def _schemas(value):
    if isinstance(value, dict):
        if "schema" in value and isinstance(value["schema"], dict):
            yield value["schema"]
        for inner in value.values():
            yield from _schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _schemas(inner)


def test_every_schema_is_sound_and_every_reference_leads_somewhere(described):
    names = described["components"]["schemas"]
    for schema in (*names.values(), *_schemas(described["paths"])):
        Draft202012Validator.check_schema(schema)
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert referred <= set(names)


def _validator(described, path, method, status, media_type):
    schema = described["paths"][path][method]["responses"][str(status)]["content"][media_type]["schema"]
    return Draft202012Validator({**schema, "components": described["components"]})


def _kind(response):
    return response.headers["content-type"].partition(";")[0]


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("GET", "/", None, ""),
        ("GET", "/ping", None, ""),
        ("GET", "/openapi.json", None, ""),
        ("POST", "/invocations", PNG, "image/png"),
        ("POST", "/invocations", b"", "image/png"),
        ("POST", "/invocations", PNG[:100], "image/png"),
        ("POST", "/invocations", PNG, "image/tiff"),
        ("POST", "/invocations", PNG, "text/plain"),
        ("POST", "/invocations", b"{", "application/json"),
        ("POST", "/invocations?page=x", PNG, "image/png"),
        ("GET", "/execution-parameters", None, ""),
        ("GET", "/models", None, ""),
        ("POST", "/models", b"{}", "application/json"),
        ("GET", "/v2", None, ""),
        ("GET", "/v2/health/ready", None, ""),
    ],
    ids=[
        "about",
        "ping",
        "self",
        "mask",
        "empty",
        "truncated",
        "mismatch",
        "type",
        "json",
        "page",
        "host",
        "models",
        "load",
        "v2",
        "v2-ready",
    ],
)
def test_what_comes_is_what_the_document_says(client, described, method, path, body, kind):
    response = client.request(method, path, body, {"content-type": kind} if kind else None)
    validator = _validator(described, path.partition("?")[0], method.lower(), response.status_code, _kind(response))
    validator.validate(response.json())


@pytest.mark.parametrize("kind", ["served_labels", "served"])
def test_an_answer_of_each_kind_of_model_is_what_the_document_says(opened, request, kind):
    served = request.getfixturevalue(kind)
    client, _ = opened(served)
    described = client.get("/openapi.json").json()
    image = PNG if len(served[0].channels) == 3 else encode_png(np.full((24, 20), 40, np.uint8))
    response = client.post("/invocations", image, {"content-type": "image/png"})
    assert response.status_code == 200
    _validator(described, "/invocations", "post", 200, "application/json").validate(response.json())
    wrong = {"probability": 2.0}
    assert not _validator(described, "/invocations", "post", 200, "application/json").is_valid(wrong)


def test_models_columns_and_forms_are_those_that_are_loaded(opened, served, served_labels):
    masks = opened(served)[0].get("/openapi.json").json()
    labels = opened(served_labels)[0].get("/openapi.json").json()
    name = masks["paths"]["/models/{model}/invocations"]["post"]["parameters"][0]
    assert (name["name"], name["schema"]["enum"]) == ("model", ["tiny"])
    answers = [one["paths"]["/invocations"]["post"]["responses"]["200"]["content"] for one in (masks, labels)]
    assert "image/png" in answers[0]
    assert "image/png" not in answers[1]
    body = labels["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["oneOf"][0]["properties"]["metadata"]["properties"]) == {"age", "sex"}


def test_tokens_are_asked_for_in_the_document_where_they_are_asked_for(opened, served, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-0123456789\n")
    client, app = opened(served, token_file=tokens)
    assert client.get("/openapi.json").status_code == 401
    made = document(app.routes, Service.of(*served), tokens=True)
    assert made["paths"]["/invocations"]["post"]["security"] == [{"bearer": []}, {"basic": []}]
    assert "401" in made["paths"]["/invocations"]["post"]["responses"]
    assert "security" not in made["paths"]["/ping"]["get"]


def test_the_page_of_the_document_loads_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src" not in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=.https?:|url\(|@import", page.text)
    for _, path in PATHS:
        if path in ("/invocations", "/ping", "/metrics"):
            assert f"<code>{path}</code>" in page.text


def _sent(port, head):
    """The first line of what a server answers to these bytes; empty if it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw, contextlib.suppress(ConnectionError):
        raw.sendall(head)
        return raw.recv(65536).partition(b"\r\n")[0].decode("latin-1")
    return ""


MAY_BE_REFUSED = ["2xx", 400, 403, 404, 406, 411, 413, 415, 422, 503]
TARGETS = (
    *("/models/..%2f..%2fetc%2fpasswd/invocations", "/models/%2e%2e/invocations", "/models/../../etc/passwd"),
    *("/models/%00/invocations", "/models//etc/passwd/invocations", "/models/%252e%252e/invocations"),
    *("/models/..\\..\\boot.ini/invocations", "/models/a%23b/invocations", "/models/\xff\xfe/invocations"),
    *("/v2/models/..%2f..%2fetc/infer", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/invocations/../../etc/passwd"),
    *("http://evil.example/etc/passwd", "*", "/" + "a" * 5000, "/invocations?page=" + "9" * 5000, "/?\x7f"),
)
HEADERS = (
    *("Content-Length: 1e3", "Content-Length: +1", "Transfer-Encoding: chunked, identity", "Expect: \x01"),
    *("Content-Type: \xff\xfe", "Accept: " + "a/b," * 2000, "Accept: */*;q=nan", "X-Request-Id: ../../etc/passwd"),
    *("traceparent: 00-" + "f" * 400, "X-Request-Timeout: -1", "X-Request-Timeout: 1e400", "Authorization: \x00"),
    *("Content-Encoding: gzip, br", "Host: a, b", "Origin: null", "X: " + "y" * 60_000, "Bad Header: 1", ": empty"),
)


@pytest.mark.slow
def test_no_path_and_no_header_breaks_the_server_or_leads_out_of_it(bundle_path):
    with serving_process(bundle_path) as server:
        port = server.port
        heads = [f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" for target in TARGETS]
        heads += [
            f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n{header}\r\n\r\n"
            for header in HEADERS
        ]
        said = {head[:80]: _sent(port, head.encode("latin-1")) for head in heads}
        wrong = {head: line for head, line in said.items() if line and not re.match(r"HTTP/1\.1 4\d\d ", line)}
        assert wrong == {}
        assert _sent(port, b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith("HTTP/1.1 200 ")


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_the_document_does_not_say(bundle_path, tmp_path):
    config = tmp_path / "schemathesis.toml"
    # Whether an image is sound, and a page is there, no schema can say: such requests may be refused. A client that
    # gives no time hears 503.
    config.write_text(
        f"[checks]\npositive_data_acceptance.expected-statuses = {MAY_BE_REFUSED}\n"
        "not_a_server_error.expected-statuses = ['2xx', '3xx', '4xx', 503]\n"
    )
    examples = os.environ.get("MEDLOOM_FUZZ_EXAMPLES", "5")
    with serving_process(bundle_path) as server:
        port = server.port
        command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
        command += [f"http://127.0.0.1:{port}/openapi.json", "--max-examples", examples, "--no-color", "--seed", "1"]
        command += ["--generation-database", "none", "--workers", "1"]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "support.fuzzed", "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"(\d+) generated, \1 passed", done.stdout), done.stdout[-2000:]
