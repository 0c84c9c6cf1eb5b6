import io
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PillowImage

from medloom.inference import OperatingPoint, Prediction
from medloom.inference.encoding import mask_png, overlay, probabilities_npy, run_lengths, to_json


def _prediction(mask, classes=2):
    outputs = 1 if classes == 2 else classes
    probabilities = np.zeros((outputs, *mask.shape), np.float32)
    area = int((mask > 0).sum())
    return Prediction(probabilities, mask, 0.75, area, None, OperatingPoint(0.4, 9))


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_lead_back_to_the_mask(mask):
    counts = run_lengths(mask)
    values = np.arange(len(counts)) % 2 == 1
    np.testing.assert_array_equal(np.repeat(values, counts).reshape(mask.shape, order="F"), mask)
    assert all(count > 0 for count in counts[1:])


def test_a_binary_mask_is_black_and_white_for_any_viewer():
    mask = np.array([[0, 1], [1, 0], [0, 0]], np.uint8)
    shown = np.asarray(PillowImage.open(io.BytesIO(mask_png(_prediction(mask)))))
    np.testing.assert_array_equal(shown, mask * 255)


def test_a_mask_of_several_classes_holds_the_class_index():
    mask = np.array([[0, 1, 2]], np.uint8)
    shown = np.asarray(PillowImage.open(io.BytesIO(mask_png(_prediction(mask, classes=3)))))
    np.testing.assert_array_equal(shown, mask)


def test_probabilities_are_read_back_by_numpy():
    prediction = _prediction(np.zeros((3, 4), np.uint8))
    np.testing.assert_array_equal(np.load(io.BytesIO(probabilities_npy(prediction))), prediction.probabilities)


def test_json_has_a_mask_for_each_foreground_class_and_the_operating_point():
    mask = np.array([[0, 1, 2], [0, 0, 2]], np.uint8)
    found = json.loads(to_json(_prediction(mask, classes=3), ("background", "core", "edema"), note="x"))
    assert [(one["class"], one["index"], one["area_px"]) for one in found["masks"]] == [("core", 1, 1), ("edema", 2, 2)]
    assert found["masks"][1]["rle"] == {"size": [2, 3], "counts": [4, 2]}
    assert found["operating_point"] == {"threshold": 0.4, "min_lesion_px": 9}
    assert (found["area_px"], found["area_mm2"], found["lesion"], found["note"]) == (3, None, True, "x")


def test_overlay_draws_the_outline_in_red_and_leaves_the_rest():
    pixels = np.full((9, 9, 3), 50, np.uint8)
    mask = np.zeros((9, 9), np.uint8)
    mask[2:7, 2:7] = 1
    drawn = overlay(pixels, mask)
    red = (drawn == [255, 0, 0]).all(axis=-1)
    assert red.sum() == 16
    assert (drawn[~red] == 50).all()


def test_overlay_shows_any_dtype_and_number_of_channels():
    rng = np.random.default_rng(0)
    for pixels in (rng.normal(size=(8, 8, 1)), rng.integers(0, 65535, (8, 8, 4), np.uint16), np.zeros((8, 8, 2), bool)):
        drawn = overlay(pixels, np.zeros((8, 8), np.uint8))
        assert drawn.shape == (8, 8, 3)
        assert drawn.dtype == np.uint8
