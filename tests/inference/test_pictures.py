import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medloom.inference.pictures import overlay, run_lengths


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_lead_back_to_the_mask(mask):
    counts = run_lengths(mask)
    values = np.arange(len(counts)) % 2 == 1
    np.testing.assert_array_equal(np.repeat(values, counts).reshape(mask.shape, order="F"), mask)
    assert all(count > 0 for count in counts[1:])


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


def test_overlay_outlines_classes_that_touch():
    mask = np.ones((6, 8), np.uint8)
    mask[:, 4:] = 2
    red = (overlay(np.zeros((6, 8, 3), np.uint8), mask) == [255, 0, 0]).all(axis=-1)
    inside = np.zeros((6, 8), bool)
    inside[1:-1, 1:3] = inside[1:-1, 5:7] = True
    np.testing.assert_array_equal(red, ~inside)
