"""How weights lie in memory changes how fast a step is, and by rounding alone what comes out."""

from __future__ import annotations

import json

import pytest
import torch

from medloom.models.kinds import build_network
from medloom.models.losses import build_mask_loss
from medloom.recipe import load_recipe
from medloom.registry import LOSSES, names_for
from medloom.training import load_best, train
from medloom.training.checkpoint import BEST
from medloom.training.fit import build_data, build_module
from medloom.training.loop import plan_job
from medloom.training.precision import choose_channels_last
from medloom.training.schedule import build_optimizer
from medloom.training.tree import read_tree, write_tree

BATCH = {"name": "unet", "args": {"channels": [4, 8], "num_res_units": 1, "norm": "BATCH"}}


def with_model(recipe, model):
    return type(recipe).model_validate({**recipe.plain(), "model": model})


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("brain-mri-small", [], True),
        ("brain-mri-small", ["model.args.norm=INSTANCE"], False),
        ("brain-mri-small", ["model.args={}", "model.name=segresnet"], False),
        ("chest-xray", [], True),
        ("chest-xray", ["model.name=test_vit", "preprocess.size=[160,160]", "preprocess.crop=null"], False),
    ],
)
def test_auto_takes_it_for_networks_that_normalise_by_batches_alone(name, settings, expected):
    recipe = load_recipe(name, settings)
    network = build_network(recipe, 3, 0)
    assert choose_channels_last("auto", network) is expected
    assert choose_channels_last(not expected, network) is not expected
    assert not choose_channels_last("auto", network, compiled=True)  # the compiler orders memory itself


@pytest.mark.parametrize("wanted", [True, False])
def test_the_weights_and_their_average_lie_as_the_recipe_says(store, catalogue, make_recipe, tmp_path, wanted):
    recipe = with_model(make_recipe(channels_last=wanted, averaging="ema"), BATCH)
    job = plan_job(recipe, catalogue, store, tmp_path)
    module = build_module(recipe, build_data(job, store), "32")
    kernels = [weight for weight in module.parameters() if weight.dim() == 4 and min(weight.shape[1:]) > 1]
    assert len(kernels) > 4
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) is wanted for kernel in kernels)


def test_a_training_agrees_with_one_of_the_other_order_and_leaves_the_same_files(
    store, catalogue, make_recipe, tmp_path
):
    lines, networks = {}, {}
    for wanted in (True, False):
        recipe = with_model(make_recipe(epochs=2, averaging="ema", channels_last=wanted), BATCH)
        train(recipe, catalogue, store, tmp_path / str(wanted))
        text = (tmp_path / str(wanted) / "metrics.jsonl").read_text("utf-8")
        lines[wanted] = [json.loads(line)["train_loss"] for line in text.splitlines()]
        networks[wanted] = load_best(tmp_path / str(wanted), recipe)
    assert lines[True] == pytest.approx(lines[False], rel=1e-3)
    assert all(weight.is_contiguous() for weight in networks[True].parameters())
    images = torch.from_numpy(store.images[:4].astype("float32") / 128 - 1)
    with torch.no_grad():
        torch.testing.assert_close(networks[True](images), networks[False](images), rtol=0.05, atol=0.05)
    first, second = (read_tree(tmp_path / name / BEST)["network"] for name in ("True", "False"))
    assert {name: value.shape for name, value in first.items()} == {k: v.shape for k, v in second.items()}


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_an_optimizer_goes_on_from_its_file_to_the_same_bits(tmp_path, name):
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def begin():
        torch.manual_seed(0)
        network = torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
        return network, build_optimizer(network.parameters(), name=name, fused=True)

    def steps(network, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()

    whole = begin()
    steps(*whole, 4)
    first, second = begin(), begin()
    steps(*first, 2)
    write_tree(tmp_path / "state", {"network": first[0].state_dict(), "optimizer": first[1].state_dict()})
    saved = read_tree(tmp_path / "state")
    second[0].load_state_dict(saved["network"])
    second[1].load_state_dict(saved["optimizer"])
    steps(*second, 2)
    assert torch.equal(second[0].weight, whole[0].weight)


@pytest.mark.parametrize("name", names_for(LOSSES, "masks"))
def test_every_loss_for_masks_takes_logits_in_that_order(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 16, 16), generator=generator)
    truth = torch.randint(0, 3, (2, 16, 16), generator=generator)
    loss = build_mask_loss(name, 3, {"terms": [{"name": "dice-ce"}]} if name == "compound" else None)
    given = logits.to(memory_format=torch.channels_last).requires_grad_()
    value = loss(given, truth)
    value.backward()
    torch.testing.assert_close(value.detach(), loss(logits, truth), rtol=1e-5, atol=1e-6)
