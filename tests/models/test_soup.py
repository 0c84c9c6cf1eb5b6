"""A soup is the mean of the weights of several networks."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from medloom.models.soup import average_weights, renewable_norms


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))
    made.train()
    made(torch.randn(8, 1, 9, 9) * (seed + 1))
    return made.eval()


def test_weights_and_float_buffers_are_means_as_torch_averages_them():
    members = [network(seed) for seed in range(3)]
    other = AveragedModel(members[0], use_buffers=True)
    for member in members:
        other.update_parameters(member)
    soup, expected = average_weights(members).state_dict(), other.module.state_dict()
    for name, tensor in soup.items():
        torch.testing.assert_close(tensor, expected[name] if tensor.is_floating_point() else tensor)
    assert soup["1.num_batches_tracked"] == 1


def test_the_members_stay_as_they_are():
    members = [network(seed) for seed in range(2)]
    before = deepcopy(members[0].state_dict())
    average_weights(members)
    assert all(torch.equal(before[name], tensor) for name, tensor in members[0].state_dict().items())


def test_statistics_that_were_frozen_are_not_renewed():
    members = [network(seed) for seed in range(3)]
    soup = average_weights(members)
    assert renewable_norms(soup, members) == [soup[1]]
    for member in members[1:]:
        member[1].running_mean.copy_(members[0][1].running_mean)
    assert renewable_norms(soup, members) == []
