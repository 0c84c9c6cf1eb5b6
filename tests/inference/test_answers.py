import io
import json

import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.errors import VerifyError
from medloom.inference import Difference, LabelPoint, MaskPoint, MaskPrediction, default_point, point_from_plain
from medloom.inference.answers import KINDS
from medloom.targets import Target


def _prediction(mask, names=("background", "lesion"), values=(), pixel_mm2=None):
    target = Target("masks", names, values)
    probabilities = np.zeros((target.outputs, *mask.shape), np.float32)
    return MaskPrediction(target, probabilities, mask, MaskPoint(0.4, 9), pixel_mm2)


def _shown(prediction):
    return np.asarray(PillowImage.open(io.BytesIO(prediction.encode("image/png"))))


VALUES = [(0, 255), (0, 1), (255, 0), (0, 2, 1), (0, 1, 2, 4), (0, 1000, 65535), (7, 300, 0)]


@pytest.mark.parametrize("values", VALUES)
def test_a_written_mask_holds_the_values_of_the_training_masks(values):
    names = tuple(f"class{index}" for index in range(len(values)))
    mask = np.random.default_rng(0).integers(0, len(values), (5, 7)).astype(np.uint8)
    found = _prediction(mask, names, values)
    expected = np.vectorize(values.__getitem__)(mask)
    np.testing.assert_array_equal(_shown(found), expected)
    np.testing.assert_array_equal(found.value_mask, expected)
    assert found.value_mask.dtype == (np.uint8 if max(values) < 256 else np.uint16)
    assert [one["value"] for one in found.plain()["masks"]] == list(values[1:])


def test_a_mask_of_a_bundle_without_values_is_black_and_white_or_holds_the_class_index():
    mask = np.array([[0, 1], [1, 0], [0, 0]], np.uint8)
    np.testing.assert_array_equal(_shown(_prediction(mask)), mask * 255)
    several = np.array([[0, 1, 2]], np.uint8)
    found = _prediction(several, ("background", "a", "b"))
    np.testing.assert_array_equal(_shown(found), several)
    assert "value" not in found.plain()["masks"][0]


def test_every_class_has_its_area_and_its_largest_probability():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet((1, 1, 1), (6, 8)).transpose(2, 0, 1).astype(np.float32)
    mask = rng.integers(0, 3, (6, 8)).astype(np.uint8)
    target = Target("masks", ("background", "core", "edema"), (0, 4, 2))
    found = MaskPrediction(target, probabilities, mask, MaskPoint(), 0.5)
    for index, name in ((1, "core"), (2, "edema")):
        figures = found.by_class[name]
        assert (figures.index, figures.value) == (index, target.values[index])
        assert figures.area_px == (mask == index).sum()
        assert figures.area_mm2 == 0.5 * (mask == index).sum()
        assert figures.probability == probabilities[index].max()
        said = found.plain()["masks"][index - 1]
        assert (said["class"], said["area_mm2"]) == (name, figures.area_mm2)
        assert said["probability"] == pytest.approx(figures.probability, abs=1e-6)
    assert found.area_px == sum(one.area_px for one in found.by_class.values())


def test_probabilities_are_read_back_by_numpy():
    prediction = _prediction(np.zeros((3, 4), np.uint8))
    np.testing.assert_array_equal(np.load(io.BytesIO(prediction.encode("application/x-npy"))), prediction.probabilities)


def test_json_has_a_mask_for_each_foreground_class_and_the_operating_point():
    mask = np.array([[0, 1, 2], [0, 0, 2]], np.uint8)
    found = json.loads(_prediction(mask, ("background", "core", "edema")).encode(note="x"))
    assert [(one["class"], one["index"], one["area_px"]) for one in found["masks"]] == [("core", 1, 1), ("edema", 2, 2)]
    assert found["masks"][1]["rle"] == {"size": [2, 3], "counts": [4, 2]}
    assert found["operating_point"] == {"threshold": 0.4, "min_region_px": 9}
    assert (found["area_px"], found["area_mm2"], found["foreground"], found["note"]) == (3, None, True, "x")


def test_a_form_that_there_is_not_is_an_error(make_labels):
    with pytest.raises(ValueError, match="image/gif"):
        _prediction(np.zeros((2, 2), np.uint8)).encode("image/gif")
    with pytest.raises(ValueError, match="image/png"):
        make_labels().predict(np.zeros((8, 8), np.uint8)).encode("image/png")


def test_every_form_that_a_predictor_names_can_be_made(make_predictor, make_labels):
    for predictor, channels in ((make_predictor(), 3), (make_labels(), 1)):
        prediction = predictor.predict(np.ones((8, 8, channels), np.uint8))
        assert predictor.forms[0] == "application/json"
        assert all(prediction.encode(form) for form in predictor.forms)


