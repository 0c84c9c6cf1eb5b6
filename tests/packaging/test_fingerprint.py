import json
from dataclasses import replace

import numpy as np
import pytest

import medloom
from medloom.errors import BundleError, VerifyError
from medloom.files import sha256_bytes
from medloom.imaging import Volume
from medloom.inference.runtimes import run_with_features
from medloom.packaging import read_bundle, verify
from medloom.packaging.archive import pack
from medloom.registry import RUNTIMES
from support.fingerprints import picture, pictures, write_known_bundle


@pytest.fixture(scope="module", params=["masks", "binary"])
def bundle(request, tmp_path_factory):
    return write_known_bundle(tmp_path_factory.mktemp(request.param) / "model.tar.gz", request.param)


def rewritten(bundle, path, change):
    """Write the bundle with changed files and right checksums, as an attacker would."""
    with read_bundle(bundle) as opened:
        files = {name: (opened.folder / name).read_bytes() for name in opened.manifest.files}
        change(files)
        manifest = opened.manifest.model_copy(
            update={"files": {name: sha256_bytes(one) for name, one in files.items()}}
        )
    data = manifest.model_dump_json().encode()
    checksum = f"{sha256_bytes(data)}  bundle.json\n".encode()
    pack(path, {**files, "bundle.json": data, "bundle.json.sha256": checksum})
    return path


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_every_runtime_embeds_an_image_alike(bundle, name):
    expected = medloom.load(bundle, runtime="torch").predict(picture(500)).novelty
    found = medloom.load(bundle, runtime=name, threads=1).predict(picture(500)).novelty
    assert len(found.embedded) >= 8
    np.testing.assert_allclose(found.embedded, expected.embedded, rtol=0.02, atol=0.02)
    assert found.score == pytest.approx(expected.score, rel=0.01)


def test_the_fingerprint_changes_no_answer(bundle):
    predictor = medloom.load(bundle)
    bare = replace(predictor, fingerprint=None)
    for one in pictures([500, 501]):
        np.testing.assert_array_equal(predictor.predict(one).probabilities, bare.predict(one).probabilities)
    assert bare.predict(picture(500)).novelty is None


def test_usual_images_pass_and_strange_ones_are_set_apart_with_a_warning(bundle):
    predictor = medloom.load(bundle)
    usual = predictor.predict_batch(pictures(range(1000, 1100)), on_error="raise")
    assert np.mean([one.novelty.flagged for one in usual]) <= 0.05
    inverted, bright, noise = (
        predictor.predict(one)
        for one in (
            255 - picture(1),
            np.clip(picture(1) * 2.0, 0, 255).astype(np.uint8),
            np.random.default_rng(0).integers(0, 255, (32, 32, 1)).astype(np.uint8),
        )
    )
    for found in (inverted, bright, noise):
        assert found.novelty.flagged
        assert any("unlike those of the training in" in text for text in found.warnings)
        assert found.plain()["out_of_distribution"] == {
            "score": pytest.approx(found.novelty.score, rel=1e-3),
            "flagged": True,
        }


def test_of_a_volume_each_slice_is_looked_at(bundle):
    planes = [picture(1), 255 - picture(2), picture(3)]
    volume = Volume(np.stack(planes)[..., 0], (1.0, 1.0, 1.0), np.eye(4), "nifti")
    predictor = medloom.load(bundle)
    found = predictor.predict(volume)
    assert [one.flagged for one in found.novelties] == [False, True, False]
    alone = [predictor.predict(one).novelty.score for one in planes]
    assert [one.score for one in found.novelties] == pytest.approx(alone, rel=1e-3)


def test_an_image_has_the_same_score_alone_and_in_a_batch(bundle):
    predictor = medloom.load(bundle)
    alone = predictor.predict(picture(700)).novelty.score
    together = predictor.predict_batch(pictures([3, 700, 4]), on_error="raise")[1].novelty.score
    assert together == pytest.approx(alone, rel=1e-4)


def test_the_fingerprint_is_small_and_holds_no_picture_and_no_patient(bundle):
    with read_bundle(bundle) as opened:
        data = (opened.folder / "fingerprint.json").read_bytes()
        assert len(data) < 200_000
        plain = json.loads(data)
        assert not set(plain) & {"pixels", "images_of", "names", "sample_ids", "paths"}
        assert len(plain["embedding"]["sample"]) <= 200
        assert all(round(value, 2) == value for row in plain["embedding"]["sample"] for value in row)


def test_verify_replays_where_the_golden_image_lies(bundle, tmp_path):
    verify(bundle)

    def moved(files):
        plain = json.loads(files["golden/novelty.json"])
        plain["embedded"][0] += 0.5
        files["golden/novelty.json"] = json.dumps(plain).encode()

    with pytest.raises(VerifyError, match="lies elsewhere"):
        verify(rewritten(bundle, tmp_path / "moved.tar.gz", moved))


def test_a_bundle_of_another_network_keeps_what_is_true_of_its_images(tmp_path):
    predictor = medloom.load(write_known_bundle(tmp_path / "model.tar.gz", network_seed=1))
    assert predictor.fingerprint.embedding is None
    assert len(predictor.predict(picture(500)).novelty.embedded) == 0
    assert predictor.predict(255 - picture(1)).novelty.flagged


def test_a_bundle_without_a_fingerprint_serves_as_before(bundle, tmp_path):
    def older(files):
        del files["fingerprint.json"], files["golden/novelty.json"]

    path = rewritten(bundle, tmp_path / "older.tar.gz", older)
    verify(path)
    found = medloom.load(path).predict(picture(500))
    assert found.novelty is None
    assert "out_of_distribution" not in found.plain()


DAMAGES = {
    "no JSON": lambda plain: b"{",
    "another format": lambda plain: json.dumps({**plain, "format": 99}).encode(),
    "no threshold": lambda plain: json.dumps({**plain, "threshold": 0}).encode(),
    "infinite": lambda plain: json.dumps({**plain, "threshold": float("inf")}).encode(),
    "other measures": lambda plain: json.dumps({**plain, "references": plain["references"][1:]}).encode(),
    "short rows": lambda plain: json.dumps(
        {**plain, "embedding": {**plain["embedding"], "axes": plain["embedding"]["axes"][1:]}}
    ).encode(),
    "a list": lambda plain: b"[]",
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_fingerprint_is_refused(bundle, tmp_path, damage):
    def change(files):
        files["fingerprint.json"] = DAMAGES[damage](json.loads(files["fingerprint.json"]))

    with pytest.raises(BundleError, match=r"fingerprint\.json is wrong"):
        medloom.load(rewritten(bundle, tmp_path / "damaged.tar.gz", change))


def test_a_graph_that_does_not_say_its_features_has_none():
    class Plain:
        name = "plain"

        def run(self, batch_nchw, table_nf=None):
            return batch_nchw

    assert run_with_features(Plain(), np.zeros((1, 1, 2, 2), np.float32))[1] is None
