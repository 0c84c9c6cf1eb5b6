import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.serving import Limits, Service, create_app

ACCEPTED = {"image/tiff", "image/png", "image/jpeg", "application/x-npy"}


@pytest.fixture(scope="module")
def client(served, make_client):
    return make_client(create_app(Service.of(*served)))


def _pixels():
    pixels = np.full((48, 40, 3), 20, np.uint8)
    pixels[10:20, 10:25, 2] = 250
    return pixels


def _encoded(pixels, kind):
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, pixels)
    else:
        PillowImage.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


PNG = _encoded(_pixels(), "png")


def _post(client, body=PNG, kind="image/png", accept=None, **headers):
    given = {"Content-Type": kind, "Accept": accept, **headers}
    return client.post(
        "/invocations", content=body, headers={key: value for key, value in given.items() if value is not None}
    )


def test_ping_says_that_the_model_is_up(client):
    response = client.get("/ping")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "model": "tiny", "phantom": True}


@pytest.mark.parametrize(
    ("kind", "declared"),
    [("tiff", "image/tiff"), ("png", "image/png"), ("jpeg", "image/jpeg"), ("npy", "application/x-npy")],
)
def test_every_format_is_answered_with_the_predictors_own_mask(client, served, kind, declared):
    body = _encoded(_pixels(), kind)
    expected = served[0].predict(body)
    answer = _post(client, body, declared).json()
    (mask,) = answer["masks"]
    counts = mask["rle"]["counts"]
    found = np.repeat(np.arange(len(counts)) % 2, counts).reshape(mask["rle"]["size"], order="F")
    np.testing.assert_array_equal(found, expected.mask)
    assert answer["area_px"] == expected.area_px > 0
    assert answer["operating_point"] == {"threshold": 0.5, "min_region_px": 4}
    target = {"kind": "masks", "names": ["class0", "class1"], "values": [0, 1]}
    assert len(answer["model"].pop("digest")) == 64
    assert answer["model"] == {"name": "tiny", "phantom": True, "target": target}
    assert answer["classes"] == ["class0", "class1"]
    assert 0.5 < answer["probability"] <= 1.0


def test_a_png_answer_is_the_mask_in_the_size_of_the_input(client, served):
    response = _post(client, accept="image/png")
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-medloom-phantom"] == "true"
    shown = np.asarray(PillowImage.open(io.BytesIO(response.content)))
    np.testing.assert_array_equal(shown, served[0].predict(PNG).value_mask)


def test_an_npy_answer_holds_the_probabilities(client, served):
    response = _post(client, accept="application/x-npy")
    assert response.headers["content-type"] == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(response.content)), served[0].predict(PNG).probabilities)


def test_parameters_and_case_of_the_content_type_do_not_matter(client):
    assert _post(client, kind="Image/PNG; name=x").status_code == 200


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "multipart/mixed; boundary=x", "application/pdf", "image/*", "png"]
)
def test_an_unknown_or_missing_content_type_is_415_and_lists_what_is_taken(client, kind, assert_problem):
    body = assert_problem(_post(client, kind=kind), 415, "unsupported_type")
    assert set(body["accepted"]) >= ACCEPTED


def test_content_that_is_not_what_it_is_declared_to_be_is_415(client, assert_problem):
    assert_problem(_post(client, kind="image/tiff"), 415, "mismatch")


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
def test_a_content_encoding_is_415(client, encoding, assert_problem):
    assert_problem(_post(client, **{"Content-Encoding": encoding}), 415, "unsupported_encoding")


def test_an_accept_that_takes_no_answer_is_406_and_lists_the_answers(client, assert_problem):
    body = assert_problem(_post(client, accept="text/html"), 406, "not_acceptable")
    of_images = {"application/json", "image/png", "image/tiff", "application/x-npy", "image/png; form=overlay"}
    of_dicom = {"application/dicom; form=seg", "application/dicom; form=sr"}
    assert body["accepted"][0] == "application/json"
    assert of_images | of_dicom | {"application/x-nifti", "application/gzip", "multipart/mixed"} <= {*body["accepted"]}


