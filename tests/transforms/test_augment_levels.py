"""Each step against an independent implementation with the same parameters, and the spread of what it draws."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import colorsys

import numpy as np
import pytest
import torch
from monai.transforms import (
    AdjustContrast,
    Rand2DElastic,
    RandBiasField,
    RandSimulateLowResolution,
    RandZoom,
    Resample,
    Rotate,
)
from monai.transforms.utils import create_grid
from scipy import ndimage
from torchvision.transforms import functional as vision

from medloom.recipe.sections.augment import AugmentConfig, ClassesAugmentConfig
from medloom.transforms.augment import Augment
from medloom.transforms.augment.geometry import Elastic, affine_grid
from medloom.transforms.augment.levels import (
    BiasField,
    Blur,
    Brightness,
    Colour,
    Contrast,
    Cutout,
    Gamma,
    LowResolution,
    steps_of,
)
from medloom.transforms.augment.mixing import mix_images, mix_rows
from medloom.transforms.augment.parameters import Drawn

SIZE = 64
MANY = 4000
STEPS = (BiasField, Gamma, Contrast, Brightness, Colour, Blur, LowResolution, Cutout)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(count=2, channels=1, size=SIZE, sigma=3):
    noise = np.random.default_rng(0).random((count, channels, size, size))
    blurred = ndimage.gaussian_filter(noise, (0, 0, sigma, sigma))
    return torch.from_numpy((255 * (blurred - blurred.min()) / np.ptp(blurred)).astype(np.float32))


def warp(images, grid):
    return torch.nn.functional.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)


def monai_displacement(offsets):
    """What MONAI makes of displacements of its control points, in pixels ``(2, H, W)``, y first.

    Its grid without any is left out: interpolated like the displacements, it wobbles by 0.3 pixels.
    """
    theirs = Rand2DElastic(spacing=(8, 8), magnitude_range=(1, 1), prob=1.0)
    theirs.resampler = lambda image, grid, **how: grid
    made = []
    for offset in (offsets, 0 * offsets):
        given = {"random_offset": offset, "rand_mag": 1.0}
        theirs.deform_grid.randomize = lambda size, given=given: vars(theirs.deform_grid).update(given)
        made.append(theirs(torch.zeros(1, SIZE, SIZE))[:2])
    return made[0] - made[1]


def test_elastic_deformation_is_monais_with_the_same_displacements():
    points = SIZE // 8 + 4
    offsets = np.random.default_rng(1).uniform(-2, 2, (2, points, points)).astype(np.float32)
    images, theta = smooth(1), torch.eye(2, 3)[None]
    grid = affine_grid(theta, SIZE, SIZE)
    values = torch.from_numpy(offsets[::-1].copy() * 2 / SIZE)[None]
    Elastic(spacing=8 / SIZE).move(grid, theta, Drawn(torch.tensor([True]), values))
    places = create_grid((SIZE, SIZE), backend="torch")
    places[:2] += monai_displacement(offsets)
    expected = Resample(padding_mode="zeros")(images[0], places).as_tensor()
    assert (expected - images[0]).abs().max() > 10
    torch.testing.assert_close(warp(images, grid)[0], expected, atol=0.02, rtol=0)


def test_elastic_deformation_turns_with_the_image_and_leaves_others_alone():
    elastic, images = Elastic(p=0.5), smooth(8)
    drawn = elastic.draw(8, (SIZE, SIZE), generator(1))
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).expand(8, 2, 3)
    grids = []
    for theta in (torch.eye(2, 3).expand(8, 2, 3), quarter):
        grid = affine_grid(theta, SIZE, SIZE)
        elastic.move(grid, theta, drawn)
        grids.append(grid)
    assert 0 < int(drawn.hit.sum()) < 8
    straight = warp(images, grids[0])
    torch.testing.assert_close(straight[~drawn.hit], images[~drawn.hit], atol=1e-3, rtol=0)
    turned_first = warp(images, affine_grid(quarter, SIZE, SIZE))
    before = affine_grid(torch.eye(2, 3).expand(8, 2, 3), SIZE, SIZE)
    elastic.move(before, torch.eye(2, 3).expand(8, 2, 3), drawn)
    torch.testing.assert_close(warp(images, grids[1]), warp(turned_first, before), atol=2.0, rtol=0)


@pytest.mark.parametrize("size", [(48, 80), (33, 47)])
def test_displacements_are_as_large_as_the_recipe_says_and_no_larger(size):
    elastic = Elastic(p=1.0, amount=0.03, spacing=0.2)
    drawn = elastic.draw(200, size, generator())
    theta = torch.eye(2, 3).expand(200, 2, 3)
    plain = affine_grid(theta, *size)
    moved = plain.clone()
    elastic.move(moved, theta, drawn)
    share = (moved - plain).abs().amax((1, 2, 3)) / 2
    assert 0.025 < float(share.max()) < 0.03 * 1.5  # bicubic interpolation may overshoot
    assert float(share.min()) < 0.003
    assert (torch.diff(moved[..., 0], dim=2) > 0).all(), "no image is folded over itself"


def test_a_rotation_and_a_crop_are_monais():
    images = smooth(1)
    augmenter = Augment(rotate_p=1, rotate_degrees=30)
    params = augmenter.sample(1, 1, (SIZE, SIZE), generator(5))
    angle = float(torch.atan2(params.theta[0, 1, 0], params.theta[0, 0, 0]))
    changed = augmenter.apply_image(images, torch.zeros(1, 1), torch.ones(1, 1), params)
    expected = Rotate(-angle, padding_mode="zeros")(images[0]).as_tensor()
    torch.testing.assert_close(changed[0], expected, atol=0.02, rtol=0)
    zoomed = RandZoom(prob=1, min_zoom=1.25, max_zoom=1.25, mode="bilinear")(images[0]).as_tensor()
    theta = 0.8 * torch.eye(2, 3)[None]
    torch.testing.assert_close(warp(images, affine_grid(theta, SIZE, SIZE))[0], zoomed, atol=8.0, rtol=0)


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.7])
def test_gamma_is_monais(exponent):
    images = smooth(2)
    expected = torch.stack([AdjustContrast(exponent)(one) for one in images])
    torch.testing.assert_close(Gamma().change(images, torch.full((2, 1), exponent)), expected, atol=1e-2, rtol=0)


def test_gamma_of_an_image_of_one_level_leaves_it():
    flat = torch.full((1, 2, 8, 8), 7.0)
    torch.testing.assert_close(Gamma().change(flat, torch.full((1, 2), 1.5)), flat)


def test_a_bias_field_is_monais():
    images, theirs = smooth(2), RandBiasField(prob=1.0)
    values = torch.zeros(2, len(BiasField.terms))
    matrix = np.zeros((2, 4, 4))
    for column, (down, across) in enumerate(BiasField.terms):
        if across <= down:  # those that MONAI has as well
            values[:, column] = torch.tensor([0.3, -0.2]) / (1 + column)
            matrix[:, down, across] = values[:, column]
    theirs.randomize = lambda img_size: None
    theirs._do_transform = True
    for number in range(2):
        theirs._coeff = matrix[number][np.tril_indices(4)].tolist()
        expected = torch.as_tensor(np.asarray(theirs(images[number])))
        found = BiasField().change(images[number : number + 1], values[number : number + 1])[0]
        torch.testing.assert_close(found, expected.float(), atol=1e-2, rtol=1e-4)


def test_a_bias_field_may_vary_along_the_rows_alone():
    values = torch.zeros(1, len(BiasField.terms))
    values[0, BiasField.terms.index((0, 1))] = 0.5
    found = BiasField().change(torch.ones(1, 2, 8, 9), values)
    expected = np.exp(0.5 * np.linspace(-1, 1, 9)).astype(np.float32)
    torch.testing.assert_close(found, torch.from_numpy(expected).expand(1, 2, 8, 9))


def test_low_resolution_is_monais():
    images = smooth(2, sigma=1)
    for number, zoom in enumerate((0.4, 0.77)):
        theirs = RandSimulateLowResolution(
            prob=1.0, downsample_mode="nearest-exact", upsample_mode="bilinear", zoom_range=(zoom, zoom)
        )
        found = LowResolution().change(images[number : number + 1], torch.tensor([[zoom]]))
        torch.testing.assert_close(found[0], theirs(images[number]).as_tensor(), atol=1e-2, rtol=0)


def test_blur_is_scipys_and_each_image_has_its_own():
    images, sigmas = smooth(2, 3, sigma=1), torch.tensor([[0.5], [1.2]])
    found = Blur(sigma=2.0).change(images, sigmas)
    for image, sigma, one in zip(images.numpy(), sigmas[:, 0], found.numpy(), strict=True):
        expected = ndimage.gaussian_filter(image, (0, float(sigma), float(sigma)), mode="nearest", truncate=5)
        np.testing.assert_allclose(one, expected, atol=0.05)


def test_contrast_and_saturation_of_a_picture_in_colour_are_torchvisions():
    images = 80 + smooth(2, 3) * 0.3  # so that nothing is clipped
    found = Contrast(in_colour=True).change(images, torch.full((2, 3), 1.2))
    grey = (images * torch.tensor([0.2989, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(found, vision.adjust_contrast(images / 255, 1.2) * 255, atol=0.1, rtol=0)
    saturated = Colour(in_colour=True).change(images, torch.tensor([[0.0, 1.3]] * 2))
    torch.testing.assert_close(saturated, 1.3 * images - 0.3 * grey, atol=0.1, rtol=0)


def test_hue_goes_the_way_round_that_colorsys_goes_and_keeps_luma():
    colours = torch.tensor([[200.0, 60, 60], [60, 200, 60], [60, 60, 200]])[:, :, None, None]
    found = Colour(in_colour=True).change(colours, torch.tensor([[2 * np.pi * 0.05, 1.0]] * 3))
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((found * luma).sum(1), (colours * luma).sum(1), atol=1e-2, rtol=0)
    hues = [[colorsys.rgb_to_hsv(*pixel)[0] for pixel in picture[:, :, 0, 0].tolist()] for picture in (colours, found)]
    moved = [(after - before + 0.5) % 1 - 0.5 for before, after in zip(*hues, strict=True)]
    assert len({np.sign(one) for one in moved}) == 1
    assert all(0.01 < abs(one) < 0.1 for one in moved)


def test_a_hole_is_where_it_was_drawn_and_holds_the_mean():
    images = smooth(1, 2)
    values = torch.tensor([[[[0.5, 0.125], [0.25, 0.0625]]]])  # rows 24 to 40, columns 12 to 20
    found = Cutout().change(images, values)
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[24:40, 12:20] = True
    torch.testing.assert_close(found[..., inside], images.mean((2, 3))[..., None].expand(1, 2, int(inside.sum())))
    assert torch.equal(found[..., ~inside], images[..., ~inside])


@pytest.mark.parametrize(
    ("step", "mean", "low", "high"),
    [
        (Gamma(p=1, amount=0.5), None, 1 / 1.5, 1.5),
        (Contrast(p=1, amount=0.2), 1.0, 0.8, 1.2),
        (Brightness(p=1, amount=0.1), 0.0, -0.1, 0.1),
        (BiasField(p=1, amount=0.3), 0.0, -0.3, 0.3),
        (Blur(p=1, sigma=2.0), 1.0, 0.0, 2.0),
        (LowResolution(p=1, zoom=0.5), 0.75, 0.5, 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_drawn_is_spread_as_the_recipe_says(step, mean, low, high):
    values = step.draw(MANY, 1, generator()).values
    values = values.log() if mean is None else values
    low, high = (np.log(low), np.log(high)) if mean is None else (low, high)
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    assert values.mean() == pytest.approx(mean or 0.0, abs=0.02 * (high - low))
    assert values.std() == pytest.approx((high - low) / 12**0.5, rel=0.03)


@pytest.mark.parametrize("kind", STEPS)
def test_as_many_images_are_changed_as_the_probability_says_and_the_others_are_left(kind):
    step = kind(p=0.3, in_colour=True)
    drawn = step.draw(MANY, 3, generator(2))
    assert float(drawn.hit.float().mean()) == pytest.approx(0.3, abs=0.03)
    images = smooth(12, 3, 24)
    augmenter = Augment(levels=(step,), in_colour=True)
    params = augmenter.sample(12, 3, (24, 24), generator(3))
    changed = augmenter.apply_image(images, torch.zeros(12, 3), torch.ones(12, 3), params)
    differs = (changed - images).abs().amax((1, 2, 3)) > 1e-3
    hit = params.levels[0].hit
    assert 0 < int(hit.sum()) < 12
    assert not bool((differs & ~hit).any())
    assert float(differs[hit].float().mean()) > 0.5  # the others drew next to nothing


@pytest.mark.parametrize("kind", [kind for kind in STEPS if kind is not BiasField])
def test_a_step_means_the_same_whatever_the_store_counts_in(kind):
    """But for a bias field, which multiplies: there zero has a meaning."""
    step, images = kind(p=1.0, in_colour=True), smooth(3, 3, 24)
    values = step.draw(3, 3, generator(1)).values
    torch.testing.assert_close(
        step.change(10 * images - 500, values), 10 * step.change(images, values) - 500, atol=0.1, rtol=1e-3
    )


def test_sequences_change_each_by_itself_and_colours_together():
    images = smooth(4, 3)
    for kind in (Gamma, Contrast, Brightness):
        for in_colour in (False, True):
            values = kind(p=1, in_colour=in_colour).draw(4, 3, generator()).values
            other = values.clone()
            other[:, 1] += 0.3
            step = kind(in_colour=in_colour)
            moved = (step.change(images, values) - step.change(images, other)).abs().amax((2, 3))
            assert ((moved > 0.1) == torch.tensor([False, not in_colour, False])).all()


def test_images_without_colours_have_none_changed():
    assert Colour(p=1.0, in_colour=False).draw(4, 3, generator()) is None
    assert Colour(p=1.0, in_colour=True).draw(4, 1, generator()) is None


def test_a_batch_in_parts_is_the_batch():
    """What each process gets of a batch is what one process would have made of it."""
    every = AugmentConfig(preset="photo", elastic={"p": 0.5}, bias_field={"p": 0.5}, noise={"p": 0.6}, gamma={"p": 0.5})
    augmenter = Augment.of(every, in_colour=True)
    images = smooth(7, 3, 32)
    params = augmenter.sample(7, 3, (32, 32), generator(4))
    plain = torch.zeros(7, 3), torch.ones(7, 3)
    whole = augmenter.apply_image(images, *plain, params)
    for rank in (0, 1):
        picks = torch.arange(rank, 7, 2)
        part = augmenter.apply_image(images[picks], *(one[picks] for one in plain), params.part(picks))
        torch.testing.assert_close(part, whole[picks], atol=1e-3, rtol=1e-5)


def test_every_step_of_a_recipe_is_there_in_the_order_from_the_patient_to_the_file():
    assert tuple(type(step) for step in steps_of(AugmentConfig(), in_colour=True)) == STEPS


def test_images_are_changed_in_float32_whatever_the_network_computes_in():
    on = {step: {"p": 1} for step in ("elastic", "bias_field", "gamma", "contrast", "brightness", "colour", "blur")}
    on |= {step: {"p": 1} for step in ("low_resolution", "cutout", "turn")}
    augmenter = Augment.of(ClassesAugmentConfig(**on, mixup={"p": 0.5}, cutmix={"p": 0.5}), in_colour=True)
    images, masks = smooth(6, 3), torch.ones(6, SIZE, SIZE, dtype=torch.uint8)

    def made():
        params = augmenter.sample(6, 3, (SIZE, SIZE), generator())
        changed, moved = augmenter.apply(images, masks, torch.zeros(6, 3), torch.ones(6, 3), params)
        return mix_images(changed, params.mixing), moved, mix_rows(masks[:, 0, :2].float(), params.mixing)

    expected = made()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
