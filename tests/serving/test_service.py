"""The service behind every protocol: several models by name, and what observers are told."""

import asyncio
import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.errors import BundleError, UserError
from medloom.packaging import read_bundle
from medloom.serving import ImageRequest, Limits, Model, Models, Service, create_app
from medloom.serving.models import Opening
from medloom.serving.problems import Problem


def _png(channels=3):
    pixels = np.full((48, 40, channels), 20, np.uint8)
    pixels[10:20, 10:25] = 250
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels if channels == 3 else pixels[..., 0]).save(buffer, "png")
    return buffer.getvalue()


PNG = _png()


class Watching:
    def __init__(self):
        self.told = []

    def seen(self, seen):
        self.told.append(seen)


@pytest.fixture
def two(served, served_labels):
    """A server of two models, one of them under another name than its own."""
    return Models([Model("masks", *served), Model("tiny-labels", *served_labels)])


def test_each_of_several_models_answers_under_its_name(two, served, served_labels, make_client):
    client, headers = make_client(create_app(Service(two))), {"Content-Type": "image/png"}
    masks = client.post("/models/masks/invocations", PNG, headers)
    assert masks.headers["x-medloom-model"] == "masks"
    assert masks.json()["area_px"] == served[0].predict(PNG).area_px
    labels = client.post("/models/tiny-labels/invocations", _png(1), headers)
    assert labels.json()["probabilities"] == served_labels[0].predict(_png(1)).plain()["probabilities"]
    assert [model["name"] for model in client.get("/").json()["models"]] == ["masks", "tiny-labels"]
    assert [model["model"] for model in client.get("/ping").json()["models"]] == ["masks", "tiny-labels"]


@pytest.mark.parametrize("path", ["/invocations", "/models/other/invocations", "/models/%2e%2e/invocations"])
def test_a_request_that_names_no_model_that_there_is_is_told_which_there_are(two, make_client, assert_problem, path):
    response = make_client(create_app(Service(two))).post(path, PNG, {"Content-Type": "image/png"})
    body = assert_problem(response, 404, "unknown_model")
    assert "masks, tiny-labels" in body["hint"]


def test_two_models_of_one_name_and_a_name_that_no_address_can_hold_are_refused(served, bundle_path):
    with pytest.raises(UserError, match="two models are called 'a'"):
        Models([Model("a", *served), Model("a", *served)])
    with pytest.raises(UserError, match=r"'\.\./x' is no name for a model"):
        Opening().open(bundle_path, "../x")


def test_a_bundle_that_was_changed_in_one_byte_is_not_served(bundle_path, tmp_path):
    with read_bundle(bundle_path) as bundle:
        shutil.copytree(bundle.folder, tmp_path / "bundle")
    for name in ("model.onnx", "model.safetensors", "bundle.json"):
        file = tmp_path / "bundle" / name
        sound = file.read_bytes()
        file.write_bytes(sound[:-2] + bytes([sound[-2] ^ 1]) + sound[-1:])
        with pytest.raises(BundleError, match="was changed"):
            Opening().open(tmp_path / "bundle")
        file.write_bytes(sound)
    assert Opening().open(tmp_path / "bundle").name == "tiny"


def test_observers_are_told_of_every_image_and_one_that_fails_harms_no_request(served):
    class Failing:
        def seen(self, seen):
            seen.headers["X-Added"] = "yes"
            raise RuntimeError

    watching = Watching()
    service = Service.of(*served)
    service.observers = (Failing(), watching)
    answer = asyncio.run(service.answer(ImageRequest(PNG, "image/png")))
    with pytest.raises(Problem, match="the file ends within"):
        asyncio.run(service.answer(ImageRequest(PNG[:60], "image/png")))
    good, bad = watching.told
    assert (good.model, good.code, good.content_type, good.size_bytes) == ("tiny", "ok", "image/png", len(PNG))
    assert {"decode", "prepare", "predict", "encode"} <= good.stages.keys()
    assert min(good.stages.values()) >= 0.0
    assert good.batch_size == 1
    np.testing.assert_array_equal(good.prepared.network_input, served[0].prepare(PNG).network_input)
    assert good.prediction.area_px == served[0].predict(PNG).area_px
    assert answer.headers["X-Medloom-Model"] == "tiny"
    said = dict(re.findall(r"(\w+);dur=(\d+\.\d)(?:, |$)", answer.headers["Server-Timing"]))
    milliseconds = {name: float(took) for name, took in said.items()}
    assert milliseconds.pop("total") >= sum(milliseconds.values()) - 0.5  # each is rounded to a tenth
    assert milliseconds == pytest.approx({name: 1e3 * took for name, took in good.stages.items()}, abs=0.051)
    assert (bad.code, bad.prediction) == ("truncated", None)


def test_observers_are_told_once_of_a_request_that_is_refused_before_its_body_is_read(served, make_client):
    watching = Watching()
    client = make_client(create_app(Service(Models([Model("tiny", *served)]), observers=(watching,))))
    client.post("/invocations", PNG, {"Content-Type": "text/plain; name=Doe"})
    client.post("/invocations", PNG[:60], {"Content-Type": "image/png"})
    said = [(seen.model, seen.code, seen.content_type, seen.size_bytes) for seen in watching.told]
    assert said == [("", "unsupported_type", "text/plain", 0), ("tiny", "truncated", "image/png", 60)]


def test_what_an_observer_adds_goes_out_with_the_answer(served, make_client):
    class Adding:
        def seen(self, seen):
            seen.headers["X-Added"] = seen.request_id[:2]

    class Named:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            scope.setdefault("state", {})["request_id"] = "ab12"
            await self.app(scope, receive, send)

    service = Service(Models([Model("tiny", *served)]), observers=(Adding(),))
    client = make_client(create_app(service, middleware=[Named]))
    assert client.post("/invocations", PNG, {"Content-Type": "image/png"}).headers["x-added"] == "ab"


def test_tensors_that_are_preprocessed_get_the_networks_own_answer(served):
    batch = np.concatenate([served[0].prepare(PNG).network_input[None]] * 3)
    np.testing.assert_array_equal(asyncio.run(Service.of(*served).run(batch)), served[0].run(batch))


def test_readyz_says_whether_there_is_a_model_and_healthz_that_there_is_a_server(served, make_client):
    service = Service(Models(), Limits())
    client = make_client(create_app(service))
    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
    service.models.put(Model("tiny", *served))
    assert client.get("/readyz").status_code == 200
    service.gate.draining = True
    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)


def test_the_same_model_put_again_answers_from_then_on(served, make_client):
    service = Service.of(*served)
    client = make_client(create_app(service))
    before = client.post("/invocations", PNG, {"Content-Type": "image/png"}).json()
    stricter = replace(served[0], point=replace(served[0].point, min_region_px=10_000))
    service.models.put(Model("tiny", stricter, served[1]))
    after = client.post("/invocations", PNG, {"Content-Type": "image/png"}).json()
    assert before["area_px"] > after["area_px"] == 0
