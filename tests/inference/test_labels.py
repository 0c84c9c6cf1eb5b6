"""Labels of whole images: scores against direct computations, decisions by their thresholds, metadata as encoded."""

import io
from dataclasses import replace

import numpy as np
import pytest

from medloom.data.metadata import TableEncoding
from medloom.errors import DecodeError, InputError, MedloomError
from medloom.imaging import Image
from medloom.inference import LabelPoint

NAMES = ("a", "b", "c")


class Fixed:
    """Answers the same scores for every image."""

    name = "fixed"

    def __init__(self, *scores):
        self.scores = np.array(scores, np.float32)

    def run(self, batch_nchw, table_nf=None):
        return np.tile(self.scores, (len(batch_nchw), 1))


def _pixels(height=16, width=16, seed=0):
    return np.random.default_rng(seed).random((height, width, 1)).astype(np.float32)


@pytest.fixture
def table():
    rows = [{"age": "40", "sex": "female"}, {"age": "60", "sex": "male"}]
    return TableEncoding.fit(rows, numeric=("age",), categorical=("sex",))


def test_two_classes_have_both_probabilities_which_add_up_to_1(make_labels, linear_runtime):
    pixels = _pixels()
    found = make_labels().predict(pixels)
    (expected,) = linear_runtime().run(pixels.transpose(2, 0, 1)[None])[0]
    assert found.names == ("benign", "malignant")
    assert found.scores == pytest.approx((1 - expected, expected))
    assert sum(found.scores) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("score", "thresholds", "decision"),
    [
        (0.5, None, "malignant"),
        (0.4999, None, "benign"),
        (0.3, (0.25,), "malignant"),
        (0.25, (0.25,), "malignant"),
        (0.9, (0.95,), "benign"),
        (0.0, (0.0,), "malignant"),
    ],
)
def test_the_second_of_two_classes_is_decided_from_the_threshold_on(make_labels, score, thresholds, decision):
    assert make_labels(Fixed(score), thresholds=thresholds).predict(_pixels()).decision == (decision,)


def test_of_several_classes_the_likeliest_is_taken(make_labels):
    found = make_labels(Fixed(0.2, 0.5, 0.3), names=NAMES, kind="multi-class").predict(_pixels())
    assert (found.names, found.decision, found.point) == (NAMES, ("b",), LabelPoint())
    assert found.scores == pytest.approx((0.2, 0.5, 0.3))


def test_each_of_several_labels_has_a_threshold_of_its_own(make_labels):
    predictor = make_labels(Fixed(0.2, 0.6, 0.6), names=NAMES, kind="multi-label")
    assert predictor.predict(_pixels()).decision == ("b", "c")
    assert predictor.at(LabelPoint((0.1, 0.7, 0.6))).predict(_pixels()).decision == ("a", "c")
    assert predictor.at(LabelPoint((0.9, 0.9, 0.9))).predict(_pixels()).decision == ()


def test_numbers_are_given_as_they_are_and_decide_nothing(make_labels):
    found = make_labels(Fixed(-3.5, 120.0), kind="regression", names=("grade", "age")).predict(_pixels())
    assert (found.names, found.scores, found.decision) == (("grade", "age"), (-3.5, 120.0), ())


def test_other_thresholds_leave_the_first_predictor_alone(make_labels):
    predictor = make_labels(Fixed(0.6), thresholds=(0.5,))
    assert predictor.at(LabelPoint((0.7,))).predict(_pixels()).decision == ("benign",)
    assert predictor.predict(_pixels()).decision == ("malignant",)


def _views(plane, count):
    """Views by padding with the edge and cutting: 2 pixels (a tenth of half of 40) to each side in turn."""
    padded = np.pad(plane, 4, mode="edge")
    offsets = [(0, 0), (2, 0), (-2, 0), (0, 2), (0, -2), (4, 0)]
    moved = [padded[4 + down : 44 + down, 4 + right : 44 + right] for down, right in offsets]
    return [view for one in moved for view in (one, one[:, ::-1])][:count]


