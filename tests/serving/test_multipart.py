"""Forms with images: what they may say, what is refused, and what a hostile one costs."""

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.serving import Service, create_app
from medloom.serving.http.multipart import boundary_of, read_form, read_parts
from medloom.serving.problems import Problem

EDGE = b"edge"


def _part(content, name="image", *, kind=None, file="a.png", more=""):
    said = f'form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    return f"Content-Disposition: {said}\r\n{typed}{more}\r\n".encode() + content


def _form(*parts):
    return b"".join(b"--" + EDGE + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + EDGE + b"--\r\n"


def _field(name, text):
    return _part(text.encode(), name, file=None)


def _refused(body, match=None):
    with pytest.raises(Problem, match=match) as refused:
        read_form(body, EDGE)
    assert (refused.value.status, refused.value.code) == (400, "bad_multipart")
    return refused.value


def test_a_form_as_httpx_writes_it_comes_out_as_it_was_put_in():
    noise = bytes(range(256)) + b"\r\n--edge\r\n-"
    request = httpx.Request(
        "POST",
        "https://example.org",
        files=[("file", ('a"b;ü.png', noise, "Image/PNG; x=y")), ("other", ("b", b"", None))],
        data={"age": "61", "größe": "männlich", "page": "3", "series": "1.2"},
    )
    asked = read_form(request.read(), boundary_of(request.headers["content-type"]))
    assert asked.several
    assert [one.image for one in asked.images] == [noise, b""]
    assert asked.images[0].content_type == "image/png"
    for one in asked.images:
        assert (one.metadata, one.page, one.series) == ({"age": "61", "größe": "männlich"}, 3, "1.2")


def test_metadata_may_come_as_fields_as_json_of_one_name_or_as_one_json_part():
    image = _part(b"x", kind="image/png", file=None)
    forms = [
        _form(image, _field("age", "61")),
        _form(_field("metadata", '{"age": "61"}'), image),
        _form(image, _part(b'{"age": "61"}', "metadata", kind="application/json", file=None)),
        _form(image, _part(b'{"age": "61"}', "metadata", kind="application/json", file="m.json")),
        _form(image, _part(b'{"metadata": {"age": "61"}}', "request", kind="application/json", file=None)),
        _form(image, _field("metadata", '[{"age": "61"}]')),
    ]
    for form in forms:
        asked = read_form(form, EDGE)
        assert [one.metadata for one in asked.images] == [{"age": "61"}]
        assert not asked.several


def test_each_image_of_several_may_have_metadata_of_its_own():
    form = _form(_part(b"a"), _part(b"b"), _field("metadata", '[{"age": 1}, {"age": 2}]'), _field("sex", "female"))
    found = [(one.image, one.metadata) for one in read_form(form, EDGE).images]
    assert found == [(b"a", {"age": 1, "sex": "female"}), (b"b", {"age": 2, "sex": "female"})]


def test_the_json_part_says_page_and_series_as_well():
    part = _part(b'{"page": 4, "series": "0"}', "x", kind="application/json", file=None)
    (one,) = read_form(_form(part, _part(b"a")), EDGE).images
    assert (one.page, one.series) == (4, "0")


def test_a_url_in_a_form_is_an_image_that_is_still_to_be_fetched():
    (one,) = read_form(_form(_field("url", "https://example.org/a.png")), EDGE).images
    assert (one.image, one.url) == (b"", "https://example.org/a.png")


REFUSED = {
    "no image": _form(_field("age", "61")),
    "nothing": b"",
    "no parts": b"--edge--\r\n",
    "65 images": _form(*[_part(b"x")] * 65),
    "a column twice": _form(_part(b"x"), _field("age", "1"), _field("age", "2")),
    "a column twice in two ways": _form(_part(b"x"), _field("age", "1"), _field("metadata", '{"age": 2}')),
    "metadata twice": _form(_part(b"x"), _field("metadata", "{}"), _field("metadata", "{}")),
    "too few rows": _form(_part(b"x"), _part(b"y"), _field("metadata", "[{}]")),
    "a field without a name": _form(_part(b"x"), _field("", "1")),
    "no name at all": _form(b"\r\nx"),
    "text that is none": _form(_part(b"x"), _part(b"\xff", "age", file=None)),
    "a long field": _form(_part(b"x"), _field("age", "1" * 20_000)),
    "broken JSON": _form(_part(b"x"), _part(b'{"page": 1', "x", kind="application/json", file=None)),
    "JSON of more": _form(_part(b"x"), _part(b'{"Secret": 1}', "x", kind="application/json", file=None)),
    "a page of the wrong kind": _form(_part(b"x"), _part(b'{"page": [1]}', "x", kind="application/json", file=None)),
    "an encoded part": _form(_part(b"x", more="Content-Transfer-Encoding: base64\r\n")),
    "a header without an end": _form(b"Content-Disposition" + b"x" * 10_000),
    "many headers": _form(b"X-A: b\r\n" * 9 + b"\r\nx"),
    "a long header": _form(b"X-A: " + b"b" * 5_000 + b"\r\n\r\nx"),
    "129 parts": _form(*[_field(f"c{index}", "") for index in range(129)]),
    "no last boundary": _form(_part(b"x"))[:-4],
    "another boundary": _form(_part(b"x")).replace(b"edge", b"ledge"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_is_not_sound_is_refused_and_not_repeated(name):
    problem = _refused(REFUSED[name])
    assert "Secret" not in problem.message


@pytest.mark.parametrize("page", ["-1", "x", "1.5", "1" * 7, "true", "\u0661"])
def test_a_page_is_a_whole_number(page):
    with pytest.raises(Problem, match="page must be"):
        read_form(_form(_part(b"x"), _field("page", page)), EDGE)


def test_a_form_cut_off_anywhere_is_refused():
    whole = _form(_part(b"xyz", kind="image/png"), _field("age", "61"))
    for end in range(len(whole) - 3):
        _refused(whole[:end])


def test_metadata_of_a_form_are_bounded_as_those_of_json():
    for text in ("[" * 200_000, '{"a": ' + "[" * 40 + "]" * 40 + "}", '{"a": 1, "a": 2}', '{"a": NaN}'):
        with pytest.raises(Problem) as refused:
            read_form(_form(_part(b"x"), _field("metadata", text)), EDGE)
        assert refused.value.status == 400


@pytest.mark.parametrize(
    "header", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\u00e9",
               "multipart/form-data; boundary=" + "a" * 71]
)  # fmt: skip
def test_a_boundary_that_is_none_is_refused(header):
    with pytest.raises(Problem, match="no sound boundary"):
        boundary_of(header)


def test_the_names_of_files_are_not_kept():
    (part,) = read_parts(_form(_part(b"x", file="Doe^John.dcm")), EDGE)
    assert "Doe" not in repr(part)


# What the application answers


def _png(value):
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((20, 24, 3), value, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


BRIGHT, DARK = _png(250), _png(5)


@pytest.fixture(scope="module")
def client(served, make_client):
    return make_client(create_app(Service.of(*served)))


def _post(client, form, accept="application/json"):
    headers = {"Content-Type": "multipart/form-data; boundary=edge", "Accept": accept}
    return client.post("/invocations", form, headers)


def _alone(client, image):
    return client.post("/invocations", image, {"Content-Type": "image/png"}).json()


def test_a_form_with_one_image_is_answered_as_the_image_alone(client):
    assert _post(client, _form(_part(BRIGHT))).json() == _alone(client, BRIGHT)
    assert _post(client, _form(_part(BRIGHT)), "image/png").headers["content-type"] == "image/png"


def test_several_images_are_answered_in_order_and_a_bad_one_has_its_error_in_its_place(client):
    form = _form(_part(BRIGHT), _part(b"no image"), _part(DARK), _part(DARK[:40]), _part(BRIGHT, kind="image/tiff"))
    response = _post(client, form)
    assert response.status_code == 200
    answers = response.json()["answers"]
    assert answers[0] == _alone(client, BRIGHT)
    assert answers[2] == _alone(client, DARK)
    errors = [one["error"]["code"] for one in (answers[1], answers[3], answers[4])]
    assert errors == ["unsupported", "truncated", "mismatch"]
    assert response.headers["x-medloom-model"] == "tiny"


def test_several_images_in_json_are_answered_the_same(client):
    def plain(image):
        return base64.b64encode(image).decode()

    images = [
        {"image": plain(BRIGHT)},
        {"image": "*"},
        {"image": plain(DARK), "content_type": "image/X-PNG"},
        {"image": plain(DARK), "surplus": 1},
        {"url": "https://127.0.0.1/"},
        7,
        {"image": plain(DARK), "metadata": {"age": 1}},
    ]
    response = client.post(
        "/invocations", json.dumps({"images": images}).encode(), {"Content-Type": "application/json"}
    )
    assert response.status_code == 200
    answers = response.json()["answers"]
    assert answers[0] == _alone(client, BRIGHT)
    assert answers[2] == _alone(client, DARK)
    codes = [answers[index]["error"]["code"] for index in (1, 3, 4, 5, 6)]
    assert codes == ["bad_json", "bad_json", "url_not_allowed", "bad_json", "wrong_input"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"images": []}',
        b'{"images": {}}',
        b'{"images": [{}], "image": ""}',
        b'{"images": [{"image": ""}], "metadata": {}}',
        b'{"images": [' + b'{"image":""},' * 64 + b'{"image":""}]}',
        b'{"images": [' + b"1," * 8_000_000 + b"1]}",
        b'{"image": "", "url": ""}',
        b"{}",
        b'{"images": [{"image": ""}], "images": []}',
    ],
    ids=range(9),
)
def test_json_with_several_images_that_is_not_sound_is_refused_as_a_whole(client, body, assert_problem):
    assert_problem(client.post("/invocations", body, {"Content-Type": "application/json"}), 400, "bad_json")


def test_a_list_of_answers_is_json_and_nothing_else(client, assert_problem):
    response = _post(client, _form(_part(BRIGHT), _part(DARK)), "image/png")
    assert_problem(response, 406, "not_acceptable")


def test_what_the_query_says_holds_for_every_image_and_must_not_contradict_it(client, assert_problem):
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    form = _form(_part(BRIGHT), _part(DARK))
    assert len(client.post("/invocations?page=0", form, headers).json()["answers"]) == 2
    contrary = _form(_part(BRIGHT), _field("page", "0"))
    assert_problem(client.post("/invocations?page=1", contrary, headers), 400, "bad_page")


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("application/x-image", BRIGHT),
        ("APPLICATION/OCTET-STREAM; x=y", BRIGHT),
        ("image/x-png", BRIGHT),
        ("Image/PNG;charset=binary", BRIGHT),
    ],
)
def test_the_names_that_clients_have_for_a_format_are_taken(client, kind, image):
    assert client.post("/invocations", image, {"Content-Type": kind}).status_code == 200


def test_jpg_is_taken_for_jpeg(client):
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((20, 24, 3), 100, np.uint8)).save(buffer, "jpeg")
    for kind in ("image/jpg", "IMAGE/JPEG", "image/pjpeg"):
        assert client.post("/invocations", buffer.getvalue(), {"Content-Type": kind}).status_code == 200