def test_labels_as_json_have_the_decision_of_their_kind(make_labels, linear_runtime):
    pixels = np.ones((16, 16), np.float32)
    two = json.loads(make_labels(thresholds=(0.25,)).predict(pixels).encode(model={"name": "x"}))
    assert list(two) == ["probabilities", "decision", "operating_point", "classes", "model"]
    assert (two["decision"], two["operating_point"]) == ("malignant", {"thresholds": [0.25]})
    several = make_labels(linear_runtime(2), kind="multi-label", names=("left", "right")).predict(pixels).plain()
    assert several["decision"] == ["left", "right"]
    numbers = make_labels(linear_runtime(1, sigmoid=False), kind="regression", names=("age",)).predict(pixels)
    assert numbers.plain() == {"values": {"age": round(numbers.scores[0], 6)}}


TARGETS = [
    Target("masks", ("background", "a")),
    Target("masks", ("background", "a", "b")),
    Target("binary", ("no", "yes")),
    Target("multi-class", ("a", "b", "c")),
    Target("multi-label", ("a", "b")),
    Target("regression", ("age",)),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.kind}-{len(target.names)}")
def test_an_operating_point_comes_back_from_json(target):
    point = default_point(target)
    assert point_from_plain(json.loads(json.dumps(point.plain())), target) == point


@pytest.mark.parametrize(
    ("target", "plain", "reason"),
    [
        (TARGETS[0], {"threshold": 1.5, "min_region_px": 0}, "between 0 and 1"),
        (TARGETS[0], {"threshold": float("nan"), "min_region_px": 0}, "between 0 and 1"),
        (TARGETS[0], {"threshold": "0.5", "min_region_px": 0}, "'0.5'"),
        (TARGETS[0], {"threshold": 0.5, "min_region_px": -1}, "negative"),
        (TARGETS[0], {"threshold": 0.5, "min_region_px": 2.5}, "whole number"),
        (TARGETS[0], {"threshold": 0.5}, "expected threshold, min_region_px"),
        (TARGETS[0], {"thresholds": [0.5]}, "expected thresholds, min_region_px"),
        (TARGETS[2], {"thresholds": []}, "0 thresholds for binary; expected 1"),
        (TARGETS[2], {"thresholds": 0.5}, "a list of numbers"),
        (TARGETS[3], {"thresholds": [0.5]}, "1 thresholds for multi-class; expected 0"),
        (TARGETS[4], {"thresholds": [0.5, 2.0]}, "between 0 and 1"),
        (TARGETS[4], {"thresholds": [0.5, True]}, "between 0 and 1"),
        (TARGETS[5], {"threshold": 0.5, "min_region_px": 0}, "expected thresholds"),
    ],
)
def test_an_operating_point_that_does_not_fit_is_refused(target, plain, reason):
    with pytest.raises(ValueError, match=reason):
        point_from_plain(plain, target)


def test_an_operating_point_of_another_kind_is_an_error_of_the_program(make_predictor):
    with pytest.raises(TypeError, match="a LabelPoint where a MaskPoint is needed"):
        make_predictor(point=LabelPoint((0.5,))).predict(np.zeros((8, 8, 3), np.uint8))


def _scored(predictor, add=0.0):
    """A prediction whose probabilities are off by so much."""
    prepared = predictor.prepare(np.full((16, 16), 0.4, np.float32))
    return predictor.finish(predictor.run(prepared.network_input[None])[0] + np.float32(add), prepared)


@pytest.mark.parametrize("make", ["make_predictor", "make_labels"])
def test_a_golden_example_lets_small_differences_through_and_no_others(make, request):
    options = {"size": (16, 16), "channels": ("grey",)}
    predictor = request.getfixturevalue(make)(**options)
    golden = _scored(predictor).golden()
    assert set(golden) == set(KINDS[predictor.target.kind].golden)
    assert _scored(predictor).difference(golden, 1e-3) == Difference(0.0, 0)
    assert 0 < _scored(predictor, 5e-4).difference(golden, 1e-3).probability < 1e-3
    with pytest.raises(VerifyError, match=r"off by 0\.05 in probability; at most 0\.001"):
        _scored(predictor, 0.05).difference(golden, 1e-3)
    with pytest.raises(VerifyError, match=r"has no probabilities\.npy"):
        _scored(predictor).difference({}, 1e-3)


def test_a_golden_example_of_another_shape_or_with_another_mask_is_refused(make_predictor):
    predictor = make_predictor(size=(16, 16), channels=("grey",))
    golden = _scored(predictor).golden()
    with pytest.raises(VerifyError, match="has shape"):
        predictor.predict(np.zeros((9, 9), np.float32)).difference(golden, 1e-3)
    with pytest.raises(VerifyError, match="differs in 256 of 256 pixels"):
        _scored(predictor.at(MaskPoint(0.0, 0))).difference(golden, 1e-3)
