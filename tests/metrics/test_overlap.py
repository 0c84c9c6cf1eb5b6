import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou

from medloom.metrics import dice, dice_from_counts, iou, iou_from_counts


def masks(seed, density=0.3):
    rng = np.random.default_rng(seed)
    return rng.random((24, 31)) < density, rng.random((24, 31)) < density


@pytest.mark.parametrize("seed", range(5))
def test_dice_and_iou_agree_with_monai(seed):
    truth, predicted = masks(seed)
    y, y_pred = torch.tensor(truth)[None, None].float(), torch.tensor(predicted)[None, None].float()
    assert dice(truth, predicted) == pytest.approx(float(compute_dice(y_pred, y)), abs=1e-6)
    assert iou(truth, predicted) == pytest.approx(float(compute_iou(y_pred, y)), abs=1e-6)


def test_two_empty_masks_agree_and_one_empty_mask_does_not():
    empty, full = np.zeros((4, 4)), np.ones((4, 4))
    assert dice(empty, empty) == iou(empty, empty) == 1.0
    assert dice(empty, full) == dice(full, empty) == iou(full, empty) == 0.0
    assert dice(full, full) == iou(full, full) == 1.0


def test_summed_counts_give_the_figure_of_the_stacked_volume():
    pairs = [masks(seed, density) for seed, density in enumerate((0.1, 0.3, 0.6))]
    truth, predicted = (np.stack(side) for side in zip(*pairs, strict=True))
    counts = (truth & predicted).sum(), truth.sum(), predicted.sum()
    assert dice_from_counts(*counts) == pytest.approx(dice(truth, predicted))
    assert iou_from_counts(*counts) == pytest.approx(iou(truth, predicted))


@pytest.mark.parametrize("figure", [dice, iou])
def test_masks_of_different_shape_are_refused_with_both_shapes(figure):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        figure(np.ones((2, 3)), np.ones((3, 2)))
