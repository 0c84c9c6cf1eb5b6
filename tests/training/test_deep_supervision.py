"""A network that learns at several scales is trained, kept, loaded and asked like any other."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.models.kinds import build_network
from medloom.models.networks import build_mask_network
from medloom.packaging.export import export_onnx
from medloom.recipe import MasksRecipe
from medloom.targets import Target
from medloom.training import load_best, train
from medloom.transforms.augment import normalise

pytestmark = pytest.mark.usefixtures("one_thread")
ARGS = {"filters": [4, 8, 8, 8], "norm_name": "BATCH"}


NESTED = {"name": "smp-unet++", "encoder": "test_resnet", "args": {"decoder_channels": [16, 8, 8, 8, 8]}}


def deep(make_recipe, **settings):
    plain = make_recipe(epochs=3, averaging="ema", ema_decay=0.5).plain()
    plain["model"] = {"name": "dynunet", "args": ARGS, "deep_supervision": True, **settings}
    return MasksRecipe.model_validate(plain)


def nested(**args):
    torch.manual_seed(0)
    return build_mask_network(
        "smp-unet++", 2, 3, (64, 64), {**NESTED["args"], **args}, encoder="test_resnet", deep_supervision=True
    )


@pytest.mark.parametrize(
    ("settings", "part", "count"),
    # Two scales beside the finest, and three networks nested in that of five levels; weight and bias.
    [({}, "deep_supervision_heads", 4), (NESTED, "nested.heads", 6)],
)
def test_every_answer_is_learned_and_given_is_the_networks_own(
    store, catalogue, make_recipe, tmp_path, settings, part, count
):
    recipe = deep(make_recipe, **settings)
    train(recipe, catalogue, store, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    best, fresh = load_best(tmp_path, recipe), build_network(recipe, 2, 0)
    rows = np.arange(4)
    parts = [torch.from_numpy(np.asarray(array[rows])) for array in (store.images, store.offset, store.scale)]
    assert best(normalise(*parts)).shape == (4, 1, 32, 32)
    heads = [name for name in best.state_dict() if part in name]
    assert len(heads) == count
    assert all(not torch.equal(best.state_dict()[name], fresh.state_dict()[name]) for name in heads)


@pytest.mark.parametrize("name", ["dynunet", "smp-unet++"])
def test_a_network_can_be_copied_after_a_step(name):
    scales = build_mask_network("dynunet", 2, 3, (32, 32), ARGS, deep_supervision=True)
    network, size = (scales, 32) if name == "dynunet" else (nested(), 64)
    logits = network(torch.randn(2, 2, size, size))
    assert logits.shape == (2, 3 if name == "dynunet" else 4, 3, size, size)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    copied = copy.deepcopy(network)
    assert copied(torch.randn(2, 2, size, size)).shape == logits.shape
    copied, images = copy.deepcopy(network).eval(), torch.randn(1, 2, size, size)
    assert torch.equal(copied(images), network.eval()(images))


def test_the_nested_networks_of_a_unet_answer_from_their_own_depth_alone():
    network, images = nested(), torch.randn(2, 2, 64, 64)
    network.body.eval()  # statistics of batches would differ with what is changed below
    decoder, features = network.body.decoder, network.body.encoder(images)

    def answers(changed):
        given = [torch.zeros_like(one) if index in changed else one for index, one in enumerate(features)]
        return network.nested(network.body.segmentation_head(decoder(given))).unbind(1)

    whole = answers(())
    torch.testing.assert_close(network(images), torch.stack(whole, 1))
    for level, same in ((5, 3), (4, 2), (3, 1), (2, 0)):  # the level is not there for so many of the three
        parts = [torch.equal(one, other) for one, other in zip(whole, answers((level,)), strict=True)]
        assert parts == [False] * (4 - same) + [True] * same
    block = decoder.blocks["x_1_3"]
    block.register_forward_hook(lambda _block, _given, output: seen.append(output))
    seen = []
    second = network(images)[:, 1]
    layer = network.nested.heads[0].layer
    expected = torch.einsum("nchw,kc->nkhw", seen[0], layer.weight[:, :, 0, 0]) + layer.bias[:, None, None]
    torch.testing.assert_close(second, functional.interpolate(expected, (64, 64), mode="bilinear"))


def test_outside_of_training_a_nested_network_answers_as_the_same_without():
    network, images = nested(), torch.randn(3, 2, 64, 64)
    network(images)
    plain = build_mask_network("smp-unet++", 2, 3, (64, 64), NESTED["args"], encoder="test_resnet").eval()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if "nested" not in key})
    assert torch.equal(network.eval()(images), plain(images))


@pytest.mark.slow
def test_a_nested_network_is_exported_with_its_own_answer_alone(tmp_path):
    network, images = nested().eval(), torch.randn(3, 2, 64, 64)
    target = Target("masks", ("background", "a", "b"))
    file = export_onnx(network, tmp_path / "model.onnx", channels=2, size=(64, 64), target=target)
    with torch.no_grad():
        expected = network(images)
    np.testing.assert_allclose(OnnxRuntime.open(file).run(images.numpy()), expected.softmax(1), atol=1e-5)


@pytest.mark.slow
def test_a_compiled_nested_network_answers_as_it_does():
    network, images = nested(), torch.randn(2, 2, 64, 64)
    network.body.eval()
    expected = network.forward(images)
    network.compile(backend="eager")
    torch.testing.assert_close(network(images), expected)
    assert all(head.heard is None for head in network.nested.heads)


def test_without_it_the_network_is_the_one_it_was(make_recipe):
    torch.manual_seed(0)
    plain = build_network(deep(make_recipe, deep_supervision=False), 2, 0).state_dict()
    assert not [name for name in plain if "head" in name]


def test_a_network_that_gives_one_scale_or_is_told_past_the_loss_is_refused(make_recipe):
    with pytest.raises(
        ValueError, match=r"model\.deep_supervision: it acts only with model.name=dynunet or smp-unet\+\+"
    ):
        deep(make_recipe, name="unet", args={})
    with pytest.raises(RecipeError, match=r"set model\.deep_supervision"):
        build_mask_network("dynunet", 2, 1, (32, 32), {**ARGS, "deep_supervision": True})
    with pytest.raises(RecipeError, match=r"set model\.deep_supervision"):
        nested(deep_supervision=True)
    shallow = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    with pytest.raises(RecipeError, match=r"no shallower network within this one; .*model\.args\.encoder_depth"):
        build_mask_network("smp-unet++", 2, 1, (64, 64), shallow, encoder="test_convnext", deep_supervision=True)
