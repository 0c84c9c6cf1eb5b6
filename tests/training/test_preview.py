"""What augmentation does, as the data report shows it."""

import numpy as np
import pytest

from medloom.recipe.kinds import KINDS as RECIPES
from medloom.training import augmented_views
from medloom.training.preview import image_views, mask_views
from medloom.transforms.augment import Augment

CROP = {"preprocess": {"size": [32, 32], "crop": [24, 20]}}
UNKNOWN = {"binary": CROP, "auto": {**CROP, "target": {}, "loss": {}, "train": {}, "evaluate": {}}}


def test_views_are_windows_of_the_size_that_training_sees_and_of_the_original_it_is_the_middle(store):
    whole = store.images.shape[2:]
    size = whole[0] - 5, whole[1] - 3
    (image, mask), *views = mask_views(Augment(crop=size), store, 0)(1)
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
    assert {view.shape for view, _ in mask_views(Augment(), store, 0)(0)} == {store.images.shape[1:]}


def test_views_of_an_image_do_not_depend_on_whether_it_has_a_mask(store):
    augment = Augment(flip_p=0.5, rotate_p=1.0, noise_p=0.5, crop=(20, 24))
    with_mask, without = mask_views(augment, store, 3)(1), image_views(augment, store, 3)(1)
    for (one, _), (other, mask) in zip(with_mask, without, strict=True):
        np.testing.assert_array_equal(one, other)
        assert mask is None


@pytest.mark.parametrize("kind", ["binary", "auto"])
def test_a_recipe_says_what_is_shown_also_before_its_labels_are_known(labelled, kind, make_label_recipe):
    plain = make_label_recipe().plain()
    views = augmented_views(RECIPES[kind].model_validate({**plain, **UNKNOWN[kind]}), labelled.store)(0)
    assert [(view.shape, mask) for view, mask in views] == [((2, 24, 20), None)] * 5