@pytest.mark.parametrize("views", [1, 2, 3, 6, 9, 12])
def test_the_mirrored_and_moved_views_are_averaged(make_labels, linear_runtime, views):
    pixels = _pixels(40, 40)
    runtime = linear_runtime()
    found = make_labels(runtime, size=(40, 40), views=views).predict(pixels)
    seen = _views(pixels[..., 0], views)
    assert len(runtime.calls) == len(seen)
    for (batch, _), view in zip(runtime.calls, seen, strict=True):
        np.testing.assert_array_equal(batch[0, 0], view)
    expected = np.mean([linear_runtime().run(view[None, None])[0, 0] for view in seen])
    assert found.scores[1] == pytest.approx(expected, abs=1e-6)


def test_with_two_views_an_image_and_its_mirror_image_have_the_same_scores(make_labels):
    pixels = _pixels(16, 16)
    once, twice = make_labels(views=1), make_labels(views=2)
    assert twice.predict(pixels).scores == pytest.approx(twice.predict(pixels[:, ::-1]).scores, abs=1e-6)
    assert once.predict(pixels).scores != pytest.approx(once.predict(pixels[:, ::-1]).scores, abs=1e-3)


def test_bytes_image_and_array_give_the_same(make_labels):
    pixels = _pixels()
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    predictor = make_labels()
    answers = [predictor.predict(one) for one in (buffer.getvalue(), Image(pixels, "npy"), pixels, pixels[..., 0])]
    assert len(set(answers)) == 1


def test_a_batch_gives_what_single_images_give_in_one_call_for_each_view(make_labels, linear_runtime, table):
    images = [_pixels(20, 30, 1), _pixels(16, 16, 2), _pixels(40, 10, 3)]
    rows = [{"age": 50}, {}, {"age": "61", "sex": "male"}]
    runtime = linear_runtime()
    predictor = make_labels(runtime, views=3, tables=(table,))
    batch = predictor.predict_batch(images, rows)
    assert [len(call) for call, _ in runtime.calls] == [3, 3, 3]
    for image, row, found in zip(images, rows, batch, strict=True):
        assert found.scores == pytest.approx(predictor.predict(image, metadata=row).scores, abs=1e-6)
        assert found.decision == predictor.predict(image, metadata=row).decision
    assert make_labels().predict_batch([]) == []


def test_metadata_reach_the_network_as_they_were_encoded(make_labels, linear_runtime, table):
    runtime = linear_runtime()
    predictor = make_labels(runtime, tables=(table,))
    assert predictor.metadata_columns == ("age", "sex")
    for row, expected in [
        ({"age": 60, "sex": "male"}, [1, 0, 0, 1, 0, 0]),
        ({"age": "40", "sex": "female"}, [-1, 0, 1, 0, 0, 0]),
        ({"age": 50.0, "sex": "other"}, [0, 0, 0, 0, 0, 1]),
        ({"age": None, "sex": ""}, [0, 1, 0, 0, 1, 0]),
        ({}, [0, 1, 0, 0, 1, 0]),
        (None, [0, 1, 0, 0, 1, 0]),
    ]:
        predictor.predict(_pixels(), metadata=row)
        assert runtime.calls[-1][1].tolist() == [expected]


def test_metadata_move_the_answer_by_what_the_network_adds_for_them(make_labels, table):
    predictor = make_labels(tables=(table,))
    logit = {age: np.log(one / (1 - one)) for age in (45, 55) for one in [_score(predictor, age)]}
    assert logit[55] - logit[45] == pytest.approx(1.0, abs=1e-5)  # ten years are one standard deviation


def _score(predictor, age):
    return predictor.predict(_pixels(), metadata={"age": age, "sex": "male"}).scores[1]


