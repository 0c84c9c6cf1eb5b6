"""The Open Inference Protocol: as Triton's own client speaks it, and as nobody should."""

import asyncio
import base64
import gzip
import io
import json
import zlib

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_async
from PIL import Image as PillowImage
from tritonclient.utils import InferenceServerException

from medloom.serving import Limits, Model, Models, Service, create_app
from support.served import served_at


def _png(value, size=(24, 20)):
    pixels = np.full((*size, 3), 20, np.uint8)
    pixels[4:9, 3:12, 2] = value
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


BRIGHT, DARK = _png(250), _png(10)


@pytest.fixture(scope="module")
def app(served, served_labels):
    models = Models([Model("masks", *served), Model("labels", *served_labels)])
    return create_app(Service(models, Limits(max_body_bytes=2**20)))


@pytest.fixture(scope="module")
def address(app):
    with served_at(app) as address:
        yield address


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


@pytest.fixture(scope="module")
def plain(app, make_client):
    return make_client(app)


def _bytes(name, items, binary=True):
    sent = triton.InferInput(name, [len(items)], "BYTES")
    sent.set_data_from_numpy(np.array(items, dtype=np.object_), binary_data=binary)
    return sent


def _numbers(name, values, datatype="FP32", binary=True):
    sent = triton.InferInput(name, list(values.shape), datatype)
    sent.set_data_from_numpy(values, binary_data=binary)
    return sent


def _wanted(name, binary=True):
    return triton.InferRequestedOutput(name, binary_data=binary)


def _json_of(result):
    return [json.loads(one) for one in result.as_numpy("answer")]


# What Triton's client asks


def test_the_server_and_its_models_say_what_they_are(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("masks")
    assert client.is_model_ready("labels", "1")
    assert not client.is_model_ready("masks", "2")
    assert not client.is_model_ready("missing")
    assert client.get_server_metadata()["name"] == "medloom"
    assert client.get_server_metadata()["extensions"][0] == "binary_tensor_data"
    masks, labels = client.get_model_metadata("masks"), client.get_model_metadata("labels", "1")
    assert masks["versions"] == ["1"]
    assert {one["name"]: (one["datatype"], one["shape"]) for one in masks["inputs"]} == {
        "image": ("BYTES", [-1]),
        "tensor": ("FP32", [-1, 3, 32, 32]),
    }
    assert {one["name"]: one["shape"] for one in masks["outputs"]} == {
        "answer": [-1],
        "mask": [-1, -1, -1],
        "probabilities": [-1, 1, -1, -1],
    }
    assert [one["name"] for one in labels["inputs"]] == ["image", "metadata", "tensor", "table"]
    assert {one["name"]: one["shape"] for one in labels["outputs"]} == {"answer": [-1], "probabilities": [-1, 1]}


@pytest.mark.parametrize("binary", [True, False])
def test_encoded_images_are_answered_one_by_one(client, served, binary):
    items = [BRIGHT, DARK] if binary else [base64.b64encode(one) for one in (BRIGHT, DARK)]
    result = client.infer("masks", [_bytes("image", items, binary)], request_id="seven")
    assert result.get_response()["id"] == "seven"
    assert result.get_response()["model_version"] == "1"
    areas = [answer["area_px"] for answer in _json_of(result)]
    assert areas == [served[0].predict(one).area_px for one in (BRIGHT, DARK)]
    assert areas[0] > areas[1] == 0


@pytest.mark.parametrize("binary", [True, False])
def test_masks_and_probabilities_come_in_the_geometry_of_the_image(client, served, binary):
    wanted = [_wanted(name, binary) for name in ("probabilities", "mask", "answer")]
    result = client.infer("masks", [_bytes("image", [BRIGHT, DARK])], outputs=wanted)
    expected = [served[0].predict(one) for one in (BRIGHT, DARK)]
    np.testing.assert_array_equal(result.as_numpy("probabilities"), [one.probabilities for one in expected])
    np.testing.assert_array_equal(result.as_numpy("mask"), [one.value_mask for one in expected])
    assert [answer["area_px"] for answer in _json_of(result)] == [one.area_px for one in expected]
    assert [one["name"] for one in result.get_response()["outputs"]] == ["probabilities", "mask", "answer"]
    alone = client.infer("masks", [_bytes("image", [BRIGHT, DARK])], outputs=wanted[1:2])
    np.testing.assert_array_equal(alone.as_numpy("mask"), result.as_numpy("mask"))


@pytest.mark.parametrize(
    ("datatype", "kind", "binary"),
    [
        ("FP32", np.float32, True),
        ("FP32", np.float32, False),
        ("FP16", np.float16, True),
        ("UINT8", np.uint8, True),
        ("UINT8", np.uint8, False),
    ],
)
def test_tensors_that_are_already_preprocessed_go_to_the_network_as_they_are(client, served, datatype, kind, binary):
    batch = np.random.default_rng(0).integers(0, 4, (3, 3, 32, 32)).astype(kind)
    result = client.infer("masks", [_numbers("tensor", batch, datatype, binary)])
    expected = served[0].run(batch.astype(np.float32))
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=0, atol=1e-6)


