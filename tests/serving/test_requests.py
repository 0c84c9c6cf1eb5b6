"""The JSON form of a request: what is taken, what is refused, and what a hostile one costs."""

import base64
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


def test_every_part_of_a_request_comes_out_as_it_was_put_in():
    image = bytes(range(256))
    metadata = {"age": 61, "dose": 0.1, "sex": "männlich \U0001f600", "site": None, "old": True}
    text = {"image": base64.b64encode(image).decode(), "content_type": "image/png", "metadata": metadata}
    for ascii_only in (True, False):
        asked = _read(json.dumps(text, ensure_ascii=ascii_only).encode())
        assert (asked.image, asked.content_type, asked.metadata) == (image, "image/png", metadata)
    assert {type(key) for key in asked.metadata} == {str}


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
