"""A soup: one network whose weights are the mean of those of several.

Source: Wortsman et al., Model soups, ICML 2022, arXiv:2203.05482 (the uniform soup)
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from medloom.models.network import Network

__all__ = ["average_weights", "renewable_norms"]


def average_weights(networks: Sequence[Network]) -> Network:
    """Return a network with the mean of the weights and float buffers of several; whole numbers are the first one's.

    The statistics of its batch norms are means, too, which are not those of what its layers give: estimate them anew on
    training images.

    Args:
        networks: At least one, all of one recipe; they are left as they are.

    Returns:
        In evaluation mode, on the device of the first.

    Example:
        >>> from torch import nn
        >>> parts = [nn.Linear(1, 1), nn.Linear(1, 1)]
        >>> _ = parts[0].weight.data.fill_(1.0), parts[1].weight.data.fill_(3.0)
        >>> average_weights(parts).weight.item()
        2.0
    """
    soup, states = deepcopy(networks[0]), [network.state_dict() for network in networks]
    soup.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    return soup.eval()


def renewable_norms(soup: Network, networks: Sequence[Network]) -> list[_BatchNorm]:
    """Return the batch norms of a soup whose statistics are to be estimated anew.

    Those that are the same in every network were frozen in training, as ``model.freeze_statistics`` asks, and stay.

    Args:
        soup: Their average.
        networks: What it was made of.
    """
    states = [network.state_dict() for network in networks]
    return [
        module
        for name, module in soup.named_modules()
        if isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and any(not torch.equal(state[_mean_of(name)], states[0][_mean_of(name)]) for state in states[1:])
    ]


def _mean_of(name: str) -> str:
    return f"{name}.running_mean" if name else "running_mean"


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0].clone()
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(tensors[0].dtype)
