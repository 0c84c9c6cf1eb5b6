"""Requests made to break something: content types, arrays and JSON, by every way in."""

import base64
import io
import json
import pickle
import tracemalloc

import numpy as np
import pytest

from medloom.serving import Service, create_app
from medloom.serving.problems import ACCEPTED

MIB = 2**20
PIXELS = np.full((20, 24, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def client(served, make_client):
    return make_client(create_app(Service.of(*served)))


def _npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def _header(text, data=b""):
    """An NPY file with this header, whatever it says."""
    padded = text.encode("latin-1").ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + data


def _form(image, kind):
    part = f'Content-Disposition: form-data; name="image"; filename="a"\r\nContent-Type: {kind}\r\n\r\n'.encode()
    return b"--edge\r\n" + part + image + b"\r\n--edge--\r\n"


WAYS = {
    "alone": lambda image, kind: ("/invocations", image, {"Content-Type": kind}),
    "in JSON": lambda image, kind: (
        "/invocations",
        json.dumps({"image": base64.b64encode(image).decode(), "content_type": kind}).encode(),
        {"Content-Type": "application/json"},
    ),
    "in a form": lambda image, kind: (
        "/invocations",
        _form(image, kind),
        {"Content-Type": "multipart/form-data; boundary=edge"},
    ),
    "in V2": lambda image, kind: (
        "/v2/models/tiny/infer",
        json.dumps(
            {
                "inputs": [
                    {
                        "name": "image",
                        "datatype": "BYTES",
                        "shape": [1],
                        "parameters": {"content_type": kind},
                        "data": [base64.b64encode(image).decode()],
                    }
                ]
            }
        ).encode(),
        {},
    ),
}


@pytest.fixture(params=WAYS)
def send(request, client):
    """Send an image with its declared type by one of the ways in."""
    return lambda image, kind="application/x-npy": client.post(*WAYS[request.param](image, kind))


# Content types


@pytest.mark.parametrize("kind", [None, "", ";", "image", "image/", "/png", "*/*", "text/html", "image/png, image/png"])
def test_a_content_type_that_is_none_gets_the_list_of_those_that_are(client, kind, assert_problem):
    headers = {} if kind is None else {"Content-Type": kind}
    body = assert_problem(client.post("/invocations", b"x", headers), 415, "unsupported_type")
    assert body["accepted"] == list(ACCEPTED)


@pytest.mark.parametrize("kind", ["image/tiff", "application/dicom", "application/x-nifti", "application/zip"])
def test_an_image_under_the_name_of_another_format_is_refused_by_every_way_in(send, kind):
    assert send(_npy(PIXELS), kind).status_code == 415


# Arrays


class _Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_an_array_of_objects_runs_nothing(send, tmp_path):
    evil = np.array([_Runs(str(tmp_path / "ran"))], dtype=object)
    for body in (_npy(evil), pickle.dumps(_Runs(str(tmp_path / "ran")))):
        assert send(body).status_code in (400, 415, 422)
    assert not (tmp_path / "ran").exists()


def test_arrays_in_any_order_of_bytes_and_axes_are_the_same_image(send):
    expected = send(_npy(PIXELS.astype("<u2")))
    assert expected.status_code == 200
    for array in (PIXELS.astype(">u2"), np.asfortranarray(PIXELS.astype("<u2")), PIXELS.astype(">u2").copy("F")):
        assert send(_npy(array)).content == expected.content


SPEC = "{{'descr': {!r}, 'fortran_order': False, 'shape': {!r}, }}".format
WRONG = {
    "structured": _npy(np.zeros((4, 4), [("a", "<f4"), ("b", "<i4")])),
    "complex": _npy(np.zeros((4, 4), np.complex64)),
    "dates": _npy(np.zeros((4, 4), "datetime64[s]")),
    "texts": _npy(np.full((4, 4), "abc")),
    "four axes": _npy(np.zeros((2, 2, 2, 2), np.uint8)),
    "no axes": _npy(np.uint8(1)),
    "no pixels": _npy(np.zeros((0, 4, 3), np.uint8)),
    "several arrays": (lambda buffer: (np.savez(buffer, PIXELS), buffer.getvalue())[1])(io.BytesIO()),
    "a shape that lies": _header(SPEC("|u1", (20, 25, 3)), PIXELS.tobytes()),
    "a shape that lies downwards": _header(SPEC("|u1", (20, 23, 3)), PIXELS.tobytes()),
    "a huge shape": _header(SPEC("<f8", (10**6, 10**6, 3)), PIXELS.tobytes()),
    "a shape beyond numbers": _header(SPEC("<f8", (10**30, 1, 3)), PIXELS.tobytes()),
    "a shape below zero": _header(SPEC("|u1", (-20, -24, 3)), PIXELS.tobytes()),
    "a type that lies": _header(SPEC("<f8", (20, 24, 3)), PIXELS.tobytes()),
    "code in the header": _header("{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (1, 1)}"),
    "no header": b"\x93NUMPY\x01\x00",
    "a header beyond the end": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100,
    "a version that is none": b"\x93NUMPY\x09\x00" + _npy(PIXELS)[8:],
    "half of it": _npy(PIXELS)[:-700],
    "NaN": _npy(np.full((4, 4, 3), np.nan, np.float32)),
    "infinite": _npy(np.full((4, 4, 3), -np.inf, np.float64)),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_array_that_is_no_image_is_refused_before_memory_is_taken_for_it(send, name):
    send(WRONG[name])  # whatever is only made once
    tracemalloc.start()
    try:
        response = send(WRONG[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code in (400, 413, 415, 422), response.text
    assert peak < MIB


@pytest.mark.parametrize("name", ["a shape that lies", "a shape that lies downwards", "a type that lies"])
def test_an_array_whose_header_lies_is_422(client, name):
    path, body, headers = WAYS["alone"](WRONG[name], "application/x-npy")
    assert client.post(path, body, headers).status_code == 422


# JSON

TENSOR = {"inputs": [{"name": "tensor", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": [0.5] * 3072}]}
SOUND = {
    "/invocations": json.dumps({"image": base64.b64encode(_npy(PIXELS)).decode(), "metadata": {}, "page": 0}),
    "/v2/models/tiny/infer": json.dumps(TENSOR),
    "/models": json.dumps({"model_name": "a", "url": "b"}),
}
JSON = {"Content-Type": "application/json"}


def _strict(text):
    """What Python's own reader makes of a document, where it is one of the standard's."""

    def refuse(word):
        raise ValueError(word)

    def once(pairs):
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key comes twice")
        return dict(pairs)

    return json.loads(text.decode("utf-8"), parse_constant=refuse, object_pairs_hook=once)


def _mutants(text, count):
    rng = np.random.default_rng(7)
    marks = b'{}[]",:\\0-+.eE \n\x00\xff\x80uNIt'
    for _ in range(count):
        data = bytearray(text.encode())
        for _ in range(rng.integers(1, 4)):
            at, mark = int(rng.integers(len(data))), marks[int(rng.integers(len(marks)))]
            match int(rng.integers(3)):
                case 0:
                    data[at] = mark
                case 1:
                    data.insert(at, mark)
                case _:
                    del data[at]
        yield bytes(data)


@pytest.mark.parametrize("path", SOUND)
def test_what_pythons_own_reader_refuses_is_never_accepted(client, path):
    assert client.post(path, SOUND[path].encode(), JSON).status_code in (200, 403)
    accepted = 0
    for body in _mutants(SOUND[path][:200] if path == "/models" else SOUND[path], 80):
        status = client.post(path, body, JSON).status_code
        assert status < 500, body[:200]
        try:
            _strict(body)
        except (ValueError, RecursionError):
            assert status in (400, 403), body[:200]
            continue
        accepted += status == 200
    assert accepted or path == "/models"


DOCUMENTS = {
    "nothing": b"",
    "blank": b" \n",
    "a text": b'"x"',
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "half": b'{"image": "AA',
    "two": b"{}{}",
    "a comment": b"{/* */}",
    "a comma too many": b'{"image": "AAAA",}',
    "single quotes": b"{'image': 'AAAA'}",
    "NaN": b'{"image": "AAAA", "metadata": {"age": NaN}}',
    "Infinity": b'{"image": "AAAA", "metadata": {"age": -Infinity}}',
    "a key twice": b'{"image": "AAAA", "image": "AAAA"}',
    "a key twice in disguise": b'{"image": "AAAA", "im\\u0061ge": "AAAA"}',
    "a column twice": b'{"image": "AAAA", "metadata": {"a": 1, "a": 2}}',
    "half a surrogate": b'{"image": "AAAA", "metadata": {"\\ud800": 1}}',
    "half a surrogate raw": b'{"image": "AAAA", "metadata": {"\xed\xa0\x80": 1}}',
    "no UTF-8": b'{"image": "\xff"}',
    "UTF-16": '{"image": "AAAA"}'.encode("utf-16"),
    "a mark of byte order": b"\xef\xbb\xbf" + b'{"image": "AAAA"}',
    "a raw line break": b'{"image": "AA\nAA"}',
    "a zero byte": b'{"image": "AAAA"\x00}',
    "a leading zero": b'{"image": "AAAA", "page": 01}',
    "a digit too many": b'{"image": "AAAA", "page": ' + b"9" * 200_000 + b"}",
    "lists 200,000 deep": b'{"image": "AAAA", "metadata": {"a": ' + b"[" * 200_000,
    "objects 200,000 deep": b'{"a":' * 200_000,
    "lists 33 deep": b'{"image": "AAAA", "metadata": {"a": ' + b"[" * 31 + b"]" * 31 + b"}}",
    "as many images as fit": b'{"images": [' + b'{"image":""},' * 500_000 + b"{}]}",
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("path", ["/invocations", "/v2/models/tiny/infer"])
def test_a_document_that_is_not_sound_is_400_by_every_path_that_takes_json(client, path, name):
    tracemalloc.start()
    try:
        response = client.post(path, DOCUMENTS[name], JSON)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code == 400, response.text
    assert peak < 4 * len(DOCUMENTS[name]) + MIB
    assert "AAAA" not in response.text


def test_metadata_that_a_table_could_hold_are_read_whatever_they_say(client):
    for value in ("1e999", '"\\ud83d\\ude00"', '"\\u0000"', "9" * 4000, "null", "[" * 29 + "]" * 29):
        body = b'{"image": "AAAA", "metadata": {"age": ' + value.encode() + b"}}"
        response = client.post("/invocations", body, JSON)
        assert (response.status_code, response.json()["code"]) == (422, "wrong_input")
