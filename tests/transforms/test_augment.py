import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from medloom.recipe.sections.augment import AugmentConfig
from medloom.targets import IGNORED
from medloom.transforms.augment import Augment, normalise
from medloom.transforms.augment.geometry import affine_grid


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
    torch.testing.assert_close(affine_grid(theta, 24, 17), expected, rtol=0, atol=1e-6)


def test_a_batch_is_changed_to_the_same_bits_in_whatever_parts_it_is_worked_on(batch):
    step = Augment(rotate_p=1, crop_p=1, crop_min_scale=0.5, flip_p=0.5, noise_p=0.5)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 4):
            torch.set_num_threads(count)  # an image for each thread at a time
            found.append(augment(batch, step))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(image, found[0][0]) and torch.equal(mask, found[0][1]) for image, mask in found)


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


def test_a_recipe_without_new_steps_draws_and_makes_what_it_always_did():
    images = (torch.arange(6 * 3 * 40 * 36) * 37 % 251).to(torch.uint8).reshape(6, 3, 40, 36)
    masks = (images[:, 0] > 200).to(torch.uint8)
    augmenter = Augment.of(AugmentConfig(), (24, 28))
    params = augmenter.sample(6, 3, (40, 36), generator(11))
    assert params.noise_seed == 379044851674317862
    assert params.theta[0].flatten().tolist() == pytest.approx([0.777778, 0, 0.166667, 0, 0.6, -0.4], abs=1e-6)
    assert float(params.gain.sum()) == pytest.approx(17.802, abs=1e-5)
    assert float(params.shift.sum()) == pytest.approx(0.1684077, abs=1e-6)
    changed, moved = augmenter.apply(images, masks, torch.full((6, 3), 90.0), torch.full((6, 3), 0.02), params)
    sums = [2877.9246, 2032.4773, 1934.3146, 1680.0707, 1900.8096, 2727.0388]
    assert changed.flatten(1).abs().sum(1).tolist() == pytest.approx(sums, rel=1e-4)
    assert moved.flatten(1).sum(1).tolist() == pytest.approx([132, 129, 129, 132, 137, 133], abs=1)


def test_what_is_drawn_for_a_step_does_not_depend_on_the_new_ones(batch):
    before = Augment.of(AugmentConfig()).sample(6, 2, (40, 60), generator(2))
    after = Augment.of(AugmentConfig(gamma={"p": 0.5}, elastic={"p": 0.5})).sample(6, 2, (40, 60), generator(2))
    for name in ("theta", "gain", "shift", "noise_std"):
        assert torch.equal(getattr(before, name), getattr(after, name))


def test_a_vertical_flip_mirrors_top_and_bottom(batch):
    images, masks, offset, scale = batch
    changed, moved = augment(batch, Augment(flip_vertical=1))
    torch.testing.assert_close(changed, normalise(images.flip(-2), offset, scale), atol=1e-4, rtol=0)
    assert torch.equal(moved, masks.flip(-2))


def turns_of(images, masks, crop=None):
    plain = images, masks, torch.zeros(len(images), 1), torch.ones(len(images), 1)
    changed, moved = augment(plain, Augment(turn_p=1, crop=crop))
    found = []
    for image, mask, before, truth in zip(changed[:, 0], moved, images[:, 0].float(), masks, strict=True):
        fits = [k for k in range(4) if before.rot90(k).shape == image.shape]
        turns = [k for k in fits if torch.allclose(image, before.rot90(k), atol=1e-2)]
        assert turns == [k for k in fits if torch.equal(mask, truth.rot90(k))]
        found += turns
    return found


@pytest.mark.parametrize(("size", "expected"), [((32, 32), {1, 2, 3}), ((32, 24), {2})])
def test_a_turn_is_by_quarters_and_of_what_is_not_square_by_a_half(size, expected):
    images = torch.randint(0, 255, (24, 1, *size), generator=generator(4), dtype=torch.uint8)
    found = turns_of(images, (images[:, 0] > 128).to(torch.uint8))
    assert len(found) == 24
    assert set(found) == expected


def test_ignored_pixels_move_with_the_image_and_no_pixel_changes_its_class():
    masks = torch.zeros(8, 32, 32, dtype=torch.uint8)
    masks[:, 8:24, 8:16], masks[:, 8:24, 16:24] = 1, IGNORED
    images = masks[:, None].clone()
    every = AugmentConfig(preset="microscopy", elastic={"p": 1}, cutout={"p": 1})
    changed, moved = augment((images, masks, torch.zeros(8, 1), torch.ones(8, 1)), Augment.of(every))
    assert set(moved.unique().tolist()) == {0, 1, IGNORED}
    still = Augment.of(AugmentConfig(preset="none", elastic={"p": 1}, turn={"p": 0.5}, flip={"vertical": 0.5}))
    changed, moved = augment((images, masks, torch.zeros(8, 1), torch.ones(8, 1)), still)
    assert changed[:, 0][moved == IGNORED].mean() > 220
    assert changed[:, 0][moved == 0].mean() < 20


def pictures(grey):
    """Pictures in colour or grey, as a recipe with ``normalise: imagenet`` keeps them."""
    torch.manual_seed(1)
    images = (torch.rand(12, 1 if grey else 3, 24, 24) * 255).to(torch.uint8).expand(-1, 3, -1, -1)
    offset = 255 * torch.tensor([0.485, 0.456, 0.406]).expand(12, 3)
    return images, offset, 1 / (255 * torch.tensor([0.229, 0.224, 0.225]).expand(12, 3))


ALL_ON = {step: {"p": 1} for step in ("flip", "elastic", "gamma", "contrast", "brightness", "colour", "blur")} | {
    step: {"p": 1} for step in ("low_resolution", "cutout", "scale", "shift", "noise", "bias_field", "turn")
}


@pytest.mark.parametrize("steps", [{}, {"scale": {"p": 1}, "shift": {"p": 1}, "noise": {"p": 1}}, ALL_ON])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_a_grey_picture_stays_grey(steps, dtype):
    images, offset, scale = pictures(grey=True)
    augmenter = Augment.of(AugmentConfig(**steps), in_colour=True)
    params = augmenter.sample(12, 3, (24, 24), generator(0))
    changed = augmenter.apply_image(images.to(dtype), offset, scale, params)
    levels = changed / scale[..., None, None] + offset[..., None, None]
    assert levels.std() > 10
    assert (levels - levels[:, :1]).abs().max() < 0.01


def test_a_picture_in_colour_changes_as_it_did_and_grey_beside_it_does_not_matter():
    images, offset, scale = pictures(grey=False)
    plain, coloured = (Augment.of(AugmentConfig(noise={"p": 1}), in_colour=one) for one in (False, True))
    params = plain.sample(12, 3, (24, 24), generator(0))
    expected = plain.apply_image(images, offset, scale, params)
    assert torch.equal(coloured.apply_image(images, offset, scale, params), expected)
    mixed = images.clone()
    mixed[3] = mixed[3, :1]
    changed = coloured.apply_image(mixed, offset, scale, params)
    others = torch.arange(12) != 3
    assert torch.equal(changed[others], expected[others])
    assert not torch.equal(changed[3], expected[3])


def test_images_of_several_sequences_that_are_the_same_still_change_each_by_itself():
    images = pictures(grey=True)[0]
    augmenter = Augment.of(AugmentConfig(preset="none", scale={"p": 1}))
    params = augmenter.sample(12, 3, (24, 24), generator(0))
    changed = augmenter.apply_image(images, torch.zeros(12, 3), torch.ones(12, 3), params)
    assert (changed[:, 0] - changed[:, 1]).abs().mean() > 5
