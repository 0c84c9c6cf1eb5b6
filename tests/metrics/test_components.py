import numpy as np
import pytest
from scipy import ndimage

from medloom.metrics import label_components

SHAPES = [(1, 1), (1, 17), (17, 1), (40, 33), (3, 5, 7), (12, 20, 16)]


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_components_are_those_of_scipy_in_the_same_order(shape, corners):
    rng = np.random.default_rng(0)
    structure = ndimage.generate_binary_structure(len(shape), len(shape) if corners else 1)
    for density in (0.0, 0.05, 0.2, 0.35, 0.5, 0.65, 0.9, 1.0):
        mask = rng.random(shape) < density
        expected, count = ndimage.label(mask, structure)
        labels, found = label_components(mask, corners=corners)
        assert found == count
        np.testing.assert_array_equal(labels, expected)


def test_a_long_spiral_is_one_component():
    mask = np.zeros((101, 101), bool)
    for ring in range(0, 50, 2):
        mask[ring, ring : 101 - ring] = mask[ring : 101 - ring, 100 - ring] = True
        mask[100 - ring, ring : 101 - ring] = mask[ring + 2 : 101 - ring, ring] = True
        mask[ring + 2, ring : ring + 2] = True
    assert label_components(mask, corners=False)[1] == ndimage.label(mask)[1] == 1


def test_numbers_are_taken_as_set_and_an_array_need_not_be_contiguous():
    mask = np.array([[0, 2, 0], [0, 7, 0], [9, 0, 0]]).T[::-1]
    assert label_components(mask)[1] == 1
    assert label_components(mask, corners=False)[0].max() == 2
    assert label_components(np.zeros((0, 4)))[1] == 0
