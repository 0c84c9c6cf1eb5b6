"""A network that learns at several scales is trained, kept, loaded and asked like any other."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from medloom.errors import RecipeError
from medloom.models.kinds import build_network
from medloom.models.networks import build_mask_network
from medloom.recipe import MasksRecipe
from medloom.training import load_best, train
from medloom.transforms.augment import normalise

pytestmark = pytest.mark.usefixtures("one_thread")
ARGS = {"filters": [4, 8, 8, 8], "norm_name": "BATCH"}


def deep(make_recipe, **settings):
    plain = make_recipe(epochs=3, averaging="ema", ema_decay=0.5).plain()
    plain["model"] = {"name": "dynunet", "args": ARGS, "deep_supervision": True, **settings}
    return MasksRecipe.model_validate(plain)


def test_every_scale_is_learned_and_the_answer_is_that_of_the_finest(store, catalogue, make_recipe, tmp_path):
    recipe = deep(make_recipe)
    train(recipe, catalogue, store, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    best, fresh = load_best(tmp_path, recipe), build_network(recipe, 2, 0)
    rows = np.arange(4)
    parts = [torch.from_numpy(np.asarray(array[rows])) for array in (store.images, store.offset, store.scale)]
    assert best(normalise(*parts)).shape == (4, 1, 32, 32)
    heads = [name for name in best.state_dict() if "deep_supervision_heads" in name]
    assert len(heads) == 4  # two scales beside the finest, weight and bias
    assert all(not torch.equal(best.state_dict()[name], fresh.state_dict()[name]) for name in heads)


def test_a_network_can_be_copied_after_a_step():
    network = build_mask_network("dynunet", 2, 3, (32, 32), ARGS, deep_supervision=True)
    logits = network(torch.randn(2, 2, 32, 32))
    assert logits.shape == (2, 3, 3, 32, 32)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    copied = copy.deepcopy(network).eval()
    images = torch.randn(1, 2, 32, 32)
    assert torch.equal(copied(images), network.eval()(images))


def test_without_it_the_network_is_the_one_it_was(make_recipe):
    torch.manual_seed(0)
    plain = build_network(deep(make_recipe, deep_supervision=False), 2, 0).state_dict()
    assert not [name for name in plain if "head" in name]


def test_a_network_that_gives_one_scale_or_is_told_past_the_loss_is_refused(make_recipe):
    with pytest.raises(ValueError, match=r"model\.deep_supervision: it acts only with model.name=dynunet"):
        deep(make_recipe, name="unet", args={})
    with pytest.raises(RecipeError, match=r"set model\.deep_supervision"):
        build_mask_network("dynunet", 2, 1, (32, 32), {**ARGS, "deep_supervision": True})
