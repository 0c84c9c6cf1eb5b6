import numpy as np
import pytest
from scipy import ndimage

from medloom.metrics import RegionCount, count_regions


def test_one_pixel_of_overlap_finds_a_region_and_stray_components_are_false():
    truth, predicted = np.zeros((20, 20), int), np.zeros((20, 20), int)
    truth[1:5, 1:5] = truth[10:14, 10:14] = truth[18, 18] = 1
    predicted[4, 4] = predicted[10:14, 10:14] = 1
    predicted[0, 15:19] = 1
    assert count_regions(truth, predicted) == RegionCount(regions=3, found=2, false=1)


def test_pixels_that_share_a_corner_are_one_region():
    assert count_regions(np.eye(4), np.zeros((4, 4))).regions == 1


def test_one_component_over_two_regions_finds_both_and_is_not_false():
    truth = np.array([[1, 0, 1]])
    assert count_regions(truth, np.ones_like(truth)) == RegionCount(regions=2, found=2, false=0)


def test_an_empty_truth_has_no_region_and_what_is_predicted_is_false():
    assert count_regions(np.zeros((3, 3)), np.ones((3, 3))) == RegionCount(regions=0, found=0, false=1)


def test_masks_of_different_shape_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        count_regions(np.ones((2, 3)), np.ones((3, 2)))


@pytest.mark.parametrize("seed", range(3))
def test_counts_agree_with_a_loop_over_the_components(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = (ndimage.gaussian_filter(rng.standard_normal((50, 50)), 2) > 0.15 for _ in range(2))
    labels, n = ndimage.label(truth, np.ones((3, 3)))
    found = sum(bool(predicted[labels == i].any()) for i in range(1, n + 1))
    count = count_regions(truth, predicted)
    assert (count.regions, count.found) == (n, found)