def test_each_member_of_an_ensemble_gets_metadata_in_its_own_units(make_labels, linear_runtime, table):
    other = TableEncoding.fit([{"age": "0"}, {"age": "100"}], numeric=("age",), categorical=("sex",))
    runtime = linear_runtime()
    make_labels(runtime, tables=(table, other)).predict(_pixels(), metadata={"age": 60, "sex": "male"})
    np.testing.assert_allclose(runtime.calls[0][1], [[1, 0, 0, 1, 0, 0, 0.2, 0, 0, 1]], atol=1e-6)


def test_a_category_is_unknown_only_if_no_member_of_an_ensemble_saw_it(make_labels, linear_runtime, table):
    other = TableEncoding.fit([{"sex": "other"}], numeric=("age",), categorical=("sex",))
    predictor = make_labels(linear_runtime(), tables=(table, other))
    found = predictor.predict_batch([_pixels()] * 3, [{"age": 1, "sex": word} for word in ("male", "other", "third")])
    assert [one.gaps.unknown for one in found] == [(), (), ("sex",)]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"weight": 70}, "1 metadata column.* not known; this model takes age, sex"),
        ({"age": "sixty"}, "age: expected a number"),
        ({"age": [60]}, "a metadata value is list"),
        ({"sex": {"is": "male"}}, "a metadata value is dict"),
        ({"age": True}, "a metadata value is bool"),
        ({"age": float("nan")}, None),
        ({"age": float("inf")}, "age: expected a number"),
        ({"age": 10**400}, "age: expected a number"),
        ({"age": "1e999"}, "age: expected a number"),
    ],
)
def test_metadata_that_do_not_fit_are_refused_without_repeating_them(make_labels, table, metadata, reason):
    predictor = make_labels(tables=(table,))
    if reason is None:  # NaN is how programs write a blank
        assert predictor.predict(_pixels(), metadata=metadata) == predictor.predict(_pixels())
        return
    with pytest.raises(InputError, match=reason) as caught:
        predictor.predict(_pixels(), metadata=metadata)
    assert "sixty" not in str(caught.value)


def test_metadata_for_a_model_that_takes_none_are_refused(make_labels):
    with pytest.raises(InputError, match="takes no metadata"):
        make_labels().predict(_pixels(), metadata={"age": 60})
    make_labels().predict(_pixels(), metadata={})


def test_a_score_that_is_not_finite_stops(make_labels):
    with pytest.raises(MedloomError, match="not finite"):
        make_labels(Fixed(np.nan)).predict(_pixels())


def test_bytes_that_are_no_image_and_wrong_channels_are_refused(make_labels):
    with pytest.raises(DecodeError):
        make_labels().predict(b"no image")
    with pytest.raises(InputError, match="3 channels; this model takes 1: grey"):
        make_labels().predict(np.zeros((8, 8, 3), np.uint8))


def test_metadata_unlike_those_of_the_training_are_answered_with_warnings_and_refused_when_strict(make_labels, table):
    predictor = make_labels(tables=(table,))
    usual = predictor.predict(_pixels(), metadata={"age": 50, "sex": "Male"})
    assert (usual.warnings, "warnings" in usual.plain()) == ((), False)
    foreign = {"age": 5500, "sex": "m"}
    found = predictor.predict(_pixels(), metadata=foreign)
    expected = (
        "metadata age: outside what training saw (40 to 60)",
        "metadata sex: a category that training never saw",
    )
    assert found.warnings == expected
    assert found.plain()["warnings"] == list(expected)
    assert found.plain()["metadata"] == {"missing": [], "unknown": ["sex"], "outside": ["age"]}
    strict = replace(predictor, strict=True)
    assert strict.predict(_pixels(), metadata={"age": 50, "sex": "Male"}).scores == usual.scores
    with pytest.raises(InputError, match="unlike the training data: metadata age: outside"):
        strict.predict(_pixels(), metadata=foreign)
