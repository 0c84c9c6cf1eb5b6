import threading
from dataclasses import replace

import numpy as np
import pytest

from medloom.errors import InputError
from medloom.imaging import encode_png
from medloom.imaging.nifti import read_nifti_volume, write_nifti
from medloom.inference.appearance import Appearance, describe_image
from medloom.inference.measures import MEASURES
from medloom.packaging import read_bundle
from medloom.serving import Limits, Models, Service, create_app
from medloom.serving.drift import HEADER, DriftWatch, Window
from medloom.serving.http.metrics import Metrics
from medloom.serving.models import Model
from medloom.serving.recent import Recent
from medloom.serving.service import Seen
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
    assert window.rows().shape == (30, 1 + MEASURES + len(window.fingerprint.embedding.spread))


def test_of_a_volume_some_slices_of_all_heights_are_kept(watched, model):
    slices = [picture(seed)[..., 0] for seed in range(900, 921)]
    volume = write_nifti(np.stack(slices), np.eye(4))
    answer = watched.post("/invocations", volume, {"Content-Type": "application/x-nifti"}).json()
    found = model.predictor.predict(read_nifti_volume(volume))
    assert watched.get("/").json()["drift"]["images"] == 8
    assert answer["out_of_distribution"]["score"] == pytest.approx(max(one.score for one in found.novelties), abs=1e-3)
    watch = DriftWatch({"known": model.predictor.fingerprint}.get)
    watch.seen(Seen("known", "ok", {}, 0, "", 0, None, found, ""))
    kept = [found.novelties[at].measured for at in (1, 3, 6, 9, 11, 14, 17, 19)]
    np.testing.assert_array_equal(watch.window("known").rows()[:, 1 : 1 + MEASURES], np.stack(kept).astype(np.float32))


def test_a_volume_of_few_slices_is_kept_whole(model):
    watch = DriftWatch({"known": model.predictor.fingerprint}.get)
    found = model.predictor.predict(read_nifti_volume(write_nifti(np.stack([picture(1)[..., 0]] * 3), np.eye(4))))
    watch.seen(Seen("known", "ok", {}, 0, "", 0, None, found, ""))
    assert watch.plain("known")["images"] == 3


def test_a_strict_model_refuses_an_image_that_is_set_apart_and_a_volume_that_mostly_is(model):
    strict = replace(model.predictor, strict=True)
    usual, strange = picture(900), 255 - picture(900)
    assert not strict.predict(usual).novelty.flagged
    with pytest.raises(InputError, match="unlike those of the training in"):
        strict.predict(strange)
    first, refused, last = strict.predict_batch([usual, strange, picture(901)])
    assert isinstance(refused, InputError)
    np.testing.assert_array_equal(first.mask, model.predictor.predict(usual).mask)
    assert not last.novelty.flagged

    def volume(strange_slices):
        slices = [(strange if number < strange_slices else usual)[..., 0] for number in range(6)]
        return read_nifti_volume(write_nifti(np.stack(slices), np.eye(4)))

    assert sum(one.flagged for one in strict.predict(volume(3)).novelties) == 3
    with pytest.raises(InputError, match="4 of 6 slices, most of them because"):
        strict.predict(volume(4))


def test_a_strict_model_does_not_refuse_a_volume_for_one_slice_that_looks_unlike_the_training(model):
    rng = np.random.default_rng(0)
    looks = np.stack([describe_image(picture(seed)) for seed in range(60)])
    appearance = Appearance.fit(looks, np.arange(60))
    strict = replace(model.predictor, strict=True, appearance=appearance)
    noise = rng.integers(0, 255, (32, 32, 1)).astype(np.uint8)
    with pytest.raises(InputError, match="the image looks unlike"):
        strict.predict(noise)

    def volume(noisy):
        slices = [(noise if number < noisy else picture(900 + number))[..., 0] for number in range(5)]
        return read_nifti_volume(write_nifti(np.stack(slices), np.eye(4)))

    assert strict.predict(volume(2)).mask.shape == (5, 32, 32)
    with pytest.raises(InputError, match="3 of 5 slices, most of them because the image looks unlike those"):
        strict.predict(volume(3))


def test_a_strict_server_refuses_what_another_one_flags(model, make_client):
    strict = Model("known", replace(model.predictor, strict=True), model.manifest)
    with Service(Models([strict])) as service:
        client = make_client(create_app(service))
        assert client.post("/invocations", png(900), PNG).status_code == 200
        refused = client.post("/invocations", encode_png(255 - picture(900)[..., 0]), PNG)
        assert refused.status_code == 422
        assert "unlike the training data" in refused.json()["message"]


def test_an_image_that_is_brightened_until_its_brightest_parts_are_lost_is_set_apart(model):
    predictor = model.predictor
    images = [picture(seed) for seed in range(900, 930)]
    bright = [np.clip(image * 1.6, 0, 255).astype(np.uint8) for image in images]
    lost = [image for image in bright if (image == 255).mean() > 0.01]
    assert len(lost) > 5
    usual, found = ([predictor.predict(one).novelty for one in several] for several in (images, lost))
    assert sum(one.flagged for one in usual) <= 1
    assert all(one.flagged for one in found)


def test_a_model_that_is_exchanged_begins_anew_and_one_without_a_fingerprint_is_not_watched(model):
    other = Window(model.predictor.fingerprint).fingerprint
    fingerprints = {"known": other}
    watch = DriftWatch(fingerprints.get)
    watch.window("known").add(model.predictor.predict(picture(1)).novelty)
    assert watch.plain("known")["images"] == 1
    fingerprints["known"] = other.without_embedding()
    assert watch.plain("known")["images"] == 0
    assert watch.plain("absent") is None


def test_several_processes_keep_one_window_and_each_says_the_same(model, tmp_path):
    find, alone = {"known": model.predictor.fingerprint}.get, Window(model.predictor.fingerprint, size=30)
    watches = [DriftWatch(find, size=30, folder=tmp_path) for _ in range(2)]
    for seed in range(40):
        novelty = model.predictor.predict(picture(seed)).novelty
        alone.add(novelty)
        watches[seed % 2].window("known").add(novelty)
    assert watches[0].plain("known") == watches[1].plain("known") == alone.plain()
    assert DriftWatch(find, size=30, folder=tmp_path).plain("known") == alone.plain()
    other = model.predictor.fingerprint.without_embedding()
    assert DriftWatch({"known": other}.get, size=30, folder=tmp_path).plain("known")["seen"] == 0
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_rows_of_several_threads_and_handles_are_all_there_once(tmp_path):
    handles = [Recent(1000, 3, tmp_path / "rows") for _ in range(2)]

    def add(begin):
        for number in range(begin, 1000, 4):
            handles[begin % 2].add(np.full(3, number, np.float32))

    threads = [threading.Thread(target=add, args=(begin,)) for begin in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    rows, seen = handles[0].read()
    assert seen == 1000
    assert sorted(rows[:, 0].tolist()) == list(range(1000))
    assert (rows == rows[:, :1]).all()
    handles[0].close()
    handles[0].add(np.zeros(3, np.float32))
    assert handles[0].read()[1] == 0
    assert handles[1].read()[1] == 1000
    handles[1].close()


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
