import numpy as np
import pytest
import torch
from scipy import stats

import medloom.models.operators  # noqa: F401 - before MONAI
from medloom.metrics import rank_correlation, structural_similarity


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    one = np.round(rng.random((40, 56)), 1)  # with ties
    return one, np.clip(one + rng.normal(scale=0.3, size=one.shape), 0, 1)


def test_the_rank_correlation_is_spearmans(maps):
    one, other = maps
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic)
    assert rank_correlation(one, one) == pytest.approx(1.0)
    assert rank_correlation(one, -(one**3)) == pytest.approx(-1.0)
    assert np.isnan(rank_correlation(one, np.zeros_like(one)))


@pytest.mark.parametrize("value_range", [1.0, 2.0])
def test_the_structural_similarity_is_monais(maps, value_range):
    from monai.metrics import SSIMMetric

    pair = [torch.from_numpy(values)[None, None].double() for values in maps]
    reference = SSIMMetric(spatial_dims=2, data_range=value_range, win_size=11, kernel_sigma=1.5)(*pair)
    assert structural_similarity(*maps, value_range) == pytest.approx(float(reference), abs=1e-4)
    assert structural_similarity(maps[0], maps[0], value_range) == pytest.approx(1.0)


def test_maps_that_are_too_small_have_none():
    assert np.isnan(structural_similarity(np.ones((8, 40)), np.ones((8, 40)), 1.0))
