import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from medloom.metrics import hausdorff95, outline

pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning:monai")


def blobs(seed, shape=(40, 52)):
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.standard_normal(shape), 4) for _ in range(2)]
    return [field > np.quantile(field, 0.85) for field in smooth]


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0), (0.5, 2.25)])
@pytest.mark.parametrize("seed", range(4))
def test_hausdorff_agrees_with_monai(seed, spacing):
    truth, predicted = blobs(seed)
    expected = compute_hausdorff_distance(
        torch.tensor(predicted)[None, None].float(),
        torch.tensor(truth)[None, None].float(),
        percentile=95,
        spacing=None if spacing is None else list(spacing),
    )
    assert hausdorff95(truth, predicted, spacing) == pytest.approx(float(expected), rel=1e-5)


def test_hausdorff_of_volumes_agrees_with_monai():
    truth, predicted = blobs(9, (12, 20, 16))
    expected = compute_hausdorff_distance(
        torch.tensor(predicted)[None, None].float(),
        torch.tensor(truth)[None, None].float(),
        percentile=95,
        spacing=[3.0, 1.0, 1.0],
    )
    assert hausdorff95(truth, predicted, (3.0, 1.0, 1.0)) == pytest.approx(float(expected), rel=1e-5)


def test_masks_that_reach_the_border_of_the_image_have_an_outline_there():
    full = np.ones((5, 6), bool)
    assert outline(full).sum() == 5 * 6 - 3 * 4
    assert hausdorff95(full, full) == 0.0


def test_distance_is_symmetric_and_grows_with_the_spacing():
    truth, predicted = blobs(5)
    assert hausdorff95(truth, predicted) == hausdorff95(predicted, truth)
    assert hausdorff95(truth, predicted, (2.0, 2.0)) == pytest.approx(2 * hausdorff95(truth, predicted))


def test_distance_to_or_from_an_empty_mask_is_not_a_number():
    empty, full = np.zeros((6, 6)), np.ones((6, 6))
    assert all(math.isnan(hausdorff95(*pair)) for pair in ((empty, empty), (empty, full), (full, empty)))


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        hausdorff95(np.ones((2, 3)), np.ones((3, 2)))
