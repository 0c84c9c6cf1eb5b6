from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medloom.training.batches import DevicePixels, HostPixels, Loader, Shard
from medloom.training.samples import Samples
from medloom.training.schedule import build_optimizer, cosine_factor
from medloom.training.seeds import epoch_order, step_generator, step_seed


@given(st.integers(2, 60), st.integers(0, 2**40), st.integers(0, 500))
def test_every_sample_comes_once_an_epoch(count, seed, epoch):
    order = epoch_order(np.arange(count) % 3 == 0, seed, epoch)
    assert sorted(order.tolist()) == list(range(count))


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_oversampling_draws_the_share_and_repeats_evenly(seed, share):
    positive = np.arange(40) < 9
    order = epoch_order(positive, seed, 0, share)
    assert len(order) == 40
    assert positive[order].sum() == round(share * 40)
    for group in (positive, ~positive):
        visits = np.bincount(order, minlength=40)[group]
        assert visits.max() - visits.min() <= 1


def test_order_and_randomness_follow_from_seed_and_position_alone():
    positive = np.arange(30) < 10
    assert np.array_equal(epoch_order(positive, 3, 5), epoch_order(positive, 3, 5))
    assert not np.array_equal(epoch_order(positive, 3, 5), epoch_order(positive, 3, 6))
    assert not np.array_equal(epoch_order(positive, 3, 5), epoch_order(positive, 4, 5))
    assert torch.equal(torch.rand(3, generator=step_generator(1, 2)), torch.rand(3, generator=step_generator(1, 2)))
    assert len({step_seed(1, step, rank) for step in range(50) for rank in range(3)}) == 150


@given(st.integers(1, 300), st.floats(0, 0.99))
def test_cosine_rises_then_falls_and_no_step_is_wasted(steps, warmup):
    factors = [cosine_factor(step, steps, warmup) for step in range(steps)]
    rising = round(warmup * steps)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:rising] == sorted(factors[:rising])
    assert factors[rising:] == sorted(factors[rising:], reverse=True)
    assert max(factors) == 1.0


@pytest.mark.parametrize("settings", [{}, {"name": "sgd"}, {"name": "sgd", "momentum": 0}])
def test_each_optimiser_lowers_a_parabola(settings):
    weight = torch.nn.Parameter(torch.tensor(1.0))
    optimizer = build_optimizer([weight], **settings)
    weight.square().backward()
    optimizer.step()
    assert 0 < weight.item() < 1


def samples(dtype, context=None) -> Samples:
    generator = np.random.default_rng(0)
    return Samples(
        images=generator.integers(0, 255, (600, 1, 4, 4)).astype(dtype) * (257 if dtype == np.uint16 else 1),
        truth=generator.integers(0, 2, (600, 4, 4)).astype(np.uint8),
        table=np.zeros((600, 0), np.float32),
        offset=generator.normal(size=(600, 1)).astype(np.float32),
        scale=generator.normal(size=(600, 1)).astype(np.float32),
        positive=np.zeros(600, bool),
        context=context,
    )


@pytest.mark.parametrize("context", [None, np.random.default_rng(1).integers(0, 600, (600, 5))])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_are_the_same_from_the_files_and_from_the_device(dtype, context):
    store, cpu, rows = samples(dtype, context), torch.device("cpu"), np.array([599, 0, 257, 257])
    for one, other in zip(HostPixels(store, cpu).take(rows), DevicePixels(store, cpu).take(rows), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one.float(), other.float())
    expected = store.images[rows] if context is None else store.images[context[rows]][:, :, 0]
    assert np.array_equal(HostPixels(store, cpu).take(rows)[0].numpy(), expected)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(("count", "first"), [(10, 0), (10, 2), (9, 2), (3, 0), (10, 3)])
def test_a_loader_goes_on_at_its_batch_and_keeps_the_incomplete_last_one(count, first, ahead):
    pixels = HostPixels(samples(np.uint8), torch.device("cpu"))
    loader = Loader(pixels, lambda epoch: np.arange(count) + epoch, count, 4, Shard(), lambda: (7, first))
    expected = [list(range(start + 7, min(start + 4, count) + 7)) for start in range(4 * first, count, 4)]
    batches = loader._load_ahead([np.array(rows) for rows in expected]) if ahead else iter(loader)
    assert [batch.rows.tolist() for batch in batches] == expected


@given(st.integers(1, 20), st.integers(1, 6))
def test_shards_share_a_batch_without_gaps_and_none_is_empty(count, world):
    shards = [Shard(rank, world) for rank in range(world)]
    owned = [pick for shard in shards for pick in shard.picks(count)[: shard.owned(count)]]
    assert sorted(owned) == list(range(count))
    assert all(len(shard.picks(count)) >= 1 for shard in shards)
