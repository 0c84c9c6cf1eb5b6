"""A classifier over HTTP: images alone, images with metadata in JSON, and everything that is no such request."""

import base64
import gzip
import io
import json
import random

import nibabel
import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.packaging import read_bundle
from medloom.serving import Service, create_app
from support.bundles import tiny_label_recipe, write_tiny_label_bundle


@pytest.fixture(scope="module")
def client(served_labels, make_client):
    return make_client(create_app(Service.of(*served_labels)))


@pytest.fixture(scope="module")
def segmenter(served, make_client):
    return make_client(create_app(Service.of(*served)))


PIXELS = np.tile(np.arange(0, 200, 5, dtype=np.uint8), (48, 1))


def _png(pixels=PIXELS):
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def _nifti(planes=1):
    voxels = np.repeat(PIXELS.T[..., None], planes, axis=2)
    return nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()


def _post(client, body, kind="application/json", query="", **headers):
    given = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.post(f"/invocations{query}", content=body, headers=given)


def _asked(**parts):
    image = base64.b64encode(_png()).decode()
    return json.dumps({"image": image, **parts}).encode()


def test_an_image_alone_is_answered_with_the_predictors_own_probabilities(client, served_labels):
    expected = served_labels[0].predict(_png())
    answer = _post(client, _png(), "image/png").json()
    assert list(answer["probabilities"]) == answer["classes"] == ["benign", "malignant"]
    assert list(answer["probabilities"].values()) == pytest.approx(expected.scores, abs=1e-6)
    assert answer["decision"] == expected.decision[0]
    assert answer["operating_point"] == {"thresholds": [0.5]}
    target = {"kind": "binary", "names": ["benign", "malignant"]}
    assert len(answer["model"].pop("digest")) == 64
    assert answer["model"] == {"name": "tiny-labels", "phantom": True, "target": target}


@pytest.mark.parametrize(
    "metadata", [{}, {"age": 61, "sex": "male"}, {"age": "61.5"}, {"sex": None}, {"sex": "other", "age": ""}]
)
def test_an_image_with_metadata_is_answered_as_the_predictor_answers_both(client, served_labels, metadata):
    expected = served_labels[0].predict(_png(), metadata=metadata)
    response = _post(client, _asked(metadata=metadata, content_type="image/png"))
    assert response.status_code == 200, response.text
    assert list(response.json()["probabilities"].values()) == pytest.approx(expected.scores, abs=1e-6)


def test_slashes_may_be_escaped_and_pairs_of_surrogates_are_text(client):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    image = base64.b64encode(_png(noise)).decode()
    plain = json.dumps({"image": image, "metadata": {"sex": "\U0001f600"}}).encode()
    escaped = plain.replace(b"/", b"\\/")
    assert escaped != plain
    assert b"\\ud83d\\ude00" in plain
    answer = _post(client, plain)
    assert answer.status_code == 200
    assert _post(client, escaped).json() == answer.json()


@pytest.mark.parametrize(
    ("metadata", "missing", "unknown", "outside"),
    [
        ({}, ["age", "sex"], [], []),
        ({"age": 60.5, "sex": " Male "}, [], [], []),
        ({"age": "NaN", "sex": "other"}, ["age"], ["sex"], []),
        ({"sex": None, "age": 0}, ["sex"], [], ["age"]),
    ],
)
def test_the_answer_names_metadata_that_were_missing_or_never_seen_in_training(
    client, metadata, missing, unknown, outside
):
    answer = _post(client, _asked(metadata=metadata)).json()
    assert answer["metadata"] == {"missing": missing, "unknown": unknown, "outside": outside}
    said = [text.partition(":")[0] for text in answer.get("warnings", [])]
    assert said == [f"metadata {name}" for name in (*outside, *unknown)]


def test_the_answer_to_an_image_alone_says_that_all_metadata_were_missing(client):
    assert _post(client, _png(), "image/png").json()["metadata"]["missing"] == ["age", "sex"]


