import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.inference import OperatingPoint, erase_small, lesion_probability, postprocess, to_mask
from medloom.recipe import PreprocessConfig
from medloom.transforms.preprocess import Preprocess


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
    np.testing.assert_array_equal(postprocess(probabilities, OperatingPoint(threshold, min_px)), expected)


def test_a_pixel_exactly_on_the_threshold_is_lesion():
    assert to_mask(np.full((1, 1, 1), 0.5, np.float32), 0.5)[0, 0] == 1


def test_diagonal_neighbours_are_one_region():
    diagonal = np.eye(4, dtype=np.float32)[None]
    assert postprocess(diagonal, OperatingPoint(0.5, 4)).sum() == 4
    assert postprocess(diagonal, OperatingPoint(0.5, 5)).sum() == 0


def test_many_classes_give_the_likeliest_foreground_class_where_background_is_unlikely():
    pixels = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.5, 0.1, 0.4]], np.float32)
    np.testing.assert_array_equal(to_mask(pixels.T[:, :, None], 0.5)[:, 0], [1, 0, 2])


def test_erased_pixels_of_many_classes_are_certain_background():
    probabilities = np.zeros((3, 5, 5), np.float32)
    probabilities[0] = 1
    probabilities[:, 2, 2] = 0, 0.7, 0.3
    erased = erase_small(probabilities, OperatingPoint(0.5, 2))
    assert lesion_probability(erased).max() == 0
    np.testing.assert_array_equal(erased.sum(axis=0), np.ones((5, 5)))


def test_probabilities_that_came_in_are_not_changed():
    probabilities = np.zeros((1, 5, 5), np.float32)
    probabilities[0, 2, 2] = 1
    erase_small(probabilities, OperatingPoint(0.5, 9))
    assert probabilities[0, 2, 2] == 1


@pytest.mark.parametrize("shape", [(17, 23), (64, 64), (90, 131)])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_an_erased_region_does_not_come_back_in_an_image_of_another_size(shape, fit):
    preprocess = Preprocess(PreprocessConfig(size=(32, 32), fit=fit))
    probabilities = np.zeros((1, 32, 32), np.float32)
    probabilities[0, 8:14, 16:24] = 0.9  # 48 pixels, stays
    probabilities[0, 20:22, 16:18] = 0.99  # 4 pixels, goes
    mask = postprocess(probabilities, OperatingPoint(0.5, 5), lambda found: preprocess.restore(found, *shape))
    alone = probabilities.copy()
    alone[0, 20:22, 16:18] = 0
    np.testing.assert_array_equal(mask, preprocess.restore(alone, *shape)[0] >= 0.5)
    assert mask.shape == shape
    assert mask.any()


@pytest.mark.parametrize(("threshold", "min_px"), [(-0.1, 0), (1.1, 0), (float("nan"), 0), (0.5, -1)])
def test_an_impossible_operating_point_is_refused(threshold, min_px):
    with pytest.raises(ValueError, match="must"):
        OperatingPoint(threshold, min_px)
