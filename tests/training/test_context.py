"""Neighbouring slices become channels when a batch is taken; the store holds each slice once."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from medloom.errors import DataError
from medloom.training import load_best, train
from medloom.training.batches import DevicePixels, HostPixels
from medloom.training.masks import MaskTruth
from medloom.training.pace import measure_pace


def with_context(catalogue):
    ids = catalogue["sample_id"].tolist()
    beside = [[ids[max(row - 1, 0)], ids[min(row + 1, len(ids) - 1)]] for row in range(len(ids))]
    return catalogue.assign(context=[json.dumps(one) for one in beside])


@pytest.mark.parametrize("kind", [HostPixels, DevicePixels])
def test_a_batch_holds_the_channels_of_the_slices_beside_each(store, kind):
    context = np.stack([np.arange(-1, 33).clip(0), np.arange(34), np.arange(1, 35).clip(0, 33)], axis=1)
    samples = dataclasses.replace(MaskTruth().samples(store), context=context)
    assert samples.channels == 6
    rows = np.array([5, 0, 33])
    images, truth, _, offset, scale = kind(samples, torch.device("cpu")).take(rows)
    expected = [np.concatenate([store.images[one] for one in context[row]]) for row in rows]
    np.testing.assert_array_equal(images.numpy(), expected)
    np.testing.assert_array_equal(truth.numpy(), store.masks[rows])
    np.testing.assert_array_equal(offset.numpy(), [store.offset[context[row]].ravel() for row in rows])
    np.testing.assert_array_equal(scale.numpy(), [store.scale[context[row]].ravel() for row in rows])


def test_a_network_of_neighbouring_slices_learns_and_is_loaded_again(store, catalogue, make_recipe, tmp_path):
    recipe = make_recipe(epochs=1)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"context": 1})})
    assert measure_pace(recipe, with_context(catalogue), store).image_s > 0
    result = train(recipe, with_context(catalogue), store, tmp_path)
    assert result.finished
    network = load_best(tmp_path, recipe)
    assert network(torch.zeros(1, 6, 32, 32)).shape == (1, 1, 32, 32)
    with pytest.raises(DataError, match=r"not prepared with data\.context=1"):
        train(recipe, catalogue, store, tmp_path / "other")
