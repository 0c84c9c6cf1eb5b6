import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from medloom.recipe.sections.images import AugmentConfig
from medloom.transforms import augment as augment_file
from medloom.transforms.augment import Augment, normalise


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    coarse = (torch.rand(6, 5, 6) > 0.7).to(torch.uint8)
    masks = coarse.repeat_interleave(8, 1).repeat_interleave(10, 2)
    images = torch.stack([masks * 200, masks * 100], dim=1)
    return images, masks, torch.full((6, 2), 20.0), torch.full((6, 2), 0.01)


def augment(batch, augmenter, seed=0):
    images, masks, offset, scale = batch
    params = augmenter.sample(len(images), images.shape[1], tuple(images.shape[2:]), generator(seed))
    return augmenter.apply(images, masks, offset, scale, params)


def test_with_every_probability_zero_only_normalisation_remains(batch):
    images, masks, offset, scale = batch
    changed, moved = augment(batch, Augment())
    torch.testing.assert_close(changed, normalise(images, offset, scale), atol=1e-4, rtol=0)
    assert torch.equal(moved, masks)


def test_a_flip_mirrors_image_and_mask_left_and_right(batch):
    images, masks, offset, scale = batch
    changed, moved = augment(batch, Augment(flip_p=1))
    torch.testing.assert_close(changed, normalise(images.flip(-1), offset, scale), atol=1e-4, rtol=0)
    assert torch.equal(moved, masks.flip(-1))


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_a_rotation_is_the_one_scipy_makes_also_when_the_image_is_oblong(size):
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random(size), 4).astype(np.float32) * 1000
    images = torch.from_numpy(smooth)[None, None]
    augmenter = Augment(rotate_p=1, rotate_degrees=15)
    params = augmenter.sample(1, 1, size, generator(3))
    changed, _ = augmenter.apply(
        images, torch.zeros(1, *size, dtype=torch.uint8), torch.zeros(1, 1), torch.ones(1, 1), params
    )
    angle = math.degrees(math.acos(float(params.theta[0, 0, 0])))
    candidates = [ndimage.rotate(smooth, a, reshape=False, order=1) for a in (angle, -angle)]
    inner = np.s_[size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4]
    assert angle > 1
    assert min(np.abs(changed[0, 0].numpy()[inner] - c[inner]).max() for c in candidates) < 2.0


def test_the_grid_is_the_one_torch_makes():
    theta = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = F.affine_grid(theta, [4, 1, 24, 17], align_corners=False)
    torch.testing.assert_close(augment_file._affine_grid(theta, 24, 17), expected, rtol=0, atol=1e-6)


def test_image_and_mask_move_together(batch):
    changed, moved = augment(batch, Augment(rotate_p=1, crop_p=1, crop_min_scale=0.5, flip_p=0.5))
    inside = changed[:, 0][moved == 1].mean()
    outside = changed[:, 0][moved == 0].mean()
    assert inside - outside > 0.8 * 200 * 0.01


def test_a_crop_magnifies_and_never_looks_outside_the_image():
    images = torch.full((8, 1, 32, 32), 100, dtype=torch.uint8)
    plain = (images, torch.ones(8, 32, 32, dtype=torch.uint8), torch.zeros(8, 1), torch.ones(8, 1))
    changed, moved = augment(plain, Augment(crop_p=1, crop_min_scale=0.5))
    assert (moved == 1).all()
    torch.testing.assert_close(changed, torch.full_like(changed, 100.0))


def test_intensity_changes_stay_inside_their_amounts(batch):
    images, _, offset, scale = batch
    plain = normalise(images, offset, scale)
    changed, _ = augment(batch, Augment(scale_p=1, scale_amount=0.2, shift_p=1, shift_amount=0.3))
    bound = 0.2 * plain.abs() + 0.3 + 1e-4
    assert ((changed - plain).abs() <= bound).all()
    assert (changed - plain).abs().max() > 0.05


def test_noise_falls_on_the_images_that_drew_it_and_on_no_other(batch):
    images, masks, offset, scale = batch
    augmenter = Augment(noise_p=0.5, noise_std=0.5)
    params = augmenter.sample(6, 2, (40, 60), generator(1))
    changed, _ = augmenter.apply(images, masks, offset, scale, params)
    residual = (changed - normalise(images, offset, scale)).flatten(1).std(1)
    assert 0 < int((params.noise_std > 0).sum()) < 6
    torch.testing.assert_close(residual, params.noise_std, atol=0.02, rtol=0.05)


def test_the_same_seed_gives_the_same_batch_and_another_seed_another(batch):
    first, again, other = (augment(batch, Augment.of(AugmentConfig()), seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_applying_draws_nothing_from_the_global_generator(batch):
    state = torch.get_rng_state()
    augment(batch, Augment.of(AugmentConfig(noise={"p": 1})))
    assert torch.equal(state, torch.get_rng_state())


def test_a_window_is_cut_out_at_whole_pixels_and_comes_from_everywhere():
    augment = Augment(crop=(8, 6))
    images = torch.arange(16 * 12, dtype=torch.float32).reshape(1, 1, 16, 12).repeat(64, 1, 1, 1)
    params = augment.sample(64, 1, (16, 12), generator())
    cut = augment.apply_image(images, torch.zeros(64, 1), torch.ones(64, 1), params)
    assert cut.shape == (64, 1, 8, 6)
    starts = set()
    for window in cut[:, 0]:
        top, left = divmod(round(float(window[0, 0])), 12)
        torch.testing.assert_close(window, images[0, 0, top : top + 8, left : left + 6], rtol=0, atol=1e-3)
        starts.add((top, left))
    assert {top for top, _ in starts} == set(range(9))
    assert {left for _, left in starts} == set(range(7))


def test_the_validation_crop_is_the_middle():
    images = torch.rand(2, 3, 20, 10)
    kept = normalise(images, torch.zeros(2, 3), torch.ones(2, 3), (8, 4))
    assert torch.equal(kept, images[:, :, 6:14, 3:7])
