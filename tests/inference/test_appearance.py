"""Images of another kind than those of the training are noticed, those of the same kind are not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.covariance import EmpiricalCovariance

from medloom.errors import InputError
from medloom.inference.appearance import FEATURES, FEWEST_IMAGES, Appearance, describe_image

SIZE = 96
YY, XX = np.mgrid[0:SIZE, 0:SIZE] / SIZE


def radiograph(rng, scale=1.0):
    """Bright middle between two dark lungs, grey."""
    lungs = sum(np.exp(-(((YY - 0.5) / 0.3) ** 2 + ((XX - at) / 0.14) ** 2)) for at in rng.normal((0.28, 0.72), 0.02))
    grey = 190 - 140 * lungs * rng.uniform(0.8, 1.0) + rng.normal(0, 6, (SIZE, SIZE))
    return (np.clip(grey, 0, 255) * scale)[..., None]


def brain(rng):
    """A bright round on black."""
    inside = ((YY - 0.5) / 0.36) ** 2 + ((XX - 0.5) / rng.uniform(0.25, 0.32)) ** 2 < 1
    return (inside * rng.normal(120, 15, (SIZE, SIZE))).clip(0, 255)[..., None]


def photograph(rng):
    """Reddish, with a dark mole."""
    mole = np.exp(-(((YY - 0.5) / 0.12) ** 2 + ((XX - 0.5) / 0.12) ** 2))[..., None]
    return (np.array([220, 160, 140]) - 90 * mole + rng.normal(0, 5, (SIZE, SIZE, 3))).clip(0, 255)


def described(make, count=120, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([describe_image(make(rng).astype(np.uint8)) for _ in range(count)])


KINDS = {"radiograph": radiograph, "brain": brain, "photograph": photograph}
PATIENTS = np.arange(120) // 2


@pytest.fixture(scope="module")
def learned():
    return {
        name: Appearance.fit(described(make), PATIENTS, described(make, 60, seed=1)) for name, make in KINDS.items()
    }


@pytest.mark.parametrize("trained", KINDS)
def test_few_images_of_the_same_kind_and_all_of_another_look_foreign(learned, trained):
    for name, make in KINDS.items():
        found = [learned[trained].distance(one) > 1 for one in described(make, 60, seed=2)]
        assert np.mean(found) <= 0.02 if name == trained else np.mean(found) == 1.0


@pytest.mark.parametrize("factor", [1 / 16, 16.0, -4.0])
def test_values_on_another_scale_are_noticed(learned, factor):
    rng = np.random.default_rng(7)
    usual = radiograph(rng)
    assert learned["radiograph"].warnings(usual) == ()
    said = learned["radiograph"].warnings(usual * factor)
    assert any("on another scale" in text for text in said)


def test_hounsfield_units_and_raw_values_are_told_apart():
    rng = np.random.default_rng(4)
    slices = [8 * radiograph(rng).astype(np.int16) - 1024 for _ in range(60)]
    learned = Appearance.fit(np.array([describe_image(one) for one in slices]), np.arange(60))
    assert learned.warnings(slices[0]) == ()
    assert any("on another scale" in text for text in learned.warnings((slices[0] + 1024).astype(np.uint16)))


def test_the_distance_is_mahalanobis_and_comes_through_a_bundle(learned):
    one = learned["radiograph"]
    again = Appearance.from_plain(json.loads(json.dumps(one.plain())))
    images = described(radiograph, 20, seed=5)
    theirs = EmpiricalCovariance(store_precision=True).fit(images[:, :27])
    theirs.location_, theirs.precision_ = one.centre, one.precision
    expected = np.sqrt(theirs.mahalanobis(images[:, :27])) / one.limit
    assert [one.distance(image) for image in images] == pytest.approx(expected)
    assert [again.distance(image) for image in images] == pytest.approx(expected, rel=1e-6)


def test_nothing_is_learned_from_too_few_images_or_patients():
    images = described(radiograph, FEWEST_IMAGES)
    assert Appearance.fit(images[:-1], np.arange(len(images) - 1)) is None
    assert Appearance.fit(images, np.zeros(len(images))) is None
    assert Appearance.fit(images, np.arange(len(images))) is not None


@settings(max_examples=25, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
        st.tuples(st.integers(1, 300), st.integers(1, 9), st.sampled_from([1, 2, 3, 4])),
        elements={"allow_nan": False, "allow_infinity": False, "min_value": 0, "max_value": 200},
    )
)
def test_every_image_has_a_finite_description(pixels):
    found = describe_image(pixels)
    assert found.shape == (FEATURES,)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "change",
    [
        {"centre": [0.0]},
        {"limit": 0},
        {"precision": ["x"]},
        {"values": [[0, 1]]},
        {"limit": None},
        {"values": [[0, float("nan")], [0, 1]]},
    ],
)
def test_a_damaged_description_is_refused(learned, change):
    with pytest.raises(ValueError, match=r"expected|could not"):
        Appearance.from_plain({**learned["brain"].plain(), **change})


def test_a_foreign_image_is_answered_with_a_warning_and_refused_when_strict(make_labels, learned):
    predictor = replace(make_labels(), appearance=learned["radiograph"])
    rng = np.random.default_rng(6)
    assert predictor.predict(radiograph(rng)).warnings == ()
    found = predictor.predict(brain(rng))
    assert found.plain()["warnings"] == ["the image looks unlike those of the training"]
    with pytest.raises(InputError, match="the image looks unlike those of the training"):
        replace(predictor, strict=True).predict(brain(rng))
