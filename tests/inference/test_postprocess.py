import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.imaging import Image
from medloom.inference import MaskPoint, Predictor, Prepared, erase_small, foreground_probability, to_mask
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess


def _mask(probabilities, point, shape=None, fit="stretch"):
    """What the predictor makes of the network's answer to an image of this shape, by default of the network's."""
    size = probabilities.shape[1:]
    names = ("background", *(f"class {number}" for number in range(1, max(2, len(probabilities)))))
    predictor = Predictor(None, Preprocess(size=size, fit=fit), Target("masks", names), ("grey",), point=point)
    pixels = np.zeros((*(shape or size), 1), np.uint8)
    return predictor.finish(probabilities, Prepared(np.zeros((1, *size), np.float32), Image(pixels, "array"))).mask


def _regions(foreground):
    """8-connected regions by flood fill, written apart from SciPy's labelling."""
    left = {(int(y), int(x)) for y, x in np.argwhere(foreground)}
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        yield region


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95), st.integers(0, 12))
def test_mask_is_the_threshold_without_the_small_regions(seed, threshold, min_px):
    probabilities = np.random.default_rng(seed).random((1, 12, 11), np.float32)
    expected = np.zeros((12, 11), np.uint8)
    for region in _regions(probabilities[0] >= threshold):
        if len(region) >= min_px:
            expected[tuple(np.array(list(region)).T)] = 1
    np.testing.assert_array_equal(_mask(probabilities, MaskPoint(threshold, min_px)), expected)


def test_a_pixel_exactly_on_the_threshold_is_foreground():
    assert to_mask(np.full((1, 1, 1), 0.5, np.float32), 0.5)[0, 0] == 1


def test_diagonal_neighbours_are_one_region():
    diagonal = np.eye(4, dtype=np.float32)[None]
    assert _mask(diagonal, MaskPoint(0.5, 4)).sum() == 4
    assert _mask(diagonal, MaskPoint(0.5, 5)).sum() == 0


def test_many_classes_give_the_likeliest_foreground_class_where_background_is_unlikely():
    pixels = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.5, 0.1, 0.4]], np.float32)
    np.testing.assert_array_equal(to_mask(pixels.T[:, :, None], 0.5)[:, 0], [1, 0, 2])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95), st.integers(2, 5))
def test_equal_thresholds_of_classes_are_one_threshold_for_all(seed, threshold, classes):
    scores = np.random.default_rng(seed).random((classes + 1, 9, 8)) ** 3
    probabilities = (scores / scores.sum(axis=0)).astype(np.float32)
    near = np.abs((1 - probabilities[0]) - threshold) < 1e-5  # rounding may take either side there
    shared, several = (to_mask(probabilities, one) for one in (threshold, (threshold,) * classes))
    np.testing.assert_array_equal(np.where(near, 0, several), np.where(near, 0, shared))


def test_a_class_that_is_alone_is_foreground_from_its_own_threshold_on():
    rows = np.array([[0.75, 0.25, 0.0], [0.76, 0.24, 0.0], [0.25, 0.0, 0.75], [0.26, 0.0, 0.74]], np.float32)
    np.testing.assert_array_equal(to_mask(rows.T[:, :, None], (0.25, 0.75))[:, 0], [1, 0, 2, 0])
    both = np.array([[0.6, 0.2, 0.2], [0.5, 0.1, 0.4]], np.float32)  # more than its threshold wins, not more of it
    np.testing.assert_array_equal(to_mask(both.T[:, :, None], (0.2, 0.8))[:, 0], [1, 1])


def test_erased_pixels_of_many_classes_are_certain_background():
    probabilities = np.zeros((3, 5, 5), np.float32)
    probabilities[0] = 1
    probabilities[:, 2, 2] = 0, 0.7, 0.3
    erased = erase_small(probabilities, 0.5, 2)
    assert foreground_probability(erased).max() == 0
    np.testing.assert_array_equal(erased.sum(axis=0), np.ones((5, 5)))


def test_probabilities_that_came_in_are_not_changed():
    probabilities = np.zeros((1, 5, 5), np.float32)
    probabilities[0, 2, 2] = 1
    erase_small(probabilities, 0.5, 9)
    assert probabilities[0, 2, 2] == 1


@pytest.mark.parametrize("shape", [(17, 23), (64, 64), (90, 131)])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_an_erased_region_does_not_come_back_in_an_image_of_another_size(shape, fit):
    preprocess = Preprocess(size=(32, 32), fit=fit)
    probabilities = np.zeros((1, 32, 32), np.float32)
    probabilities[0, 8:14, 16:24] = 0.9  # 48 pixels, stays
    probabilities[0, 20:22, 16:18] = 0.99  # 4 pixels, goes
    mask = _mask(probabilities, MaskPoint(0.5, 5), shape, fit)
    alone = probabilities.copy()
    alone[0, 20:22, 16:18] = 0
    np.testing.assert_array_equal(mask, preprocess.restore(alone, *shape)[0] >= 0.5)
    assert mask.shape == shape
    assert mask.any()


@pytest.mark.parametrize(
    ("threshold", "min_px"), [(-0.1, 0), (1.1, 0), (float("nan"), 0), (0.5, -1), ((0.5, 0.0), 0), ((0.5,), 0)]
)
def test_an_impossible_operating_point_is_refused(threshold, min_px):
    with pytest.raises(ValueError, match="must"):
        MaskPoint(threshold, min_px)
