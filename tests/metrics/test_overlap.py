import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou

from medloom.metrics import dice_from_counts, iou_from_counts


def masks(seed, density=0.3):
    rng = np.random.default_rng(seed)
    return rng.random((24, 31)) < density, rng.random((24, 31)) < density


def counts(truth, predicted):
    return (truth & predicted).sum(), truth.sum(), predicted.sum()


@pytest.mark.parametrize("seed", range(5))
def test_dice_and_iou_agree_with_monai(seed):
    truth, predicted = masks(seed)
    y, y_pred = torch.tensor(truth)[None, None].float(), torch.tensor(predicted)[None, None].float()
    assert dice_from_counts(*counts(truth, predicted)) == pytest.approx(float(compute_dice(y_pred, y)), abs=1e-6)
    assert iou_from_counts(*counts(truth, predicted)) == pytest.approx(float(compute_iou(y_pred, y)), abs=1e-6)


@pytest.mark.parametrize("metric", [dice_from_counts, iou_from_counts])
def test_two_empty_masks_agree_and_one_empty_mask_does_not(metric):
    assert metric(overlap=[0, 0, 0, 16], truth=[0, 0, 16, 16], predicted=[0, 16, 0, 16]).tolist() == [
        1.0,
        0.0,
        0.0,
        1.0,
    ]


def test_summed_counts_give_the_metric_of_the_stacked_volume():
    pairs = [masks(seed, density) for seed, density in enumerate((0.1, 0.3, 0.6))]
    stacked = [np.stack(side) for side in zip(*pairs, strict=True)]
    summed = np.sum([counts(*pair) for pair in pairs], axis=0)
    assert dice_from_counts(*summed) == dice_from_counts(*counts(*stacked))
    y, y_pred = (torch.tensor(side)[None, None].float() for side in stacked)
    assert dice_from_counts(*summed) == pytest.approx(float(compute_dice(y_pred, y)), abs=1e-6)
