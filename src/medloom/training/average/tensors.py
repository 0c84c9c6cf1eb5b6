"""A network, its gradients and the state of its optimiser as arrays by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["gradients_of", "put_gradients", "put_network", "put_state", "state_of", "tensors_of"]

_NETWORK, _GRADIENT, _STATE = "network.", "gradient.", "state."


def tensors_of(network: nn.Module, *, weights: bool = True) -> dict[str, NDArray[Any]]:
    """Return what a network is: weights and buffers, or the buffers alone.

    Args:
        network: The network.
        weights: Whether the weights are among them.
    """
    trained = set() if weights else {name for name, _ in network.named_parameters(remove_duplicate=False)}
    return {_NETWORK + name: _array(one) for name, one in network.state_dict().items() if name not in trained}


def put_network(network: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Take over weights and buffers, as far as they are there."""
    mine = network.state_dict()
    with torch.no_grad():
        for name, array in _under(_NETWORK, arrays):
            mine[name].copy_(_tensor(array))


def gradients_of(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Return the gradients of everything that has one."""
    named = network.named_parameters()
    return {_GRADIENT + name: _array(one.grad) for name, one in named if one.grad is not None}


def put_gradients(network: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give every weight its gradient, in the weight's order in memory, or none where there is none."""
    given = dict(_under(_GRADIENT, arrays))
    for name, weight in network.named_parameters():
        weight.grad = torch.empty_like(weight).copy_(_tensor(given[name])) if name in given else None


def state_of(network: nn.Module, optimizer: Optimizer) -> dict[str, NDArray[Any]]:
    """Return what an optimiser remembers of every weight, such as its momentum."""
    return {
        f"{_STATE}{key}.{name}": _array(value)
        for name, weight in network.named_parameters()
        for key, value in optimizer.state.get(weight, {}).items()
        if isinstance(value, Tensor)
    }


def put_state(network: nn.Module, optimizer: Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Let an optimiser remember that, and nothing else."""
    weights = dict(network.named_parameters())
    optimizer.state.clear()
    for place, array in _under(_STATE, arrays):
        key, _, name = place.partition(".")
        weight, value = weights[name], _tensor(array)
        alike = value.shape == weight.shape
        kept = torch.empty_like(weight, dtype=value.dtype).copy_(value) if alike else value.to(weight.device)
        optimizer.state[weight][key] = kept


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    names: Iterable[str] = (name for name in arrays if name.startswith(prefix))
    return ((name.removeprefix(prefix), arrays[name]) for name in names)


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