def test_metadata_come_with_images_as_json_and_with_tensors_as_a_table(client, served_labels):
    grey = io.BytesIO()
    PillowImage.fromarray(np.full((16, 16), 90, np.uint8)).save(grey, "png")
    rows = [{"age": 60, "sex": "male"}, {}]
    sent = [_bytes("image", [grey.getvalue()] * 2), _bytes("metadata", [json.dumps(row).encode() for row in rows])]
    answers = _json_of(client.infer("labels", sent))
    expected = [served_labels[0].predict(grey.getvalue(), metadata=row).plain() for row in rows]
    assert [{key: answer[key] for key in one} for answer, one in zip(answers, expected, strict=True)] == expected

    batch = np.random.default_rng(1).normal(size=(2, 1, 32, 32)).astype(np.float32)
    table = served_labels[0].encode(rows)
    result = client.infer("labels", [_numbers("tensor", batch), _numbers("table", table)])
    np.testing.assert_allclose(result.as_numpy("probabilities"), served_labels[0].run(batch, table), atol=1e-6)
    blank = client.infer("labels", [_numbers("tensor", batch)]).as_numpy("probabilities")
    np.testing.assert_allclose(blank, served_labels[0].run(batch, served_labels[0].encode([{}, {}])), atol=1e-6)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_packed_bodies_are_unpacked(client, served, algorithm):
    result = client.infer("masks", [_bytes("image", [BRIGHT])], request_compression_algorithm=algorithm)
    assert _json_of(result)[0]["area_px"] == served[0].predict(BRIGHT).area_px


def test_a_bad_image_has_its_error_in_its_place_and_the_others_are_answered(client):
    answers = _json_of(client.infer("masks", [_bytes("image", [BRIGHT, b"no image", DARK[:40], DARK])]))
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, "unsupported", "truncated", None]
    with pytest.raises(InferenceServerException, match="ends") as refused:
        client.infer("masks", [_bytes("image", [DARK[:40]])])
    assert refused.value.status() == "400"
    with pytest.raises(InferenceServerException):
        client.infer("masks", [_bytes("image", [BRIGHT, b"no image"])], outputs=[_wanted("probabilities")])


