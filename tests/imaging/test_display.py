from __future__ import annotations

import numpy as np
import pytest

from medloom.imaging.display import levels_inside, to_grey


@pytest.mark.parametrize("background", [0, -1024])
def test_a_large_dark_background_does_not_darken_the_rest(background):
    plane = np.full((64, 64), background, np.int16)
    plane[20:30, 20:30] = np.arange(40, 140).reshape(10, 10)
    shown = to_grey(plane, levels_inside(plane))
    assert shown[0, 0] == 0
    assert np.median(shown[20:30, 20:30]) == pytest.approx(127, abs=3)


def test_eight_bits_stay_as_they_are_unless_levels_are_given():
    plane = np.array([[0, 10], [20, 30]], np.uint8)
    assert to_grey(plane) is plane
    assert to_grey(plane, (10.0, 30.0)).tolist() == [[0, 0], [127, 255]]


def test_a_plane_of_one_value_is_black():
    assert not to_grey(np.full((4, 4), 7.0), levels_inside(np.full((4, 4), 7.0))).any()
