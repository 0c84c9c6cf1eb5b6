"""A model in the hands of a host that calls four functions: it answers and refuses as the server does."""

from __future__ import annotations

import base64
import json
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from medloom.imaging import encode_png
from medloom.imaging.fence import DecodeFence
from medloom.packaging.archive import extract
from medloom.serving import Service, create_app, hosted
from medloom.serving.problems import Problem
from support.bundles import write_tiny_bundle

PNG = encode_png(np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8))
TEXT = base64.b64encode(PNG).decode()


class Context:
    """What AWS's server hands over, as far as an answer has a status."""

    status: tuple[int, str] = (200, "")

    def set_response_status(self, code, phrase) -> None:
        self.status = code, phrase


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("hosted")
    write_tiny_bundle(place / "model.tar.gz")
    extract(place / "model.tar.gz", place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def model(folder):
    return hosted.open_model(str(folder))


def answered(model, body, kind, accept, context):
    return hosted.encode(hosted.predict(hosted.read(body, kind), model), accept, context)


def bomb():
    """A PNG that says it has 400 million pixels."""
    head = PNG[:16] + (20000).to_bytes(4, "big") * 2 + PNG[24:29]
    return head + zlib.crc32(head[12:]).to_bytes(4, "big") + PNG[33:]


ASKED = {
    "an image": (PNG, "image/png", "application/json"),
    "an image with parameters": (PNG, "Image/X-PNG; name=a", "*/*"),
    "text": (json.dumps({"image": TEXT}), "application/json", "image/png"),
    "an overlay": (PNG, "image/png", "image/png; form=overlay"),
    "a list with a bad one": (json.dumps({"images": [{"image": TEXT}, {"image": "AAAA"}]}), "application/json", "*/*"),
    "a list as a picture": (json.dumps({"images": [{"image": TEXT}]}), "application/json", "image/png"),
    "half an image": (PNG[: len(PNG) // 2], "image/png", "*/*"),
    "a bomb": (bomb(), "image/png", "*/*"),
    "no JSON": ("{", "application/json", "*/*"),
    "CSV": ("age,sex\n70,male\n", "text/csv", "application/json"),
    "no type": (PNG, None, "*/*"),
    "another kind than it says": (PNG, "image/tiff", "*/*"),
    "a form that there is not": (PNG, "image/png", "text/html"),
}


@pytest.mark.parametrize("name", ASKED)
def test_it_answers_and_refuses_as_the_server_does(name, model, make_client):
    body, kind, accept = ASKED[name]
    context = Context()
    content, media_type = answered(model, body, kind, accept, context)
    headers = {"Accept": accept, **({"Content-Type": kind} if kind else {})}
    theirs = make_client(create_app(Service.of(model.predictor, model.manifest))).post("/invocations", body, headers)
    assert (context.status[0], content) == (theirs.status_code, theirs.content)
    assert media_type == theirs.headers["Content-Type"]


def test_a_host_that_takes_no_status_gets_the_refusal_raised(model):
    with pytest.raises(Problem, match="the input is none of"):
        answered(model, b"no image", "image/png", "*/*", object())


def test_a_decoder_that_crashes_costs_its_own_request_and_nothing_else(folder, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "imaging")
    monkeypatch.setattr(hosted, "new_fence", partial(DecodeFence, target="fence_faults:decode"))
    model = hosted.open_model(str(folder))
    before = answered(model, PNG, "image/png", "*/*", None)
    context = Context()
    content, _ = answered(model, b"crash", "image/png", "*/*", context)
    assert (context.status, json.loads(content)["code"]) == ((400, "Bad Request"), "decoder_failed")
    assert answered(model, PNG, "image/png", "*/*", None) == before


def test_where_no_process_may_be_started_it_says_so_and_answers(folder, model, monkeypatch, caplog):
    def refuse(workers):
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(hosted, "new_fence", refuse)
    bare = hosted.open_model(str(folder))
    assert "decoded without a fence" in caplog.text
    assert answered(bare, PNG, "image/png", "*/*", None) == answered(model, PNG, "image/png", "*/*", None)


def test_an_error_of_its_own_tells_a_client_nothing_of_the_image(model, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Jane Doe")

    monkeypatch.setattr(hosted, "predict_whole", fail)
    context = Context()
    content, _ = answered(model, PNG, "image/png", "*/*", context)
    assert context.status[0] == 500
    assert b"Jane" not in content
