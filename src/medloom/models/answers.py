"""Weights prove what they are by an answer: that they fit a network by names and shapes is not enough.

Networks of other padding, activation or constants have tensors of the same names and shapes: the weights of timm's
``tf_efficientnet_lite0`` load into ``efficientnet_lite0``, and its answers are then others. So weights may come with
what the network answers to an image that anyone can make, and then nothing is loaded that answers otherwise.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import math
from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.weights import State, fit_weights

__all__ = ["check_answer", "example_image", "named_by_order", "proven"]

_TOLERANCE = 1e-3
"""How far a logit may be off, as a share of the largest; other processors are off by 1e-5, other networks by halves."""
_COUNTER = "num_batches_tracked"


def example_image(size: tuple[int, int]) -> Tensor:
    """Return the image ``(1, 3, H, W)`` for which an answer is given: ``sin(k / 100)`` of its k-th number.

    Example:
        >>> example_image((2, 2)).flatten()[:3]
        tensor([0.0000, 0.0100, 0.0200])
    """
    shape = (1, 3, *size)
    return torch.arange(math.prod(shape), dtype=torch.float64).div(100).sin().float().reshape(shape)


def check_answer(network: nn.Module, answer: Sequence[float], size: tuple[int, int], name: str) -> None:
    """Raise if a network with its weights does not give the answer that comes with them.

    Args:
        network: From images to logits, of three channels.
        answer: The first logits of ``example_image(size)``.
        size: Height and width of that image in pixels.
        name: The network's name, for the message.

    Raises:
        RecipeError: If one of them is off by more than rounding.
    """
    with torch.no_grad():
        logits: Tensor = network.eval()(example_image(size))
    expected = torch.tensor(answer)
    found = logits[0, : len(answer)]
    off = math.inf if found.shape != expected.shape else float((found - expected).abs().max())
    if not off <= _TOLERANCE * float(expected.abs().max()):
        raise RecipeError(
            f"model.weights: with these weights the network {name!r} answers otherwise than it should (off by "
            f"{off:.3g}): the tensors fit, and belong to another network all the same; take the name that they are for"
        )


def named_by_order(state: State, name: str) -> State:
    """Give tensors the names that a network of timm has, in their order.

    It is a guess, so only what ``check_answer`` then lets pass may be used.

    Args:
        state: Tensors in the order of the network's, its classifier last; how many batches each batch norm has seen
            may be missing.
        name: Of timm.

    Raises:
        RecipeError: If numbers or shapes differ.
    """
    values = [value for key, value in state.items() if not key.endswith(_COUNTER)]
    classes = len(values[-1]) if values and values[-1].ndim else 0
    own = timm.create_model(name, num_classes=classes).state_dict()
    keys = [key for key in own if not key.endswith(_COUNTER)]
    if len(keys) != len(values) or any(own[k].shape != v.shape for k, v in zip(keys, values, strict=False)):
        raise RecipeError(
            f"model.weights: the file does not hold the weights of {name!r}: its {len(values)} tensors are not the "
            f"network's {len(keys)}, neither by name nor in their order"
        )
    return dict(zip(keys, values, strict=True))


def proven(state: State, name: str, answer: Sequence[float], size: tuple[int, int]) -> State:
    """Return tensors under the names of a network of timm, if it then gives the answer that is known of them.

    Args:
        state: Tensors with timm's names, or in timm's order.
        name: Of timm.
        answer: As for ``check_answer``.
        size: As for ``check_answer``.

    Raises:
        RecipeError: If it answers otherwise, or they fit neither by name nor in their order.
    """
    own = timm.create_model(name, num_classes=0).state_dict()
    if not all(key in state for key in own if not key.endswith(_COUNTER)):
        state = named_by_order(state, name)
    heads = [value for key, value in state.items() if key not in own and not key.endswith(_COUNTER)]
    network = timm.create_model(name, num_classes=len(heads[-1]) if heads else 0)
    fit_weights(network, state, name=name, in_channels=3, head=True)
    check_answer(network, answer, size, name)
    return state
