"""What SageMaker asks of a container beside answers: batch transform, several models, headers."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.serving import Limits, Models, Service, create_app
from medloom.serving.models import Opening
from medloom.serving.repository import Repository

JSON = {"Content-Type": "application/json"}


def _png(value=250):
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((20, 24, 3), value, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


PNG = _png()


@pytest.fixture
def folder(tmp_path, bundle_path):
    """A folder of bundles, and one outside it."""
    inside = tmp_path / "models"
    inside.mkdir()
    shutil.copy(bundle_path, inside / "brain.tar.gz")
    shutil.copy(bundle_path, tmp_path / "outside.tar.gz")
    (inside / "broken.tar.gz").write_bytes(b"no bundle")
    (inside / "link.tar.gz").symlink_to(tmp_path / "outside.tar.gz")
    (inside / "circle").symlink_to(inside / "circle")
    return inside


@pytest.fixture
def client(folder, make_client):
    """A server that begins with no model and may load those of the folder."""
    repository = Repository(folder, Opening(threads=1))
    return make_client(create_app(Service(Models()), repository=repository))


def _load(client, name="a", url="brain.tar.gz"):
    return client.post("/models", json.dumps({"model_name": name, "url": url}).encode(), JSON)


def test_a_batch_transform_learns_how_many_requests_of_which_size_to_send(served, make_client):
    for limits, expected in [
        (Limits(), {"MaxConcurrentTransforms": 4, "MaxPayloadInMB": 25}),
        (Limits(max_body_bytes=2**30, concurrency=8), {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 100}),
        (Limits(max_body_bytes=2**10, concurrency=2), {"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 1}),
    ]:
        found = make_client(create_app(Service.of(*served), limits)).get("/execution-parameters")
        assert (found.status_code, found.json()) == (200, expected)


def test_a_model_is_loaded_shown_asked_and_unloaded(client, folder, served):
    assert client.get("/models").json() == {"models": []}
    for url in ("brain.tar.gz", str(folder / "brain.tar.gz")):
        loaded = _load(client, url=url)
        assert (loaded.status_code, loaded.json()) == (200, {"modelName": "a", "modelUrl": "brain.tar.gz"})
        assert client.get("/models").json() == {"models": [loaded.json()]}
        assert client.get("/models/a").json() == loaded.json()
        answer = client.post("/models/a/invoke", PNG, {"Content-Type": "image/png"})
        assert answer.json()["area_px"] == served[0].predict(PNG).area_px
        assert answer.headers["x-medloom-model"] == "a"
        assert client.request("DELETE", "/models/a").status_code == 200
        assert client.get("/models/a").status_code == 404


def test_a_name_of_64_hexadecimal_digits_as_the_service_makes_them_is_taken(client):
    assert _load(client, name="0f" * 32).status_code == 200


def test_the_statuses_are_those_of_the_contract(client, assert_problem):
    assert _load(client).status_code == 200
    assert_problem(_load(client), 409, "already_loaded")
    assert_problem(_load(client, "b", "missing.tar.gz"), 404, "unknown_bundle")
    assert_problem(client.get("/models/b"), 404, "unknown_model")
    assert_problem(client.request("DELETE", "/models/b"), 404, "unknown_model")
    assert_problem(client.post("/models/b/invoke", PNG, {"Content-Type": "image/png"}), 404, "unknown_model")
    assert_problem(_load(client, "b", "broken.tar.gz"), 400, "bad_bundle")
    for name in ("", "a/b", "..", "a b", "x" * 129, "\u00e9"):
        assert_problem(_load(client, name), 400, "bad_bundle")


def test_a_model_larger_than_the_memory_that_is_left_is_507_and_not_opened(client, monkeypatch, assert_problem):
    monkeypatch.setattr("medloom.serving.repository.available_bytes", lambda: 2**20)
    assert_problem(_load(client), 507, "no_memory")
    monkeypatch.setattr("medloom.serving.repository.available_bytes", lambda: None)
    assert _load(client).status_code == 200


def test_no_memory_for_a_model_is_507(folder, make_client, assert_problem):
    class Full(Opening):
        def open(self, path, name=None):
            raise MemoryError

    client = make_client(create_app(Service(Models()), repository=Repository(folder, Full())))
    assert_problem(_load(client), 507, "no_memory")
    assert client.get("/models").json() == {"models": []}


OUTSIDE = [
    *("../outside.tar.gz", "/etc/passwd", "..", ".", "", "/", "x/../../outside.tar.gz", "link.tar.gz", "circle"),
    *("brain.tar.gz/../../outside.tar.gz", "%2e%2e/outside.tar.gz", "brain.tar.gz\x00", "~/x", "a" * 5000),
    *("file:///etc/passwd", "s3://bucket/model.tar.gz", "https://example.org/model.tar.gz", "//etc/passwd"),
]


@pytest.mark.parametrize("url", OUTSIDE, ids=range(len(OUTSIDE)))
def test_nothing_outside_the_folder_is_read(client, url, assert_problem):
    assert_problem(_load(client, url=url), 404, "unknown_bundle")
    assert client.get("/models").json() == {"models": []}


def test_a_path_outside_is_refused_with_the_words_for_one_that_is_not_there(client, tmp_path):
    said = {_load(client, url=url).text for url in ("missing", str(tmp_path / "outside.tar.gz"), "/etc/shadow", "..")}
    assert len(said) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"{", b'{"model_name": "a"}', b'{"model_name": 1, "url": "x"}',
     b'{"model_name": "a", "url": "brain.tar.gz", "more": 1}', b'{"model_name": "a", "model_name": "b", "url": "x"}',
     b'{"model_name": "a", "url": "\xff"}', b'{"model_name": "a", "url": "' + b"x" * 10_000 + b'"}'],
    ids=range(10),
)  # fmt: skip
def test_a_request_to_load_that_is_not_sound_is_400(client, body, assert_problem):
    assert_problem(client.post("/models", body, JSON), 400, "bad_json")


def test_nothing_is_loaded_or_unloaded_unless_an_operator_named_a_folder(served, make_client, assert_problem):
    client = make_client(create_app(Service.of(*served)))
    assert_problem(_load(client), 403, "no_repository")
    assert_problem(client.request("DELETE", "/models/tiny"), 403, "no_repository")
    assert client.get("/models").json() == {"models": [{"modelName": "tiny", "modelUrl": ""}]}


def test_many_models_are_listed_a_page_at_a_time(served, make_client):
    from medloom.serving import Model

    names = [f"m{index:03}" for index in range(250)]
    client = make_client(create_app(Service(Models(Model(name, *served) for name in reversed(names)))))
    found, token = [], ""
    while token is not None:
        page = client.get(f"/models?next_page_token={token}").json()
        assert len(page["models"]) <= 100
        found += [one["modelName"] for one in page["models"]]
        token = page.get("nextPageToken")
    assert found == names


def test_a_header_names_the_model_of_an_invocation(served, make_client, assert_problem):
    from medloom.serving import Model

    client = make_client(create_app(Service(Models([Model("a", *served), Model("b", *served)]))))

    def ask(target):
        headers = {"Content-Type": "image/png", **({"X-Amzn-SageMaker-Target-Model": target} if target else {})}
        return client.post("/invocations", PNG, headers)

    for target in ("a", "b.tar.gz", "/b.tar.gz"):
        assert ask(target).headers["x-medloom-model"] == target.strip("/")[0]
    for target in ("c", "../a", None):
        assert_problem(ask(target), 404, "unknown_model")


def test_custom_attributes_come_back_where_a_header_can_hold_them(served, make_client):
    client = make_client(create_app(Service.of(*served)))

    def ask(attributes, body=PNG):
        headers = {"Content-Type": "image/png", "X-Amzn-SageMaker-Custom-Attributes": attributes}
        return client.post("/invocations", body, headers).headers.get("x-amzn-sagemaker-custom-attributes")

    assert ask("trace=1, a b") == "trace=1, a b"
    assert ask("x" * 1024, b"no image") == "x" * 1024
    for attributes in ("", "x" * 1025, b"\xe9", b"a\tb"):
        assert ask(attributes) is None
