"""The boundary loss against distances that are taken by hand."""

import numpy as np
import pytest
import torch
from monai.transforms import DistanceTransformEDT

from medloom.models.boundary import BoundaryLoss, signed_distances
from medloom.models.losses import build_mask_loss
from medloom.targets import IGNORED


def example(outputs, count=3):
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(count, 20, 24, dtype=torch.uint8)
    target[:, 4:12, 3:9] = 1
    target[:, 13:18, 12:20] = max(outputs - 1, 1)
    target[1] = 0
    return torch.randn(count, outputs, 20, 24, generator=generator), target


def nearest(mask, wanted):
    """Distance of each pixel to the nearest that is ``wanted``, by trying all."""
    places = np.argwhere(mask == wanted)
    rows, columns = np.indices(mask.shape)
    return np.sqrt(((np.stack([rows, columns], -1)[:, :, None] - places) ** 2).sum(-1)).min(-1)


def test_distances_are_above_zero_outside_and_below_inside():
    mask = np.zeros((9, 11), bool)
    mask[2:7, 3:8] = True
    expected = np.where(mask, 1 - nearest(mask, False), nearest(mask, True))
    np.testing.assert_allclose(signed_distances(mask[None, None])[0, 0], expected, rtol=1e-6)
    assert expected[2, 3] == 0
    assert expected[4, 5] == -2
    assert expected[2, 0] == 3
    theirs = DistanceTransformEDT()(torch.from_numpy(~mask[None]))[0]
    np.testing.assert_allclose(np.where(mask, 0, expected), theirs, rtol=1e-6)


@pytest.mark.parametrize("value", [False, True])
def test_without_an_outline_there_is_no_distance(value):
    assert not signed_distances(np.full((1, 1, 6, 6), value)).any()


@pytest.mark.parametrize("outputs", [1, 4])
def test_the_loss_is_the_mean_of_probability_times_distance_over_the_foreground_classes(outputs):
    logits, target = example(outputs)
    shares = logits.sigmoid() if outputs == 1 else logits.softmax(1)[:, 1:]
    total = 0.0
    for number in range(len(target)):
        for column in range(shares.shape[1]):
            mask = target[number].numpy() == column + 1
            if mask.any():
                distance = np.where(mask, 1 - nearest(mask, False), nearest(mask, True))
                total += float((shares[number, column].numpy() * distance).sum())
    assert BoundaryLoss()(logits, target).item() == pytest.approx(total / shares.numel(), rel=1e-5)


def test_an_image_without_foreground_and_a_batch_without_known_pixels_teach_nothing():
    logits, target = example(1)
    target[2] = IGNORED
    logits.requires_grad_()
    BoundaryLoss()(logits, target).backward()
    assert bool((logits.grad[1:] == 0).all())
    assert bool((logits.grad[0] != 0).any())
    assert BoundaryLoss()(logits, torch.full_like(target, IGNORED)).item() == 0.0


def test_ignored_pixels_are_no_foreground_and_count_nowhere():
    logits, target = example(1)
    target[0, 4:12, 3:5] = IGNORED
    known = target != IGNORED
    expected = signed_distances((target == 1)[:, None].numpy())[:, 0] * logits.sigmoid()[:, 0].numpy()
    value = BoundaryLoss()(logits, target).item()
    assert value == pytest.approx(expected[known].sum() / int(known.sum()), rel=1e-5)
    assert build_mask_loss("boundary", 1, ignores=True)(logits, target).item() == value


def test_half_precision_logits_give_the_float32_loss():
    logits, target = example(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = BoundaryLoss()(logits.bfloat16(), target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(float(BoundaryLoss()(logits.bfloat16().float(), target)))


def test_moving_an_answer_towards_the_truth_costs_less_and_less():
    target = example(1)[1][:1]
    target[0, 13:] = 0
    answers = [20.0 * (2 * target.roll(shift, 2)[:, None].float() - 1) for shift in (12, 6, 2, 0)]
    values = [BoundaryLoss()(answer, target).item() for answer in answers]
    assert values == sorted(values, reverse=True)