def test_metadata_change_the_answer(client):
    young, old = (_post(client, _asked(metadata={"age": age})).json()["probabilities"] for age in (20, 80))
    assert old["malignant"] > young["malignant"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (_png(), "image/png"),
        ("dicom", "application/dicom"),
        (_nifti(), "application/x-nifti"),
        (gzip.compress(_nifti()), "application/gzip"),
    ],
    ids=["png", "dicom", "nifti", "nifti.gz"],
)
def test_every_format_is_taken_under_its_own_type_sniffed_and_inside_json(
    client, body, kind, make_dicom, assert_problem
):
    body = make_dicom(PIXELS) if body == "dicom" else body
    wanted = _post(client, _png(), "image/png").json()["probabilities"]
    inside = json.dumps({"image": base64.b64encode(body).decode()}).encode()
    for response in (_post(client, body, kind), _post(client, body, "application/octet-stream"), _post(client, inside)):
        assert response.status_code == 200, response.text
        assert response.json()["probabilities"] == wanted
    assert_problem(_post(client, body, "image/tiff"), 415, "mismatch")
    declared = json.dumps({"image": base64.b64encode(body).decode(), "content_type": "image/tiff"}).encode()
    assert_problem(_post(client, declared), 415, "mismatch")


def test_dicom_and_nifti_are_segmented_too(segmenter, make_dicom, assert_problem):
    for body, kind in ((make_dicom(PIXELS), "application/dicom"), (_nifti(), "application/octet-stream")):
        problem = assert_problem(_post(segmenter, body, kind), 422, "wrong_input")  # sound, but one channel
        assert "1 channel; this model takes 3" in problem["message"]


def test_without_a_page_a_volume_is_predicted_whole(client):
    assert len(_post(client, _nifti(3), "application/x-nifti").json()["slices"]) == 3
    assert _post(client, _nifti(3), "application/x-nifti", "?page=2").status_code == 200
    inside = json.dumps({"image": base64.b64encode(_nifti(3)).decode()}).encode()
    assert _post(client, inside, query="?page=1").status_code == 200


