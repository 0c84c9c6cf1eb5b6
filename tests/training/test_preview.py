"""What augmentation does, as the data report shows it."""

import numpy as np

from medloom.recipe import AugmentConfig
from medloom.training.preview import augmented_views

OFF = AugmentConfig.model_validate({name: {"p": 0} for name in ("flip", "rotate", "crop", "scale", "shift", "noise")})


def test_views_are_windows_of_the_size_that_training_sees_and_of_the_original_it_is_the_middle(store):
    whole = store.images.shape[2:]
    size = whole[0] - 5, whole[1] - 3
    (image, mask), *views = augmented_views(OFF, store, 0, size)(1)
    top, left = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    np.testing.assert_array_equal(image, store.images[1][:, top : top + size[0], left : left + size[1]])
    np.testing.assert_array_equal(mask, store.masks[1][top : top + size[0], left : left + size[1]])
    assert len(views) == 4
    windows = np.lib.stride_tricks.sliding_window_view(store.images[1], size, axis=(1, 2))
    for view, moved in views:
        assert view.shape[1:] == moved.shape == size
        distance = np.abs(windows - view[:, None, None]).max(axis=(0, 3, 4))
        assert distance.min() < 0.01, "each is a piece of the original"


def test_without_a_crop_views_are_as_large_as_the_original(store):
    assert {view.shape for view, _ in augmented_views(OFF, store, 0)(0)} == {store.images.shape[1:]}