def test_the_asynchronous_client_speaks_the_same(address, served):
    async def ask():
        async with triton_async.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            asked = [client.infer("masks", [_bytes("image", [one])]) for one in (BRIGHT, DARK) * 4]
            return [_json_of(result)[0]["area_px"] for result in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == [served[0].predict(one).area_px for one in (BRIGHT, DARK) * 4]


def test_images_of_different_sizes_have_no_common_tensor(client):
    images = _bytes("image", [BRIGHT, _png(250, (30, 20))])
    assert len(_json_of(client.infer("masks", [images]))) == 2
    with pytest.raises(InferenceServerException, match="differ in size"):
        client.infer("masks", [images], outputs=[_wanted("probabilities")])


# What nobody should ask


def _infer(plain, body, model="masks", **headers):
    return plain.post(f"/v2/models/{model}/infer", body, headers)


def _asked(*inputs, **more):
    return json.dumps({"inputs": inputs, **more}).encode()


def _input(name="tensor", shape=(1, 3, 32, 32), datatype="FP32", **more):
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


ONES = [1.0] * (3 * 32 * 32)
SIZED = {"parameters": {"binary_data_size": 12288}}
BAD = {
    "no JSON": b"",
    "half of it": b'{"inputs": [',
    "a list": b"[]",
    "no inputs": b"{}",
    "empty inputs": _asked(),
    "deep": b'{"inputs": ' + b"[" * 200_000,
    "a key twice": b'{"inputs": [], "inputs": []}',
    "a key twice inside": _asked(_input(data=ONES)).replace(b'"datatype"', b'"name": "x", "datatype"'),
    "an unknown key": _asked(_input(data=ONES), surplus=1),
    "NaN": _asked(_input(data=[float("nan"), *ONES[1:]])),
    "infinite": _asked(_input(data=ONES)).replace(b"1.0,", b"1e999,", 1),
    "a text for a number": _asked(_input(data=["1", *ONES[1:]])),
    "null": _asked(_input(data=[None, *ONES[1:]])),
    "true": _asked(_input(data=[True, *ONES[1:]])),
    "a digit too long": _asked(_input(data=ONES)).replace(b"1.0,", b"9" * 200_000 + b",", 1),
    "too few": _asked(_input(data=ONES[1:])),
    "too many": _asked(_input(data=[*ONES, 1.0])),
    "ragged": _asked(_input(shape=(2, 2), data=[[1.0], [2.0, 3.0, 4.0]])),
    "no data": _asked(_input()),
    "data twice": _asked(_input(data=ONES, **SIZED)),
    "a huge shape": _asked(_input(shape=(2**31, 2**31, 2**31), data=[1.0])),
    "a huge size": _asked(_input(shape=(2**40,), parameters={"binary_data_size": 2**42})),
    "a shape below zero": _asked(_input(shape=(-1, 3, 32, 32), data=ONES)),
    "an empty batch": _asked(_input(shape=(0, 3, 32, 32), data=[])),
    "no shape": _asked(_input(shape=(), data=[])),
    "many axes": _asked(_input(shape=(1,) * 9, data=[1.0])),
    "another shape": _asked(_input(shape=(1, 3, 16, 64), data=ONES)),
    "another order": _asked(_input(shape=(1, 32, 32, 3), data=ONES)),
    "FP64": _asked(_input(datatype="FP64", data=ONES)),
    "objects": _asked(_input(datatype="OBJECT", data=ONES)),
    "a fraction of a byte": _asked(_input(datatype="UINT8", data=[1.5, *[1] * 3071])),
    "a byte of 256": _asked(_input(datatype="UINT8", data=[256, *[1] * 3071])),
    "FP16 that overflows": _asked(_input(datatype="FP16", data=[1e9, *ONES[1:]])),
    "an unknown input": _asked(_input(name="x", data=ONES)),
    "two ways at once": _asked(_input(data=ONES), _input("image", (1,), "BYTES", data=["AAAA"])),
    "two of one name": _asked(_input(data=ONES), _input(data=ONES)),
    "no base64": _asked(_input("image", (1,), "BYTES", data=["*"])),
    "numbers for images": _asked(_input("image", (1,), "BYTES", data=[1])),
    "a tensor for images": _asked(_input("image", (4,), "UINT8", data=[1, 2, 3, 4])),
    "an image for a tensor": _asked(_input("tensor", (1,), "BYTES", data=["AAAA"])),
    "65 images": _asked(_input("image", (65,), "BYTES", data=["AAAA"] * 65)),
    "too few images": _asked(_input("image", (2,), "BYTES", data=["AAAA"])),
    "images in rows": _asked(_input("image", (2, 2), "BYTES", data=["AAAA"] * 4)),
    "many empty lists": _asked(_input("image", (1,), "BYTES", data=[])).replace(
        b'"data": []', b'"data": [' + b"[]," * 200_000 + b"[]]"
    ),
    "many inputs": b'{"inputs": [' + b"{}," * 200_000 + b"{}]}",
    "unknown metadata": _asked(
        _input("image", (1,), "BYTES", data=["AAAA"]), _input("metadata", (1,), "BYTES", data=["1"])
    ),
    "a page of text": _asked(_input("image", (1,), "BYTES", data=["AAAA"], parameters={"page": "1"})),
    "an unknown output": _asked(_input(data=ONES), outputs=[{"name": "answer"}]),
    "an output twice": _asked(_input(data=ONES), outputs=[{"name": "probabilities"}] * 2),
    "an id that is none": _asked(_input(data=ONES), id=7),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_of_the_protocol_is_refused_in_its_words(plain, name):
    response = _infer(plain, BAD[name])
    assert response.status_code in (400, 413, 422), response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert len(response.json()["error"]) > 10


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "", "99999999999", "0x10", "5"])
def test_a_length_of_the_json_that_cannot_be_is_refused(plain, length):
    response = _infer(plain, _asked(_input(data=ONES)), **{"Inference-Header-Content-Length": length})
    assert response.status_code == 400


