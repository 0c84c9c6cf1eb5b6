import math

import numpy as np
import pytest
from scipy import ndimage

from medloom.metrics import LesionCount, count_lesions, lesion_sensitivity


def test_one_pixel_of_overlap_finds_a_lesion_and_stray_components_are_false():
    truth, predicted = np.zeros((20, 20), int), np.zeros((20, 20), int)
    truth[1:5, 1:5] = truth[10:14, 10:14] = truth[18, 18] = 1
    predicted[4, 4] = predicted[10:14, 10:14] = 1
    predicted[0, 15:19] = 1
    assert count_lesions(truth, predicted) == LesionCount(lesions=3, found=2, false=1)
    assert lesion_sensitivity(truth, predicted) == pytest.approx(2 / 3)


def test_pixels_that_share_a_corner_are_one_lesion():
    assert count_lesions(np.eye(4), np.zeros((4, 4))).lesions == 1


def test_one_component_over_two_lesions_finds_both_and_is_not_false():
    truth = np.array([[1, 0, 1]])
    assert count_lesions(truth, np.ones_like(truth)) == LesionCount(lesions=2, found=2, false=0)


def test_sensitivity_without_a_lesion_is_not_a_number():
    assert math.isnan(lesion_sensitivity(np.zeros((3, 3)), np.ones((3, 3))))


@pytest.mark.parametrize("seed", range(3))
def test_counts_agree_with_a_loop_over_the_components(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = (ndimage.gaussian_filter(rng.standard_normal((50, 50)), 2) > 0.15 for _ in range(2))
    labels, n = ndimage.label(truth, np.ones((3, 3)))
    found = sum(bool(predicted[labels == i].any()) for i in range(1, n + 1))
    count = count_lesions(truth, predicted)
    assert (count.lesions, count.found) == (n, found)
