"""Uncertainty of each pixel: of the views, of the members, in the image's own geometry."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from medloom.errors import UserError
from medloom.inference import Predictor
from medloom.inference.calibration import Calibration
from medloom.inference.uncertainty import uncertainty_map

MEASURES = ("entropy", "mutual-information", "variance")


class Members:
    """Networks that answer with the channels of the image, each with its own."""

    name = "members"

    def members(self, batch_nchw, table_nf=None):
        return np.clip(batch_nchw, 0, 1).transpose(1, 0, 2, 3)[:, :, None].astype(np.float32)

    def run(self, batch_nchw, table_nf=None):
        return self.members(batch_nchw).mean(axis=0)


class Sided:
    """A network that finds only what lies on the left of what it sees."""

    name = "sided"

    def run(self, batch_nchw, table_nf=None):
        found = np.clip(batch_nchw[:, -1:], 0, 1).astype(np.float32)
        found[..., found.shape[-1] // 2 :] = 0.0
        return found


def maps(predictor: Predictor, image):
    prepared = predictor.prepare(image)
    return {measure: uncertainty_map(predictor, prepared, measure) for measure in MEASURES}


def test_the_members_of_an_ensemble_are_the_answers(make_predictor):
    image = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    found = maps(make_predictor(Members()), image)
    binary = np.stack([image, 1 - image]).astype(float)
    total = stats.entropy(binary.mean(axis=3), base=2)
    np.testing.assert_allclose(found["entropy"], total, atol=1e-5)
    own = stats.entropy(binary, base=2).mean(axis=2)
    np.testing.assert_allclose(found["mutual-information"], total - own, atol=1e-5)
    np.testing.assert_allclose(found["variance"], 4 * image.var(axis=2), atol=1e-5)


def test_members_that_agree_are_uncertain_of_what_they_all_doubt(make_predictor):
    image = np.full((32, 32, 3), 0.5, np.float32)
    found = maps(make_predictor(Members()), image)
    assert found["entropy"].min() == pytest.approx(1.0)
    assert found["mutual-information"].max() == pytest.approx(0.0, abs=1e-6)
    assert found["variance"].max() == pytest.approx(0.0, abs=1e-6)


def test_a_network_that_looks_once_is_asked_about_the_mirror_image_too(make_predictor):
    image = np.zeros((32, 32, 3), np.float32)
    image[10:14, 4:9, 2] = 1.0
    predictor = make_predictor(Sided())
    found = maps(predictor, image)
    there = np.zeros((32, 32), bool)
    there[10:14, 4:9] = True
    for measure in MEASURES:
        assert found[measure][there].min() == pytest.approx(1.0), measure
        assert found[measure][~there].max() == 0.0, measure
    assert predictor.predict(image).mask[there].all()  # the answer is that of the model's own single view


def test_it_lies_where_the_image_lies(make_predictor):
    image = np.zeros((50, 80, 3), np.float32)
    image[10:20, 5:25, 2] = 1.0
    predictor = make_predictor(Sided(), preprocess={"fit": "pad"})
    found = maps(predictor, image)["entropy"]
    assert found.shape == (50, 80)
    assert found[12:18, 8:22].min() > 0.9
    assert found[30:].max() == 0.0


def test_pixels_that_a_view_does_not_show_are_those_of_the_others(make_predictor):
    image = np.full((32, 32, 3), 0.5, np.float32)
    found = maps(replace(make_predictor(), views=6), image)
    np.testing.assert_allclose(found["entropy"], 1.0, atol=1e-6)
    np.testing.assert_allclose(found["variance"], 0.0, atol=1e-6)


def test_the_calibration_corrects_every_answer(make_predictor):
    image = np.full((32, 32, 3), 0.9, np.float32)
    plain = maps(make_predictor(), image)["entropy"]
    softened = maps(make_predictor(calibration=Calibration("temperature", (0.2,), (0.0,))), image)["entropy"]
    assert softened.mean() > plain.mean() + 0.2


def test_several_classes_are_as_uncertain_as_equally_likely_ones(make_predictor):
    class Even:
        name = "even"

        def run(self, batch_nchw, table_nf=None):
            return np.full((len(batch_nchw), 3, 32, 32), 1 / 3, np.float32)

    found = maps(make_predictor(Even(), names=("background", "a", "b")), np.zeros((32, 32, 3), np.float32))
    np.testing.assert_allclose(found["entropy"], 1.0, atol=1e-5)


def test_a_wrong_measure_names_the_right_ones(make_predictor):
    predictor = make_predictor()
    with pytest.raises(UserError, match="did you mean 'entropy'"):
        uncertainty_map(predictor, predictor.prepare(np.zeros((32, 32, 3), np.float32)), "entropie")