def test_the_page_can_be_a_key_of_the_json(client, assert_problem):
    planes = np.stack([PIXELS.T // 2, PIXELS.T], axis=2)
    body = nibabel.Nifti1Image(planes, np.eye(4)).to_bytes()

    def asked(page):
        return json.dumps({"image": base64.b64encode(body).decode(), "page": page}).encode()

    for page in (0, 1):
        wanted = _post(client, body, "application/x-nifti", f"?page={page}").json()
        assert _post(client, asked(page)).json() == wanted
        assert _post(client, asked(page), query=f"?page={page}").json() == wanted
    assert _post(client, asked(0)).json() != _post(client, asked(1)).json()
    assert_problem(_post(client, asked(0), query="?page=1"), 400, "bad_page")
    assert len(_post(client, asked(None)).json()["slices"]) == 2


def test_the_prefix_of_a_browser_says_the_type_of_the_image(client, assert_problem):
    text = base64.b64encode(_png()).decode()
    wanted = _post(client, _asked()).json()
    assert _post(client, _asked(image=f"data:image/png;base64,{text}")).json() == wanted
    assert_problem(_post(client, _asked(image=f"data:image/tiff;base64,{text}")), 415, "mismatch")


def test_the_root_lists_what_the_model_takes_and_answers(client, segmenter):
    found = client.get("/").json()
    assert found["target"] == {"kind": "binary", "names": ["benign", "malignant"]}
    assert found["channels"] == ["grey"]
    assert found["metadata"] == [
        {"column": "age", "type": "number", "range": [40.0, 60.0]},
        {"column": "sex", "type": "category", "categories": ["female", "male"]},
    ]
    assert found["views"] == 1
    assert found["operating_point"] == {"thresholds": [0.5]}
    assert found["answers"] == ["application/json", "application/dicom; form=sr", "multipart/mixed"]
    assert {"image/png", "application/dicom", "application/json"} <= set(found["content_types"])
    assert found["model"]["phantom"] is True
    masks = segmenter.get("/").json()
    assert masks["target"]["names"] == ["class0", "class1"]
    assert masks["channels"] == ["pre", "FLAIR", "post"]
    assert masks["metadata"] == []
    assert "image/png" in masks["answers"]


DEEP = 200_000
IMAGE = base64.b64encode(_png())
MALFORMED = {
    "empty": b"",
    "no json": b"image",
    "cut": _asked()[:-3],
    "two documents": _asked() + _asked(),
    "trailing comma": b'{"image": "' + IMAGE + b'",}',
    "single quotes": b"{'image': 'x'}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "only the image": b'"' + IMAGE + b'"',
    "without image": b'{"metadata": {}}',
    "image is a number": b'{"image": 7}',
    "image is null": b'{"image": null}',
    "deep lists": b"[" * DEEP,
    "deep lists that close": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "deep in the metadata": b'{"image": "", "metadata": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "deep behind a text with brackets": b'{"]]]]]": "[\\"[", "image": ' + b"[" * DEEP,
    "deep behind a text with slashes": b'{"\\\\": ' + b"[" * DEEP,
    "a list nested too deep in the metadata": b'{"image": "", "metadata": {"a": ' + b"[" * 31 + b"]" * 31 + b"}}",
    "metadata too large": b'{"image": "", "metadata": {"a": "' + b"x" * 300_000 + b'"}}',
    "millions of texts": b'"' * 2_000_000,
    "millions of keys": b"{" + b'"":1,' * 400_000 + b'"a":1}',
    "millions of values": b"[" + b"1," * 1_000_000 + b"1]",
    "millions of lists": b"[" + b"[]," * 700_000 + b"[]]",
    "millions of slashes": b'{"image": "' + b"\\" * 1_000_000 + b'"}',
    "NaN": b'{"image": "' + IMAGE + b'", "metadata": {"age": NaN}}',
    "Infinity": b'{"image": "' + IMAGE + b'", "metadata": {"age": -Infinity}}',
    "a key twice": b'{"image": "' + IMAGE + b'", "image": "' + IMAGE + b'"}',
    "a column twice": b'{"image": "' + IMAGE + b'", "metadata": {"age": 1, "age": 2}}',
    "a huge integer": b'{"image": "' + IMAGE + b'", "metadata": {"age": ' + b"9" * 200_000 + b"}}",
    "surrogate in metadata": b'{"image": "' + IMAGE + b'", "metadata": {"sex": "\\ud800"}}',
    "surrogate in a column": b'{"image": "' + IMAGE + b'", "metadata": {"\\udfff": 1}}',
    "surrogate in the image": b'{"image": "\\ud800"}',
    "surrogate in the type": b'{"image": "' + IMAGE + b'", "content_type": "\\ud83d"}',
    "surrogate as bytes": b'{"image": "' + IMAGE + b'", "metadata": {"sex": "\xed\xa0\x80"}}',
    "not UTF-8": b'{"image": "' + IMAGE + b'", "metadata": {"sex": "\xff"}}',
    "UTF-16": _asked().decode().encode("utf-16"),
    "a mark before it": b"\xef\xbb\xbf" + _asked(),
    "control character": b'{"image": "' + IMAGE + b'", "metadata": {"sex": "\x01"}}',
    "not base64": b'{"image": "***"}',
    "base64 with a space": b'{"image": "AA AA"}',
    "base64 of a length that cannot be": b'{"image": "AAAAA"}',
    "a prefix without base64": b'{"image": "data:image/png,AAAA"}',
    "unknown key": b'{"image": "' + IMAGE + b'", "url": "http://127.0.0.1/"}',
    "metadata is a list": b'{"image": "' + IMAGE + b'", "metadata": [1]}',
    "metadata is null": b'{"image": "' + IMAGE + b'", "metadata": null}',
    "type is a number": b'{"image": "' + IMAGE + b'", "content_type": 7}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_json_that_is_no_such_request_is_400_for_labels_and_masks(client, segmenter, name, assert_problem):
    for one in (client, segmenter):
        assert_problem(_post(one, MALFORMED[name]), 400, "bad_json")


def test_no_mutant_of_a_request_crashes(client):
    rng = random.Random(7)
    whole = _asked(metadata={"age": 61, "sex": "male"}, content_type="image/png")
    for _ in range(300):
        body = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.choice([rng.randrange(60), rng.randrange(len(body) - 90, len(body))])
            body[at : at + rng.randint(0, 2)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 2)))
        response = _post(client, bytes(body))
        assert response.status_code in (200, 400, 415, 422), (response.status_code, bytes(body[-90:]))


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"weight": 70}, "this model takes age, sex"),
        ({"age": "sixty-one"}, "age: expected a number"),
        ({"age": [61]}, "list"),
        ({"sex": {"is": "male"}}, "dict"),
        ({"age": True}, "bool"),
    ],
)
def test_sound_json_with_metadata_that_do_not_fit_is_422_and_does_not_repeat_them(
    client, metadata, reason, assert_problem
):
    body = assert_problem(_post(client, _asked(metadata=metadata)), 422, "wrong_input")
    assert reason in body["message"]
    assert "sixty" not in body["message"]


