from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from medloom.targets import IGNORED
from medloom.training.mask_scores import MaskScores, sample_scores


def logits_of(masks: torch.Tensor, classes: int) -> torch.Tensor:
    """Confident logits that predict exactly ``masks``."""
    if classes == 2:
        return torch.where(masks[:, None] > 0, 5.0, -5.0)
    return 5.0 * torch.nn.functional.one_hot(masks.long(), classes).permute(0, 3, 1, 2).float()


def masks_of(seed: int, classes: int, count: int = 8) -> torch.Tensor:
    masks = np.random.default_rng(seed).integers(0, classes, (count, 12, 12)).astype(np.uint8)
    masks[::3] = 0
    return torch.from_numpy(masks)


@pytest.mark.parametrize("classes", [2, 4])
def test_dice_is_monais_dice_over_the_classes_in_the_truth(classes):
    truth, predicted = masks_of(0, classes), masks_of(1, classes)
    one_hot = [torch.nn.functional.one_hot(m.long(), classes).permute(0, 3, 1, 2)[:, 1:] for m in (predicted, truth)]
    expected = torch.nanmean(DiceMetric()(*one_hot), dim=1)  # NaN for a class that is not in the truth
    filled = truth.flatten(1).amax(1) > 0
    ours = sample_scores(logits_of(predicted, classes), truth)
    assert torch.allclose(ours[filled, 0], expected[filled].double())
    assert torch.equal(ours[:, 2].bool(), filled)


def test_metrics_over_batches_are_metrics_over_all():
    truth, predicted = masks_of(0, 2, 10), masks_of(3, 2, 10)
    logits = logits_of(predicted, 2)
    whole, parts = MaskScores(torch.device("cpu")), MaskScores(torch.device("cpu"))
    whole.add(torch.tensor(0.5), logits, truth)
    for cut in (slice(0, 4), slice(4, 10)):
        parts.add(torch.tensor(0.5), logits[cut], truth[cut])
    assert whole.metrics() == pytest.approx(parts.metrics())


def test_empty_images_count_as_one_when_left_empty_and_as_a_false_positive_otherwise():
    truth = torch.zeros(4, 6, 6, dtype=torch.uint8)
    truth[0, 2:4, 2:4] = 1
    predicted = truth.clone()
    predicted[3, 0, 0] = 1
    scores = MaskScores(torch.device("cpu"))
    scores.add(torch.tensor(1.0), logits_of(predicted, 2), truth)
    metrics = scores.metrics()
    assert metrics["dice_foreground"] == 1.0
    assert metrics["dice_all"] == pytest.approx(3 / 4)
    assert metrics["false_positive_rate"] == pytest.approx(1 / 3)
    assert metrics["dice_balanced"] == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(("value", "missing"), [(0, "dice_foreground"), (1, "false_positive_rate")])
def test_without_foreground_or_without_empty_images_balanced_is_the_other_half(value, missing):
    truth = torch.full((2, 4, 4), value, dtype=torch.uint8)
    scores = MaskScores(torch.device("cpu"))
    scores.add(torch.tensor(1.0), logits_of(truth, 2), truth)
    metrics = scores.metrics()
    assert math.isnan(metrics[missing])
    assert metrics["dice_balanced"] == 1.0


def test_a_probability_of_one_half_is_foreground():
    ones = torch.ones(1, 4, 4, dtype=torch.uint8)
    assert sample_scores(torch.zeros(1, 1, 4, 4), ones)[0, 0] == 1.0


@pytest.mark.parametrize("classes", [2, 4])
def test_ignored_pixels_are_in_no_score(classes):
    truth, predicted = masks_of(0, classes), masks_of(1, classes)
    predicted[0] = 1  # of an image without foreground
    known = torch.zeros(12, 12, dtype=torch.bool)
    known[2:9, 1:11] = True
    ignoring = torch.where(known, truth, IGNORED)
    cut = (slice(None), slice(2, 9), slice(1, 11))
    logits = logits_of(predicted, classes)
    expected = sample_scores(logits[:, :, 2:9, 1:11], truth[cut])
    assert torch.equal(sample_scores(logits, ignoring), expected)
    only_ignored = torch.where(known, 0, predicted)
    only_ignored[:] = torch.where(known, 0, 1)
    scores = sample_scores(logits_of(only_ignored, classes), ignoring)
    assert not scores[:, 3].any()