@pytest.mark.parametrize("body", [b"", b"no image", PNG[: len(PNG) // 2], PNG[:8]])
def test_a_bad_image_is_refused_with_the_reason(client, body):
    response = _post(client, body)
    assert response.status_code in (400, 415)
    assert {"code", "message"} <= response.json().keys()


def test_a_truncated_image_is_400(client, assert_problem):
    assert_problem(_post(client, PNG[: len(PNG) // 2]), 400, "truncated")


def test_an_npy_whose_shape_lies_is_422(client, assert_problem):
    lie = _encoded(_pixels(), "npy").replace(b"(48, 40, 3)", b"(99, 40, 3)")
    assert_problem(_post(client, lie, "application/x-npy"), 422, "truncated")


def test_an_npy_of_objects_is_refused_and_nothing_in_it_runs(client, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()], dtype=object))
    assert _post(client, buffer.getvalue(), "application/x-npy").status_code in (400, 415, 422)
    assert not (tmp_path / "ran").exists()


def test_a_sound_image_with_the_wrong_channels_is_422_and_names_them(client, assert_problem):
    body = assert_problem(_post(client, _encoded(_pixels()[..., 0], "png")), 422, "wrong_input")
    assert "pre, FLAIR, post" in body["message"]


def test_not_finite_pixels_are_refused(client, assert_problem):
    body = _encoded(np.full((8, 8, 3), np.nan, np.float32), "npy")
    assert_problem(_post(client, body, "application/x-npy"), 400, "non_finite")


def test_a_body_over_the_limit_is_413_by_its_header_and_by_its_bytes(served, make_client, assert_problem):
    client = make_client(create_app(Service.of(*served, Limits(max_body_bytes=1000))))
    declared = client.post("/invocations", content=bytes(1001), headers={"Content-Type": "image/png"})
    assert_problem(declared, 413, "too_large")
    assert declared.headers["connection"] == "close"

    async def endless():
        while True:
            yield bytes(100)

    streamed = client.post("/invocations", content=endless(), headers={"Content-Type": "image/png"})
    assert_problem(streamed, 413, "too_large")


@pytest.mark.parametrize(
    ("length", "status", "code"),
    [
        ("4294967296", 413, "too_large"),
        ("9" * 5000, 413, "too_large"),
        ("-1", 400, "bad_length"),
        ("x", 400, "bad_length"),
    ],
)
def test_a_length_that_cannot_be_is_refused_before_the_body_is_read(client, length, status, code, assert_problem):
    assert_problem(_post(client, b"", **{"Content-Length": length}), status, code)


@pytest.mark.parametrize(("query", "status"), [("page=0", 200), ("page=-1", 400), ("page=x", 400), ("page=1e9", 400)])
def test_the_page_of_a_tiff_can_be_asked_for(client, query, status):
    body = _encoded(_pixels(), "tiff")
    response = client.post(f"/invocations?{query}", content=body, headers={"Content-Type": "image/tiff"})
    assert response.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/", 405, "method_not_allowed"),
        ("GET", "/invocations", 405, "method_not_allowed"),
        ("POST", "/ping", 405, "method_not_allowed"),
    ],
)
def test_other_paths_and_methods_say_what_there_is(client, method, path, status, code, assert_problem):
    assert_problem(client.request(method, path), status, code)


def test_a_crash_is_a_500_that_tells_and_logs_nothing_of_the_inside(served, make_client, assert_problem, caplog):
    class Broken:
        name = "broken"

        def run(self, batch_nchw, table_nf=None):
            raise RuntimeError("secret detail")

    app = create_app(Service.of(replace(served[0], runtime=Broken()), served[1]))
    response = _post(make_client(app))
    assert_problem(response, 500, "internal")
    assert "secret" not in response.text
    assert caplog.messages == ["a prediction failed: RuntimeError"]
    assert caplog.records[0].exc_info is None


def test_a_good_image_gets_the_same_answer_after_bad_ones(client):
    before = _post(client).content
    for body, kind in [
        (b"", "image/png"),
        (b"x" * 100, "image/tiff"),
        (PNG[:50], "image/png"),
        (b"\x93NUMPY", "application/x-npy"),
    ]:
        assert _post(client, body, kind).status_code >= 400
    assert _post(client).content == before


def test_nothing_new_is_taken_while_going_down(served, make_client, assert_problem):
    app = create_app(Service.of(*served))
    client = make_client(app)
    app.state.gate.draining = True
    assert client.get("/ping").status_code == 503
    response = _post(client)
    assert_problem(response, 503, "going_down")
    assert int(response.headers["retry-after"]) >= 1


NO_TORCH = """
import asyncio, sys
import httpx
from medloom.packaging import read_bundle
from medloom.serving import Service, create_app
import medloom.serving.http.server
with read_bundle(sys.argv[1]) as bundle:
    transport = httpx.ASGITransport(create_app(Service.of(bundle.predictor(), bundle.manifest)))

async def ask():
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        headers = {"Content-Type": "image/png"}
        return await client.post("/invocations", content=sys.stdin.buffer.read(), headers=headers)

answer = asyncio.run(ask())
print(answer.status_code, sorted({"torch", "lightning", "monai"} & set(sys.modules)))
"""


def test_serving_imports_no_torch(bundle_path):
    done = subprocess.run([sys.executable, "-c", NO_TORCH, bundle_path], input=PNG, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "200 []", done.stderr.decode()


def test_json_answers_are_strict_json(client):
    def refuse(word):
        raise AssertionError(word)

    assert json.loads(_post(client).content, parse_constant=refuse)["area_mm2"] is None
