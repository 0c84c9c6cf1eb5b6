"""What of a backbone is trained, when and how fast, for labels and masks alike, beside plain computations."""

import numpy as np
import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.errors import RecipeError
from medloom.models.classifier import build_classifier
from medloom.models.networks import build_mask_network
from medloom.models.tuning import Tuning
from medloom.training.schedule import Cosine, build_optimizer, cosine_factor

SIZE = (64, 64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def labels(encoder="test_resnet", **tuning):
    return build_classifier(encoder, in_channels=3, outputs=2, size=SIZE, tuning=Tuning(**tuning))


def masks(encoder="test_resnet", name="smp-unet", **tuning):
    return build_mask_network(name, 3, 1, SIZE, encoder=encoder, tuning=Tuning(**tuning))


BOTH = pytest.mark.parametrize("build", [labels, masks])


def backbone_of(network):
    return network.get_submodule(network._inside)


def scales(network, lr=0.5):
    """The share of each trained parameter's rate, by its place in memory."""
    groups = network.parameter_groups(lr)
    assert all(group["lr"] == pytest.approx(lr * group["lr_scale"]) for group in groups)
    return {id(one): group["lr_scale"] for group in groups for one in group["params"]}


@BOTH
def test_by_default_everything_learns_at_one_rate(build):
    network = build()
    assert set(scales(network).values()) == {1.0}
    assert scales(network).keys() == {id(one) for one in network.parameters()}
    assert [group["name"] for group in network.parameter_groups(1.0)] == ["head", "backbone"]


@BOTH
def test_each_block_learns_slower_than_the_next(build):
    network = build(layer_decay=0.5, backbone_rate=0.2)
    inner, rates = {id(one) for one in backbone_of(network).parameters()}, scales(network)
    assert {rate for key, rate in rates.items() if key not in inner} == {1.0}
    named = {name: rates[id(one)] for name, one in backbone_of(network).named_parameters()}
    for name, rate in named.items():
        stage = int(name.partition("layer")[2][:1] or 0)  # layer1 to layer4, and the stem before them
        assert rate == pytest.approx(0.2 * 0.5 ** (5 - stage)), name


def test_the_rates_of_a_vision_transformer_are_those_of_timm():
    network = build_classifier("test_vit", in_channels=3, outputs=2, size=(160, 160), tuning=Tuning(layer_decay=0.7))
    theirs = timm.create_model("test_vit", num_classes=2)
    groups = param_groups_layer_decay(theirs, weight_decay=0.0, layer_decay=0.7)
    expected = {id(one): group["lr_scale"] for group in groups for one in group["params"]}
    rates = scales(network)
    for name, one in network.backbone.named_parameters():
        if name.startswith("blocks") or "embed" in name:
            assert rates[id(one)] == pytest.approx(expected[id(theirs.get_parameter(name))]), name


def test_an_encoder_for_masks_has_the_blocks_that_it_has_for_labels():
    for encoder in ("test_resnet", "test_efficientnet", "test_convnext"):
        one, other = labels(encoder), masks(encoder)
        theirs = [{name.removeprefix("backbone.").replace(".", "_") for name in part} for part in one._blocks]
        mine = [{name.removeprefix("body.encoder.model.").replace(".", "_") for name in part} for part in other._blocks]
        assert [small & large for small, large in zip(mine, theirs, strict=True)] == mine


@pytest.mark.parametrize(
    ("encoder", "name", "count"),
    [("mit_b0", "smp-segformer", 4), ("mobilenet_v2", "smp-unet", 19), (None, "flexible-unet", 8)],
)
def test_other_encoders_have_blocks_from_the_image_on(encoder, name, count):
    network = build_mask_network(name, 3, 1, SIZE, encoder=encoder, tuning=Tuning(tune="blocks", blocks=1))
    assert len(network._blocks) == count
    names = [one for part in network._blocks for one in part]
    assert len(names) == len(set(names))
    trained = {name for name, one in backbone_of(network).named_parameters() if one.requires_grad}
    assert {f"{network._inside}.{name}" for name in trained} == set(network._blocks[-1])


@BOTH
@pytest.mark.parametrize(
    ("keys", "open_blocks"),
    [
        ({"head_epochs": 2}, [0, 0, 5, 5]),
        ({"unfreeze_every": 1}, [0, 1, 2, 3]),
        ({"tune": "blocks", "blocks": 2, "head_epochs": 1}, [0, 2, 2, 2]),
        ({"tune": "head"}, [0, 0, 0, 0]),
    ],
)
def test_blocks_are_frozen_by_the_epoch_alone(build, keys, open_blocks):
    network = build(**keys)
    for epoch in (3, 0, 2, 1):  # whatever came before
        network.set_epoch(epoch)
        flags = [{network.get_parameter(name).requires_grad for name in part} for part in network._blocks]
        assert flags == [{index >= 5 - open_blocks[epoch]} for index in range(5)]
    inner = {id(one) for one in backbone_of(network).parameters()}
    assert all(one.requires_grad for one in network.parameters() if id(one) not in inner)


@BOTH
def test_a_frozen_start_leaves_the_backbone_to_the_last_bit_and_then_it_learns(build):
    network = build(head_epochs=1)
    optimizer = build_optimizer(network.parameter_groups(0.1), name="adamw", lr=0.1, weight_decay=0.1)

    def step(epoch):
        network.set_epoch(epoch)
        network.train()
        optimizer.zero_grad()
        network(torch.randn(2, 3, *SIZE)).square().mean().backward()
        optimizer.step()
        return {name: value.clone() for name, value in backbone_of(network).state_dict().items()}

    before = {name: value.clone() for name, value in backbone_of(network).state_dict().items()}
    frozen, learned = step(0), step(1)
    assert all(torch.equal(frozen[name], before[name]) for name in before)
    assert all(not torch.equal(learned[name], before[name]) for name in before if name.endswith("running_mean"))
    assert any(not torch.equal(learned[name], before[name]) for name in before if name.endswith("conv1.weight"))


@BOTH
def test_frozen_statistics_stay_and_their_weights_learn(build):
    network = build(freeze_statistics=True).train()
    norms = [module for module in backbone_of(network).modules() if isinstance(module, _BatchNorm)]
    before = [norm.running_mean.clone() for norm in norms]
    network(torch.randn(2, 3, *SIZE)).square().mean().backward()
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    assert all(norm.weight.grad is not None for norm in norms)
    others = [m for m in network.modules() if isinstance(m, _BatchNorm) and m not in norms]
    assert all(norm.training for norm in others)


@BOTH
def test_the_schedule_keeps_the_shares(build):
    network = build(layer_decay=0.5)
    optimizer = build_optimizer(network.parameter_groups(0.1), lr=0.1)
    schedule = Cosine(0.1, 20, 0.1)
    for step in (0, 7, 19):
        schedule.before_step(optimizer, step)
        expected = [0.1 * cosine_factor(step, 20, 0.1) * group["lr_scale"] for group in optimizer.param_groups]
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], expected)


@BOTH
def test_more_blocks_than_there_are_are_refused(build):
    with pytest.raises(RecipeError, match=r"model\.blocks: 9 .*at most 5"):
        build(tune="blocks", blocks=9)


@pytest.mark.parametrize(
    ("name", "encoder"), [("smp-dpt", "test_vit"), ("smp-unet", "test_efficientnet"), ("flexible-unet", None)]
)
def test_what_no_answer_depends_on_is_not_trained(name, encoder):
    """Several processes would wait for its gradient for ever."""
    network = build_mask_network(name, 3, 1, SIZE, encoder=encoder).train()
    network(torch.randn(2, 3, *SIZE)).sum().backward()
    assert [key for key, one in network.named_parameters() if one.requires_grad and one.grad is None] == []
    grouped = {id(one) for group in network.parameter_groups(1.0) for one in group["params"]}
    assert grouped == {id(one) for one in network.parameters() if one.requires_grad}
