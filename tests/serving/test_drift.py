import numpy as np
import pytest

from medloom.imaging import encode_png
from medloom.packaging import read_bundle
from medloom.serving import Limits, Models, Service, create_app
from medloom.serving.drift import HEADER, DriftWatch, Window
from medloom.serving.http.metrics import Metrics
from medloom.serving.models import Model
from support.fingerprints import picture, png, write_known_bundle

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_known_bundle(tmp_path_factory.mktemp("known") / "model.tar.gz")
    with read_bundle(path) as bundle:
        return Model("known", bundle.predictor(threads=1), bundle.manifest)


@pytest.fixture
def watched(model, make_client):
    """A client of a server that watches, and its metrics."""
    models, metrics = Models([model]), Metrics()
    watch = DriftWatch(models.fingerprint)
    metrics.before(watch.show(metrics.gauge))
    with Service(models, Limits(), observers=(watch,)) as service:
        yield make_client(create_app(service, routes=[metrics.route()]))


def test_each_answer_says_in_a_header_and_in_its_body_how_far_its_image_is(watched, model):
    usual = watched.post("/invocations", png(900), PNG)
    alone = model.predictor.predict(picture(900)).novelty
    assert usual.headers[HEADER] == f"false; score={alone.score:.3f}"
    assert usual.json()["out_of_distribution"] == alone.plain()
    strange = watched.post("/invocations", encode_png(255 - picture(900)[..., 0]), PNG)
    assert strange.headers[HEADER].startswith("true; score=")
    assert any("unlike those of the training in" in text for text in strange.json()["warnings"])


def test_the_last_images_are_compared_in_the_description_and_for_prometheus(watched):
    assert watched.get("/").json()["drift"]["images"] == 0
    for seed in range(900, 925):
        watched.post("/invocations", png(seed), PNG)
    usual = watched.get("/").json()
    assert usual["fingerprint"] == {"images": 120, "held_out": 99, "false_alarms": 0.01, "embedding": True}
    assert (usual["drift"]["images"], usual["drift"]["out_of_distribution"]) == (25, pytest.approx(0.0, abs=0.05))
    for seed in range(900, 925):
        watched.post("/invocations", encode_png(255 - picture(seed)[..., 0]), PNG)
    strange = watched.get("/").json()["drift"]
    assert strange["out_of_distribution"] == pytest.approx(0.5, abs=0.03)
    assert strange["embedding_distance"] > usual["drift"]["embedding_distance"]
    assert strange["stability"]["median grey level"] > usual["drift"]["stability"]["median grey level"]
    text = watched.get("/metrics").text
    assert 'medloom_drift_window_images{model="known"} 50.0' in text
    assert 'medloom_drift_stability_index{measure="median grey level",model="known"}' in text
    assert 'medloom_drift_embedding_distance{model="known"}' in text


def test_only_the_last_images_are_kept_and_nothing_of_their_pixels(model):
    window = Window(model.predictor.fingerprint, size=30)
    for seed in range(40):
        window.add(model.predictor.predict(picture(seed)).novelty)
    plain = window.plain()
    assert (plain["images"], plain["seen"]) == (30, 40)
    kept = [np.asarray(part).size for row in window._kept for part in row]
    assert max(kept) <= 41


def test_a_model_that_is_exchanged_begins_anew_and_one_without_a_fingerprint_is_not_watched(model):
    other = Window(model.predictor.fingerprint).fingerprint
    fingerprints = {"known": other}
    watch = DriftWatch(fingerprints.get)
    watch.window("known").add(model.predictor.predict(picture(1)).novelty)
    assert watch.plain("known")["images"] == 1
    fingerprints["known"] = other.without_embedding()
    assert watch.plain("known")["images"] == 0
    assert watch.plain("absent") is None


def test_a_server_without_a_fingerprint_answers_as_before(served, make_client, bundle_path):
    predictor, manifest = served
    models = Models([Model(manifest.name, predictor, manifest)])
    with Service(models, observers=(DriftWatch(models.fingerprint),)) as service:
        client = make_client(create_app(service))
        image = encode_png(np.zeros((32, 32, 3), np.uint8))
        answer = client.post("/invocations", image, PNG)
        assert answer.status_code == 200
        assert HEADER not in answer.headers
        described = client.get("/").json()
        assert (described["fingerprint"], described["drift"]) == (None, None)