def _behind(size, rest, shape=(1, 3, 32, 32), datatype="FP32", name="tensor"):
    header = _asked(_input(name, shape, datatype, parameters={"binary_data_size": size}))
    return header + rest, {"Inference-Header-Content-Length": str(len(header))}


GOOD_BYTES = np.ones(3072, "<f4").tobytes()
BEHIND = {
    "too few": _behind(12288, GOOD_BYTES[1:]),
    "too many": _behind(12288, GOOD_BYTES + b"x"),
    "a size that the shape denies": _behind(12284, GOOD_BYTES[:-4]),
    "a shape that the size denies": _behind(12288, GOOD_BYTES, (1, 3, 32, 33)),
    "NaN": _behind(12288, np.full(3072, np.nan, "<f4").tobytes()),
    "infinite in half": _behind(6144, np.full(3072, np.inf, "<f2").tobytes(), datatype="FP16"),
    "an element beyond the end": _behind(8, b"\xff\xff\xff\xffabcd", (1,), "BYTES", "image"),
    "an element too short": _behind(8, b"\x03\x00\x00\x00abcd", (1,), "BYTES", "image"),
    "fewer elements": _behind(5, b"\x01\x00\x00\x00a", (2,), "BYTES", "image"),
    "more elements": _behind(10, b"\x01\x00\x00\x00a" * 2, (1,), "BYTES", "image"),
    "a billion elements": _behind(4, bytes(4), (10**9,), "BYTES", "image"),
    "a size below zero": _behind(-1, b""),
    "a size that is true": _behind(True, b"x"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_bytes_that_do_not_fit_what_is_said_of_them_are_refused(plain, name):
    body, headers = BEHIND[name]
    response = _infer(plain, body, **headers)
    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]


def test_the_attacks_are_wrong_in_one_thing_alone(plain):
    assert _infer(plain, _asked(_input(data=ONES))).status_code == 200
    nested = np.ones((1, 3, 32, 32)).tolist()
    assert _infer(plain, _asked(_input(data=nested))).status_code == 200
    body, headers = _behind(12288, GOOD_BYTES)
    assert _infer(plain, body, **headers).status_code == 200


@pytest.mark.parametrize(
    ("encoding", "pack", "status"),
    [
        ("gzip", lambda body: gzip.compress(bytes(2**21)), 413),
        ("deflate", lambda body: zlib.compress(bytes(2**21)), 413),
        ("gzip", lambda body: gzip.compress(body)[:-9], 400),
        ("gzip", lambda body: gzip.compress(body) + b"x", 400),
        ("gzip", lambda body: gzip.compress(body) * 2, 400),
        ("gzip", lambda body: body, 400),
        ("deflate", lambda body: gzip.compress(body), 400),
        ("br", lambda body: body, 415),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body)), 415),
    ],
    ids=range(9),
)
def test_what_is_packed_is_unpacked_under_the_limit_of_the_body(plain, encoding, pack, status):
    response = _infer(plain, pack(_asked(_input(data=ONES))), **{"Content-Encoding": encoding})
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]


def test_other_models_and_versions_are_404_in_the_words_of_the_protocol(plain):
    good = _asked(_input(data=ONES))
    for path in ("missing", "masks/versions/2", "masks/versions/x"):
        for method, end in (("GET", ""), ("GET", "/ready"), ("POST", "/infer")):
            response = plain.request(method, f"/v2/models/{path}{end}", good)
            assert response.status_code == 404
            assert list(response.json()) == ["error"]


def test_a_server_that_goes_down_says_so(served, make_client):
    app = create_app(Service.of(*served))
    client = make_client(app)
    app.state.gate.draining = True
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    response = _infer(client, _asked(_input(data=ONES)), "tiny")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert "going down" in response.json()["error"]
