"""The JSON form of a request: what is taken, what is refused, and what a hostile one costs."""

import base64
import contextlib
import json
import tracemalloc

import pytest

from medloom.serving import read_request
from medloom.serving.problems import Problem

MIB = 2**20


def _read(body):
    return read_request(body, "application/json")


def _with_metadata(text):
    return b'{"image": "AAAA", "metadata": ' + text + b"}"


def test_bytes_that_are_declared_to_be_an_image_are_not_read():
    asked = read_request(b'{"image": 7}', "image/png")
    assert (asked.image, asked.content_type, asked.metadata) == (b'{"image": 7}', "image/png", {})


def test_the_names_that_clients_have_for_a_format_are_one_here():
    for declared, expected in [("application/x-image", "application/octet-stream"), ("Image/PJPEG; a=b", "image/jpeg")]:
        assert read_request(b"x", declared).content_type == expected
    assert read_request(b'{"image": "AAAA"}', "application/json; charset=utf-8").image == bytes(3)


def test_every_part_of_a_request_comes_out_as_it_was_put_in():
    image = bytes(range(256))
    metadata = {"age": 61, "dose": 0.1, "sex": "männlich \U0001f600", "site": None, "old": True}
    text = {"image": base64.b64encode(image).decode(), "content_type": "image/png", "metadata": metadata}
    for ascii_only in (True, False):
        asked = _read(json.dumps(text, ensure_ascii=ascii_only).encode())
        assert (asked.image, asked.content_type, asked.metadata) == (image, "image/png", metadata)
    assert {type(key) for key in asked.metadata} == {str}


NOISE = bytes(range(256)) * 3 + b"\xfb\xff"
PLAIN = base64.b64encode(NOISE).decode()
SPELLINGS = {
    "with a prefix": f"data:image/png;base64,{PLAIN}",
    "with a prefix in capitals": f"DATA:image/png;Base64,{PLAIN}",
    "with a prefix that has parameters": f"data:image/png;name=a.png;base64,{PLAIN}",
    "with a prefix without a type": f"data:;base64,{PLAIN}",
    "in lines of 76": base64.encodebytes(NOISE).decode(),
    "in lines of Windows": base64.encodebytes(NOISE).decode().replace("\n", "\r\n"),
    "for URLs": base64.urlsafe_b64encode(NOISE).decode(),
    "without padding": PLAIN.rstrip("="),
    "all at once": "data:;base64," + base64.encodebytes(NOISE).decode().translate(str.maketrans("+/", "-_", "=")),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_usual_spelling_of_base64_is_taken(name):
    assert _read(json.dumps({"image": SPELLINGS[name]}).encode()).image == NOISE


def test_padding_may_be_left_out_for_images_of_any_length():
    for length in range(10):
        text = base64.b64encode(NOISE[:length]).decode().rstrip("=")
        assert _read(json.dumps({"image": text}).encode()).image == NOISE[:length]


def test_a_prefix_declares_the_type_unless_it_is_declared_or_no_images():
    def declared(prefix, **more):
        return _read(json.dumps({"image": f"data:{prefix};base64,AAAA", **more}).encode()).content_type

    assert declared("image/PNG") == "image/png"
    assert declared("image/png", content_type="image/tiff") == "image/tiff"
    assert declared("text/plain") == declared("") == ""


GARBAGE = ["A", "AAAAA", "AA=", "AAA==", "AAAA=", "=", "AA==AAAA", "AA AA", "AA\tAA", "AA*A", "AA\u00e9A"]
GARBAGE += [
    "data:image/png,AAAA",
    "data:base64,AAAA",
    "data:image/png;base64",
    "image/png;base64,AAAA",
    "data:;base64,*",
]
GARBAGE += ["data:" + ";a=b" * 1000 + ";base64,AAAA", "data:;base64,data:;base64,AAAA"]


@pytest.mark.parametrize("text", GARBAGE)
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(Problem, match=r"image \(base64 text\)") as refused:
        _read(json.dumps({"image": text}).encode())
    assert (refused.value.status, refused.value.code) == (400, "bad_json")


@pytest.mark.parametrize("text", ["A" * (8 * MIB), "\n" * (8 * MIB), "*" * (8 * MIB), "data:" + ";a=b" * (2 * MIB)])
def test_a_long_image_costs_a_few_times_its_text_and_no_more(text):
    body = json.dumps({"image": text}).encode()
    tracemalloc.start()
    try:
        with contextlib.suppress(Problem):
            _read(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(body)


def test_a_page_is_a_whole_number_from_0():
    assert _read(b'{"image": "AAAA", "page": 7}').page == 7
    assert _read(b'{"image": "AAAA", "page": null}').page is None
    for page in (b"-1", b"1.5", b"true", b'"1"', b"1000000", b"9" * 5000):
        with pytest.raises(Problem, match="page"):
            _read(b'{"image": "AAAA", "page": ' + page + b"}")


def test_the_order_of_the_keys_and_space_between_them_do_not_matter():
    asked = _read(b' {\n"metadata" : {"age":1} ,\t"image" : "AAAA" } \r\n')
    assert (asked.image, asked.metadata) == (bytes(3), {"age": 1})


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 4000])
def test_a_number_beyond_what_floats_hold_is_sound_json(number):
    (value,) = _read(_with_metadata(f'{{"age": {number}}}'.encode())).metadata.values()
    assert abs(value) > 1e308


@pytest.mark.parametrize(("opening", "closing", "innermost"), [(b"[", b"]", b""), (b'{"a":', b"}", b"1")])
def test_json_may_be_nested_32_deep_and_no_deeper(opening, closing, innermost):
    def nested(depth):
        return _with_metadata(b'{"a":' + opening * (depth - 2) + innermost + closing * (depth - 2) + b"}")

    assert _read(nested(32)).metadata["a"]
    for depth in (33, 500, 200_000):
        with pytest.raises(Problem) as refused:
            _read(nested(depth))
        assert (refused.value.status, refused.value.code) == (400, "bad_json")
    with pytest.raises(Problem, match="nested deeper than 32"):
        _read(nested(33))


def test_a_refusal_says_what_is_expected_and_does_not_repeat_what_came():
    for body in (
        b'{"image": "AAAA", "Secret": 1}',
        b'{"image": "Secret!"}',
        _with_metadata(b'{"Secret": 1, "Secret": 2}'),
    ):
        with pytest.raises(Problem, match=r"image .*content_type .*metadata") as refused:
            _read(body)
        assert "Secret" not in str(refused.value) + str(refused.value.hint)


HOSTILE = {
    "lists": b"[],",
    "objects": b"{},",
    "numbers": b"1,",
    "texts": b'"",',
    "keys": b'"":1,',
    "images": b'"image":"",',
    "metadata": b'"metadata":{},',
    "opening": b"[",
    "deeper": b'{"a":',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_many_small_values_cost_is_no_multiple_of_the_body(name):
    many = HOSTILE[name] * (8 * MIB // len(HOSTILE[name]))
    bodies = [
        b"[" + many + b"1]",
        b"{" + many + b'"image":""}',
        _with_metadata(b"{" + many + b'"a":1}'),
        _with_metadata(b'{"a":[' + many + b"1]}"),
    ]
    for body in bodies:
        tracemalloc.start()
        try:
            with pytest.raises(Problem) as refused:
                _read(body)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (refused.value.status, refused.value.code) == (400, "bad_json")
        assert peak < MIB


def test_metadata_larger_than_any_row_are_refused():
    with pytest.raises(Problem, match="metadata are larger than 262144 bytes"):
        _read(_with_metadata(b'{"a": "' + b"x" * 2**18 + b'"}'))
