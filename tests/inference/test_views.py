"""Views at test time: what is averaged for each pixel, and for the whole image."""

import numpy as np
import pytest

SIDE = 40
MOVES = [(0, 0), (2, 0), (-2, 0), (0, 2), (0, -2), (4, 0)]
"""Down and right, in pixels of an image of 40: a tenth of half the side, later twice as much."""


class Pointwise:
    """Answers each pixel by itself."""

    name = "pointwise"

    def run(self, batch_nchw, table_nf=None):
        return np.clip(batch_nchw[:, :1], 0.0, 1.0)


class Placed:
    """Answers by where a pixel lies in what it is given, whatever the pixel is."""

    name = "placed"
    answer = np.linspace(0.0, 1.0, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE) ** 2

    def run(self, batch_nchw, table_nf=None):
        return np.tile(self.answer, (len(batch_nchw), 1, 1, 1))


@pytest.fixture
def make(make_predictor):
    return lambda runtime, views: make_predictor(runtime, size=(SIDE, SIDE), channels=("grey",), views=views)


def _pixels():
    return np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("views", [1, 2, 3, 6, 9, 12])
def test_a_network_that_sees_single_pixels_answers_the_same_in_every_view(make, views):
    found = make(Pointwise(), views).predict(_pixels())
    np.testing.assert_allclose(found.probabilities[0], _pixels(), atol=1e-6)


def test_two_views_are_the_mean_of_the_image_and_its_mirror_image_to_the_last_bit(make):
    class Uneven:
        name = "uneven"

        def run(self, batch_nchw, table_nf=None):
            return np.float32(1.0) / (np.float32(1.0) + np.exp(-np.cumsum(batch_nchw, axis=-1) / np.float32(9.0)))

    image = _pixels()[None, None]
    expected = (Uneven().run(image) + Uneven().run(image[..., ::-1])[..., ::-1]) / np.float32(2.0)
    np.testing.assert_array_equal(make(Uneven(), 2).run(image), expected)


@pytest.mark.parametrize("views", [1, 2, 4, 7, 12])
def test_a_pixel_is_averaged_over_the_views_that_show_it(make, views):
    found = make(Placed(), views).predict(_pixels()).probabilities[0]
    for y, x in [(0, 0), (0, 39), (1, 17), (3, 38), (20, 20), (39, 1), (38, 39)]:
        assert found[y, x] == pytest.approx(np.mean(list(_answers(y, x, views))), abs=1e-6)


def _answers(y, x, views):
    """What is said of a pixel in each view in which it lies."""
    for number in range(views):
        down, right = MOVES[number // 2]
        row, column = y - down, x - right
        if 0 <= row < SIDE and 0 <= column < SIDE:
            yield Placed.answer[row, SIDE - 1 - column if number % 2 else column]


def test_an_image_and_its_mirror_image_have_mirrored_masks_with_an_even_number_of_views(make):
    two = make(Placed(), 2)
    np.testing.assert_allclose(
        two.predict(_pixels()[:, ::-1]).probabilities, two.predict(_pixels()).probabilities[..., ::-1], atol=1e-6
    )