def test_numbers_beyond_what_floats_hold_are_422(client, assert_problem):
    for number in (b"1e999", b"-1e999", b"9" * 4000):
        body = b'{"image": "' + IMAGE + b'", "metadata": {"age": ' + number + b"}}"
        assert_problem(_post(client, body), 422, "wrong_input")


def test_metadata_for_a_model_that_takes_none_are_422(segmenter, make_client, tmp_path, assert_problem):
    with read_bundle(write_tiny_label_bundle(tmp_path / "m.tar.gz", tiny_label_recipe())) as bundle:
        plain = make_client(create_app(Service.of(bundle.predictor(threads=1), bundle.manifest)))
    for one in (plain, segmenter):
        body = assert_problem(_post(one, _asked(metadata={"age": 61})), 422, "wrong_input")
        assert "takes no metadata" in body["message"]
    assert _post(plain, _asked(metadata={})).status_code == 200


@pytest.mark.parametrize("accept", ["image/png", "application/x-npy", "image/*"])
def test_a_classifier_has_no_answers_of_pixels(client, accept, assert_problem):
    for body, kind in ((_png(), "image/png"), (_asked(), "application/json")):
        problem = assert_problem(_post(client, body, kind, Accept=accept), 406, "not_acceptable")
        assert not any("image" in one or "npy" in one for one in problem["accepted"])
    assert _post(client, _png(), "image/png", Accept=f"{accept}, */*;q=0.1").status_code == 200


def test_a_bad_image_inside_json_is_refused_as_it_is_alone(client):
    for image in (b"", b"no image", _png()[:60], _nifti()[:400]):
        inside = json.dumps({"image": base64.b64encode(image).decode()}).encode()
        alone, wrapped = _post(client, image, "application/octet-stream"), _post(client, inside)
        assert alone.status_code in (400, 415)
        assert (wrapped.status_code, wrapped.json()) == (alone.status_code, alone.json())


def test_several_labels_and_numbers_are_answered_by_name(make_client, tmp_path):
    answers = {}
    for kind, names in (("multi-label", ("left", "right")), ("regression", ("grade", "depth"))):
        path = write_tiny_label_bundle(tmp_path / f"{kind}.tar.gz", tiny_label_recipe(kind, names=names))
        with read_bundle(path) as bundle:
            predictor, manifest = bundle.predictor(threads=1), bundle.manifest
        answers[kind] = _post(make_client(create_app(Service.of(predictor, manifest))), _png(), "image/png").json()
        expected = predictor.predict(_png()).scores
        found = answers[kind].get("probabilities") or answers[kind]["values"]
        assert list(found) == list(names)
        assert list(found.values()) == pytest.approx(expected, abs=1e-6)
    assert isinstance(answers["multi-label"]["decision"], list)
    assert answers["multi-label"]["operating_point"] == {"thresholds": [0.5, 0.5]}
    assert "decision" not in answers["regression"]


def test_a_good_request_gets_the_same_answer_after_bad_ones(client):
    before = _post(client, _asked(metadata={"age": 50})).content
    for body in MALFORMED.values():
        _post(client, body)
    assert _post(client, _asked(metadata={"age": 50})).content == before


def test_answers_over_http_and_in_python_say_what_decoding_did(client, segmenter, served, served_labels):
    exif = PillowImage.Exif()
    exif[274] = 3
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for asked, (predictor, _), pixels in ((client, served_labels, PIXELS), (segmenter, served, colours)):
        buffer = io.BytesIO()
        PillowImage.fromarray(pixels).save(buffer, "png", exif=exif)
        assert predictor.predict(buffer.getvalue()).notes == ("EXIF orientation applied",)
        assert _post(asked, buffer.getvalue(), "image/png").json()["notes"] == ["EXIF orientation applied"]
        assert "notes" not in _post(asked, _png(pixels), "image/png").json()
