"""Batch normalisation over several processes is that of one process over the whole batch."""

from __future__ import annotations

import copy
import multiprocessing

import numpy as np
import pytest
import torch

import medloom.models.operators  # noqa: F401 - before timm, also where a process of its own imports this

# isort: split
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.errors import RecipeError
from medloom.training.batch_norm import Part, share_statistics

SHAPES = [(6, 4, 5, 7), (2, 4, 1, 1)]
LAYERS = [
    nn.BatchNorm2d(4),
    nn.BatchNorm2d(4, momentum=None, affine=False),
    nn.BatchNorm2d(4, track_running_stats=False),
    BatchNormAct2d(4, act_layer=nn.SiLU),
]


def given(shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)) * 3 + 1


def shared(layer, whole):
    network = nn.Sequential(copy.deepcopy(layer))
    assert share_statistics(network, Part(here=whole, owned=whole, whole=whole)) == 1
    return network[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layer", LAYERS, ids=["plain", "cumulative", "untracked", "timm"])
def test_in_one_process_it_is_the_layer_that_it_stands_for(layer, shape):
    mine, theirs = shared(layer, shape[0]), copy.deepcopy(layer)
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    for step in range(2):
        one, other = (given(shape).add(step).requires_grad_() for _ in range(2))
        answers = mine(one), theirs(other)
        torch.testing.assert_close(*answers)
        for answer in answers:
            (answer * torch.linspace(-1, 1, answer.numel()).view(shape)).sum().backward()
        torch.testing.assert_close(one.grad, other.grad, atol=2e-5, rtol=1e-4)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value)
    torch.testing.assert_close(mine.eval()(given(shape)), theirs.eval()(given(shape)))


def test_one_number_has_no_statistics():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        shared(nn.BatchNorm2d(4), 1)(given((1, 4, 1, 1)))


def test_a_layer_of_another_kind_is_refused_with_what_to_do():
    class Other(nn.BatchNorm2d):
        """Somebody's."""

    with pytest.raises(RecipeError, match=r"train\.devices: .* with Other, .* train\.devices=1"):
        share_statistics(nn.Sequential(Other(4)), Part())


def _take_part(rank, port, network, batch, parts, results):
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network = copy.deepcopy(network)  # what is sent lies in memory that all of them share
    part, picks = parts[rank]
    share_statistics(network, part)
    answer = network(batch[picks])
    (answer.square() * torch.arange(1.0, answer.numel() + 1).view_as(answer) * (part.owned > 0)).sum().backward()
    gradients = [weight.grad for weight in network.parameters()]
    for gradient in gradients:
        torch.distributed.all_reduce(gradient)
    results.put((rank, [gradient.numpy() for gradient in gradients], network[1].running_var.numpy()))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    "picks", [([0, 1, 2], [3, 4]), ([0], [0])], ids=["shares of different size", "one sample for two processes"]
)
def test_two_processes_have_the_gradients_and_running_statistics_of_one(picks):
    from medloom.training.processes import _free_port

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Conv2d(3, 1, 1))
    whole = len({one for part in picks for one in part})
    batch = given((whole, 2, 6, 6))
    owned = [len(picks[0]), 0 if picks[0] == picks[1] else len(picks[1])]
    parts = [(Part(len(mine), count, whole), mine) for mine, count in zip(picks, owned, strict=True)]
    context, port = multiprocessing.get_context("spawn"), _free_port()
    results = context.Queue()
    processes = [
        context.Process(target=_take_part, args=(rank, port, network, batch, parts, results)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    found = {rank: rest for rank, *rest in (results.get(timeout=60) for _ in processes)}
    for process in processes:
        process.join()
    answer = network(batch)
    weights = torch.cat([torch.arange(1.0, len(mine) * 16 + 1) for mine in picks[: 2 if owned[1] else 1]])
    (answer.square() * weights.view_as(answer)).sum().backward()
    for rank in range(2):
        gradients, running = found[rank]
        for mine, theirs in zip(gradients, network.parameters(), strict=True):
            np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(running, network[1].running_var.numpy(), rtol=1e-6)
    assert isinstance(network[1], _BatchNorm)
